//! Applications and their tokens: secrets, certificates, the token endpoint, and what a token permits.

use std::time::Duration;

use aws_lc_rs::digest;
use backup_core::{Error, ErrorKind, Result, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use webpki::aws_lc_rs::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};

use super::answer::{Refusal, json};
use super::route::query;
use super::scopes;
use super::tenant::Tenant;
use super::token;
use crate::transport::later;

/// How proofs of possession of a key are called.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Clocks may differ by this much, in seconds, as the issuer tolerates it.
const SKEW_SECONDS: i64 = 300;

/// An application registered in the tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct Application {
    secrets: Vec<String>,
    certificates: Vec<Vec<u8>>,
    pub(super) roles: Vec<String>,
}

/// A token that was given out.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) expires: Timestamp,
    pub(super) caller: Caller,
}

/// Who makes a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    pub(super) application: String,
    pub(super) roles: Vec<String>,
}

impl Tenant {
    /// Registers an application with a secret. It may read and write all files and sites and read the directory, unless
    /// [`set_roles`](Self::set_roles) says otherwise. A further secret of the same application is added.
    pub fn add_application(&mut self, client_id: impl Into<String>, secret: impl Into<String>) {
        self.application(client_id.into()).secrets.push(secret.into());
    }

    /// Registers an application with a certificate in PEM, whose private key signs its assertions; otherwise as
    /// [`add_application`](Self::add_application).
    ///
    /// # Errors
    /// `InvalidArgument` if this is no certificate.
    pub fn add_certificate(&mut self, client_id: impl Into<String>, pem: &str) -> Result<()> {
        let invalid = |text| Error::new(ErrorKind::InvalidArgument, text);
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| invalid("not a certificate in PEM").with_source(error))?;
        webpki::EndEntityCert::try_from(&certificate)
            .map_err(|error| invalid("not a certificate").with_source(error))?;
        self.application(client_id.into()).certificates.push(certificate.to_vec());
        Ok(())
    }

    /// The application roles that an administrator consented to, such as `Files.Read.All`. Tokens carry the roles of
    /// the time they are given out.
    ///
    /// # Errors
    /// `NotFound` if there is no such application.
    pub fn set_roles(&mut self, client_id: &str, roles: &[&str]) -> Result<()> {
        let application = self
            .applications
            .get_mut(client_id)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such application").with_item(client_id))?;
        application.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Ok(())
    }

    /// A token with the default roles that works for `life`, for programs that bring their own.
    pub fn issue_token(&mut self, life: Duration) -> String {
        let roles = scopes::DEFAULT.iter().map(|role| (*role).to_owned()).collect();
        let now = self.now();
        self.issue(Caller { application: "issued".to_owned(), roles }, "", life, now)
    }

    /// Makes every token given out so far useless, and further ones until one is asked for with the claims that refusals
    /// name then, as continuous access evaluation does.
    pub fn challenge_tokens(&mut self) {
        let value = self.now().seconds().to_string();
        let claims = json!({ "access_token": { "nbf": { "essential": true, "value": value } } });
        self.demanded = Some(claims.to_string());
    }

    /// Makes every token given out so far useless.
    pub fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    fn application(&mut self, client_id: String) -> &mut Application {
        self.applications.entry(client_id).or_insert_with(|| Application {
            roles: scopes::DEFAULT.iter().map(|role| (*role).to_owned()).collect(),
            ..Application::default()
        })
    }

    /// A token in the form of a JWT, so that programs can look at its claims; its signature is the tenant's own.
    fn issue(&mut self, caller: Caller, claims: &str, life: Duration, now: Timestamp) -> String {
        if self.demanded.as_deref().is_some_and(|demanded| satisfies(demanded, claims)) {
            self.demanded = None;
            self.tokens.clear();
        }
        let expires = later(now, life);
        let head = json!({ "typ": "JWT", "alg": "none" });
        let understands = understood(claims);
        let body = json!({
            "aud": self.hosts.graph, "iss": format!("{}/{}/v2.0", self.hosts.login, self.id), "tid": self.id,
            "appid": caller.application, "idtyp": "app", "roles": caller.roles, "ver": "1.0",
            "iat": now.seconds(), "nbf": now.seconds(), "exp": expires.seconds(),
            "uti": self.rng.identifier(22), "xms_cc": understands,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&body));
        let signature = URL_SAFE_NO_PAD.encode(token::mac(&self.key, &signed));
        let token = format!("{signed}.{signature}");
        self.tokens.insert(token.clone(), Issued { expires, caller });
        token
    }
}

