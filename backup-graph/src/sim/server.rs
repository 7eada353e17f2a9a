//! The simulated service as a pure function from request to response.
//!
//! It knows nothing of connections and faults: those are laid over it. Rules and key casing follow Microsoft's
//! documentation of the drive API. Here a request finds its way; what it does is in the files next to this one.

use backup_core::Timestamp;
use bytes::Bytes;
use http::{Request, Response};

use super::answer::{Answered, Refusal, open, put_header, put_ids};
use super::budget;
use super::items::Call;
use super::odata::expansions;
use super::route::{Address, Owner, Route, is_content_host, query, route_to};
use super::sign_in::{self, authorise, is_issuer};
use super::tenant::Tenant;
use super::{batch, content, copies, delta, directory, fields, items, permissions, scopes, versions};

/// Answers one request, which may be a batch. The tenant's clock is moved on to `now`.
pub fn handle(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
    if batch::is_one(request) {
        let inner = |tenant: &mut Tenant, inner: &Request<Bytes>| one(tenant, inner, now);
        return batch::serve(tenant, |tenant| tenant, request, now, inner);
    }
    one(tenant, request, now)
}

/// Answers one request that is not a batch.
pub(super) fn one(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
    tenant.advance_to(now);
    let now = tenant.now();
    open(tenant, request);
    let answer = if is_content_host(&tenant.hosts, request) {
        content::serve(tenant, request, now)
    } else if is_issuer(request.uri().path()) {
        Ok(sign_in::serve(tenant, request, now))
    } else {
        graph(tenant, request, now)
    };
    match answer {
        Ok(mut response) => {
            put_ids(tenant, &mut response);
            response
        }
        Err(refusal) => refusal.into_response(tenant),
    }
}

fn graph(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Answered {
    let caller = authorise(tenant, request, now)?;
    let unknown = || Refusal::new(400, "BadRequest", "Resource not found for the segment.");
    let address = Address::parse(request.uri().path()).ok_or_else(unknown)?;
    if address.owner == Owner::Me {
        let message = "/me request is only valid with delegated authentication flow.";
        return Err(Refusal::new(400, "BadRequest", message));
    }
    let route = route_to(request.method(), &address);
    if route == Route::Unknown {
        return Err(if address.item.is_some() {
            Refusal::new(405, "notAllowed", "The method is not allowed here.")
        } else {
            unknown()
        });
    }
    if tenant.rules.enforce_roles {
        scopes::check(route, &address, &caller.roles)?;
    }
    let expand = query(request, "$expand").unwrap_or_default();
    let with_permissions = expansions(&expand).iter().any(|expand| expand.name == "permissions");
    let with_token = address.token.is_some() || query(request, "token").is_some();
    let told = tenant.charge(&caller.application, budget::cost(route, with_token, with_permissions), now)?;
    let mut response = dispatch(tenant, request, address, caller.application, now)?;
    for (name, value) in told {
        put_header(&mut response, name, &value);
    }
    Ok(response)
}

fn dispatch(
    tenant: &mut Tenant,
    request: &Request<Bytes>,
    address: Address,
    application: String,
    now: Timestamp,
) -> Answered {
    if !address.in_drive {
        return directory::serve(tenant, request, &address);
    }
    let drive = directory::drive_of(tenant, &address.owner)?;
    let route = route_to(request.method(), &address);
    let call = Call { request, drive, address, application, now };
    match route {
        Route::Drive => directory::drive_itself(tenant, &call.drive),
        Route::Delta => delta::page(tenant, &call),
        Route::Item if call.address.action == "retentionLabel" => items::retention_label(tenant, &call),
        Route::Item => items::item(tenant, &call),
        Route::Children => items::children(tenant, &call),
        Route::Content => content::redirect(tenant, &call),
        Route::CreateFolder => items::create_folder(tenant, &call),
        Route::PutContent => items::put_content(tenant, &call),
        Route::CreateSession => items::create_session(tenant, &call),
        Route::Update => items::update(tenant, &call),
        Route::Delete => items::delete(tenant, &call),
        Route::Copy => copies::begin(tenant, &call),
        Route::Permissions => permissions::list(tenant, &call),
        Route::Share => permissions::change(tenant, &call),
        Route::Versions => versions::list(tenant, &call),
        Route::VersionContent => versions::content(tenant, &call),
        Route::RestoreVersion => versions::restore(tenant, &call),
        Route::ListItem => fields::read(tenant, &call),
        Route::SetFields => fields::update(tenant, &call),
        _ => Err(Refusal::new(405, "notAllowed", "The method is not allowed here.")),
    }
}