/// Whether the request comes to the issuer of tokens.
pub(super) fn is_issuer(path: &str) -> bool {
    path.ends_with("/oauth2/v2.0/token")
        || path.ends_with("/.well-known/openid-configuration")
        || path.ends_with("/common/discovery/instance")
}

/// The issuer: the token endpoint, and the documents by which clients find it. Its errors have a form of their own.
pub(super) fn serve(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
    let (path, login) = (request.uri().path(), tenant.hosts.login.clone());
    let refuse = |status: u16, code: &str, text: &str| {
        json(status, &json!({ "error": code, "error_description": text, "error_codes": [] }))
    };
    if path.ends_with("/common/discovery/instance") {
        return json(200, &discovery(tenant));
    }
    if path.ends_with("/.well-known/openid-configuration") {
        let base = format!("{login}/{}", tenant.id);
        return json(
            200,
            &json!({
                "token_endpoint": format!("{base}/oauth2/v2.0/token"),
                "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
                "issuer": format!("{base}/v2.0"), "jwks_uri": format!("{base}/discovery/v2.0/keys"),
                "response_types_supported": ["code"], "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            }),
        );
    }
    let form = String::from_utf8_lossy(request.body()).replace('+', "%20");
    let form = Request::get(format!("/?{form}")).body(()).unwrap_or_default();
    let field = |name| query(&form, name).unwrap_or_default();
    let own_path = path.starts_with(&format!("/{}/", tenant.id));
    if *request.method() != Method::POST || !own_path {
        return refuse(400, "invalid_request", "AADSTS90002: Tenant not found.");
    }
    // A scope without a resource means Microsoft Graph.
    let scope = field("scope");
    let all_roles = scope == ".default" || scope.ends_with("/.default");
    if field("grant_type") != "client_credentials" || !all_roles {
        return refuse(
            401,
            "unsupported_grant_type",
            "AADSTS70003: The grant type or scope is not supported.",
        );
    }
    let mut client = field("client_id");
    let mut secret = field("client_secret");
    if let Some((user, password)) = basic(request).filter(|_| client.is_empty() || secret.is_empty()) {
        (client, secret) = (user, password);
    }
    let assertion = field("client_assertion");
    let proved = if assertion.is_empty() {
        let known = tenant.applications.get(&client);
        let right = known.is_some_and(|known| known.secrets.contains(&secret));
        right.then_some(()).ok_or("AADSTS7000215: Invalid client secret provided.")
    } else if field("client_assertion_type") == ASSERTION_TYPE {
        assertion_of(tenant, &client, &assertion, now)
    } else {
        Err("AADSTS50027: The assertion type is not supported.")
    };
    if let Err(text) = proved {
        return refuse(401, "invalid_client", text);
    }
    let roles = tenant.applications.get(&client).map(|known| known.roles.clone()).unwrap_or_default();
    let life = tenant.rules.token_life;
    let token = tenant.issue(Caller { application: client, roles }, &field("claims"), life, now);
    let seconds = life.as_secs();
    json(
        200,
        &json!({ "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token }),
    )
}

/// Checks a signed assertion ([its claims](https://learn.microsoft.com/entra/identity-platform/certificate-credentials)).
fn assertion_of(tenant: &Tenant, client: &str, assertion: &str, now: Timestamp) -> Result<(), &'static str> {
    const MALFORMED: &str = "AADSTS50027: JWT token is invalid or malformed.";
    let (signed, signature) = assertion.rsplit_once('.').ok_or(MALFORMED)?;
    let (head, claims) = signed.split_once('.').ok_or(MALFORMED)?;
    let decode = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)?;
        serde_json::from_slice::<Value>(&bytes).map_err(|_| MALFORMED)
    };
    let (head, claims) = (decode(head)?, decode(claims)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?;
    let known = tenant.applications.get(client).ok_or("AADSTS700016: Application was not found.")?;
    let certificate = known.certificates.iter().find(|der| is_named(&head, der));
    let der = certificate.ok_or(
        "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered.",
    )?;
    let algorithm = match head["alg"].as_str() {
        Some("RS256") => RSA_PKCS1_2048_8192_SHA256,
        Some("PS256") => RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        _ => return Err("AADSTS5002738: The algorithm of the assertion is not supported."),
    };
    let der = CertificateDer::from(der.as_slice());
    let certificate = webpki::EndEntityCert::try_from(&der).map_err(|_| MALFORMED)?;
    certificate
        .verify_signature(algorithm, signed.as_bytes(), &signature)
        .map_err(|_| "AADSTS700027: Client assertion failed signature validation.")?;
    let audience = claims["aud"].as_str().unwrap_or_default();
    let expected = format!("{}/{}/oauth2/v2.0/token", tenant.hosts.login, tenant.id);
    let issuer = format!("{}/{}/v2.0", tenant.hosts.login, tenant.id);
    if audience != expected && audience != issuer {
        return Err("AADSTS50013: The audience of the assertion is wrong.");
    }
    if claims["iss"] != client || claims["sub"] != client || claims["jti"].as_str().is_none_or(str::is_empty)
    {
        return Err("AADSTS50013: The issuer, the subject or the id of the assertion is wrong.");
    }
    let time = |name: &str| claims[name].as_i64();
    let expired = time("exp").is_none_or(|expires| expires + SKEW_SECONDS < now.seconds());
    let early = time("nbf").is_some_and(|from| from - SKEW_SECONDS > now.seconds());
    if expired || early {
        return Err("AADSTS700024: Client assertion is not within its valid time range.");
    }
    Ok(())
}

/// What a client says that it understands, in the parameter `claims`: `["cp1"]` or nothing.
fn understood(claims: &str) -> Value {
    let claims: Value = serde_json::from_str(claims).unwrap_or_default();
    claims["access_token"]["xms_cc"]["values"].clone()
}

/// Whether a token was asked for with what is demanded.
fn satisfies(demanded: &str, claims: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    parsed(claims)["access_token"]["nbf"] == parsed(demanded)["access_token"]["nbf"]
}

/// Whether the header of an assertion names this certificate.
fn is_named(head: &Value, der: &[u8]) -> bool {
    let thumbprint = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, der).as_ref());
    match (head["x5t#S256"].as_str(), head["x5t"].as_str()) {
        (Some(named), _) => named.trim_end_matches('=') == thumbprint(&digest::SHA256),
        (None, Some(named)) => named.trim_end_matches('=') == thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        (None, None) => false,
    }
}

/// `Authorization: Basic`, by which some OAuth libraries name client and secret, each encoded as in a form.
fn basic(request: &Request<Bytes>) -> Option<(String, String)> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    let text = String::from_utf8(text).ok()?.replace('+', "%20");
    let (user, password) = text.split_once(':')?;
    let decode = |text: &str| {
        let text = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
        Some(text.into_owned())
    };
    Some((decode(user)?, decode(password)?))
}

fn discovery(tenant: &Tenant) -> Value {
    let host = tenant.hosts.login.split_once("://").map_or(tenant.hosts.login.as_str(), |(_, host)| host);
    json!({
        "tenant_discovery_endpoint": format!("{}/{}/v2.0/.well-known/openid-configuration", tenant.hosts.login, tenant.id),
        "api-version": "1.1",
        "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
    })
}

/// Whose token the request brings.
pub(super) fn authorise<B>(tenant: &Tenant, request: &Request<B>, now: Timestamp) -> Result<Caller, Refusal> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer "));
    match token.and_then(|token| tenant.tokens.get(token)) {
        Some(issued) if now < issued.expires => match &tenant.demanded {
            None => Ok(issued.caller.clone()),
            Some(demanded) => Err(challenge(demanded)),
        },
        Some(_) => Err(Refusal::new(
            401,
            "InvalidAuthenticationToken",
            "Lifetime validation failed, the token is expired.",
        )),
        None => Err(Refusal::new(401, "InvalidAuthenticationToken", "Access token is empty or invalid.")),
    }
}

/// The refusal of a token that lacks claims
/// ([its form](https://learn.microsoft.com/entra/identity-platform/claims-challenge)).
fn challenge(demanded: &str) -> Refusal {
    let claims = base64::engine::general_purpose::STANDARD.encode(demanded);
    let header = format!(
        r#"Bearer realm="", error="insufficient_claims", error_description="Continuous access evaluation resulted in challenge", claims="{claims}""#
    );
    let message = "Continuous access evaluation resulted in challenge with result: InteractionRequired.";
    Refusal::new(401, "InvalidAuthenticationToken", message).with_header(header::WWW_AUTHENTICATE, &header)
}
