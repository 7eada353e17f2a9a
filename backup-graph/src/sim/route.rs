//! What a request asks for, told from its method and address alone.

use http::{Method, Request, header};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::copies;
use super::rules::Hosts;
use super::sign_in::is_issuer;

/// The kinds of request that the simulator knows, for counting and for faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Route {
    /// A token is asked for.
    Token,
    /// A user's or a drive's properties.
    Drive,
    /// A page of changes.
    Delta,
    /// One item's properties.
    Item,
    /// A folder's children.
    Children,
    /// A file's content, answered with a redirect.
    Content,
    /// A folder is made.
    CreateFolder,
    /// A small file is written.
    PutContent,
    /// An upload session is begun.
    CreateSession,
    /// Properties are changed.
    Update,
    /// An item is deleted.
    Delete,
    /// The service is to copy an item.
    Copy,
    /// How a copy is getting on.
    CopyStatus,
    /// Bytes from the content host.
    Download,
    /// A range of an upload.
    UploadRange,
    /// An upload's state, or its end.
    UploadStatus,
    /// Several requests in one.
    Batch,
    /// Who may see or change an item.
    Permissions,
    /// A permission is given, changed or taken.
    Share,
    /// A file's earlier states, or one of them.
    Versions,
    /// The content of a state, answered with a redirect.
    VersionContent,
    /// An earlier state becomes the current one.
    RestoreVersion,
    /// An item's place in its library: the list item, its fields, the columns.
    ListItem,
    /// Fields are changed.
    SetFields,
    /// Users and groups.
    Users,
    /// Sites.
    Sites,
    /// Anything else.
    Unknown,
}

/// Whose things an address names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Owner {
    /// Several requests in one.
    #[default]
    Batch,
    Me,
    Drive(String),
    Users,
    User(String),
    Groups,
    Group(String),
    Sites,
    /// By id, `root`, or `host:/path`.
    Site(String),
}

/// A request's address, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) owner: Owner,
    /// Whether a drive is meant, or what is in it, and not its owner.
    pub(super) in_drive: bool,
    /// The item that the address starts from, `root` for the root.
    pub(super) item: Option<String>,
    /// A path below the item.
    pub(super) path: Option<String>,
    /// What follows: `children`, `content`, `versions/1.0/content` ...
    pub(super) action: String,
    /// The token of `delta(token='...')`.
    pub(super) token: Option<String>,
}

impl Address {
    /// Takes apart `/v1.0/drives/{id}/items/{id}:/{path}:/{action}` and its relatives.
    pub(super) fn parse(path: &str) -> Option<Self> {
        // A base address that ends in a slash makes two of them, and the service does not mind.
        let (head, rest) = cut(path.strip_prefix("/v1.0/")?.trim_start_matches('/'));
        let head = decode(head)?;
        let below = rest.strip_prefix('/').unwrap_or_default();
        let (id, after) = cut(below);
        let (owner, rest) = match (head.as_str(), id) {
            ("$batch", "") => (Owner::Batch, ""),
            ("me", _) => (Owner::Me, rest),
            ("drives", id) if !id.is_empty() => (Owner::Drive(decode(id)?), after),
            ("users", "" | "delta" | "delta()" | "microsoft.graph.delta()" | "$count") => {
                (Owner::Users, rest)
            }
            ("users", id) => (Owner::User(decode(id)?), after),
            ("groups", "" | "delta" | "delta()" | "microsoft.graph.delta()" | "$count") => {
                (Owner::Groups, rest)
            }
            ("groups", id) => (Owner::Group(decode(id)?), after),
            ("sites", "" | "getAllSites" | "getAllSites()" | "microsoft.graph.getAllSites()") => {
                (Owner::Sites, rest)
            }
            ("sites", id) if id.ends_with(':') => {
                let (path, after) = after.split_once(':').unwrap_or((after, ""));
                (Owner::Site(format!("{}{}", decode(id)?, decode(path)?)), after)
            }
            ("sites", id) => (Owner::Site(decode(id)?), after),
            _ => return None,
        };
        Self::below(owner, rest)
    }

    fn below(owner: Owner, rest: &str) -> Option<Self> {
        if let Some((drive, rest)) = rest.strip_prefix("/drives/").map(cut).filter(|(id, _)| !id.is_empty()) {
            return Self::below(Owner::Drive(decode(drive)?), rest);
        }
        let mut address = Self { owner, ..Self::default() };
        let rest = match rest.strip_prefix("/drive") {
            _ if matches!(address.owner, Owner::Drive(_)) => {
                address.in_drive = true;
                rest
            }
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                address.in_drive = true;
                rest
            }
            _ => rest,
        };
        let (rest, in_item) = if !address.in_drive {
            (rest, false)
        } else if let Some(rest) = rest.strip_prefix("/root") {
            address.item = Some("root".to_owned());
            (rest, true)
        } else if let Some(rest) = rest.strip_prefix("/items/") {
            let end = rest.find(['/', ':']).unwrap_or(rest.len());
            let (item, rest) = rest.split_at(end);
            let item = decode(item)?;
            // Generated clients put `root:/path:` where an id goes, and encode all of it.
            let (item, path) = item.split_once(":/").map_or((item.as_str(), None), |(item, path)| {
                (item, Some(path.trim_end_matches(':').to_owned()))
            });
            (address.item, address.path) = (Some(item.to_owned()), path);
            (rest, true)
        } else {
            (rest, false)
        };
        let action = match rest.strip_prefix(":/").filter(|_| in_item) {
            Some(rest) => {
                let (path, action) = rest.split_once(':').unwrap_or((rest, ""));
                address.path = Some(decode(path)?);
                action
            }
            None => rest,
        };
        let action = decode(action.trim_matches('/'))?;
        let action = action.strip_prefix("microsoft.graph.").unwrap_or(&action);
        let (action, arguments) = action.split_once('(').unwrap_or((action, ""));
        address.action = action.to_owned();
        let token = arguments.strip_prefix("token='").and_then(|token| token.strip_suffix("')"));
        address.token = token.map(str::to_owned);
        Some(address)
    }
}

/// The kind of a request.
pub(super) fn route_of<B>(hosts: &Hosts, request: &Request<B>) -> Route {
    let (path, method) = (request.uri().path(), request.method());
    if is_content_host(hosts, request) {
        return match (*method == Method::PUT, path.starts_with("/_api/upload/")) {
            (true, true) => Route::UploadRange,
            (false, true) => Route::UploadStatus,
            _ if copies::watched(request).is_some() => Route::CopyStatus,
            _ => Route::Download,
        };
    }
    if is_issuer(path) {
        return Route::Token;
    }
    Address::parse(path).map_or(Route::Unknown, |address| route_to(method, &address))
}

/// The kind of a request to Graph.
pub(super) fn route_to(method: &Method, address: &Address) -> Route {
    let mut words = address.action.split('/');
    let action = (words.next().unwrap_or_default(), words.next(), words.next());
    let in_item = address.item.is_some();
    match (method.as_str(), action, address.in_drive) {
        ("POST", ("", None, _), false) if address.owner == Owner::Batch => Route::Batch,
        ("GET", ("", None, _), true) if !in_item => Route::Drive,
        ("GET", ("list", ..), true) if !in_item => Route::ListItem,
        ("GET", ("drives", None, _), false) => Route::Drive,
        ("GET", _, false) => match address.owner {
            Owner::Users | Owner::User(_) | Owner::Groups | Owner::Group(_) | Owner::Me => Route::Users,
            Owner::Sites | Owner::Site(_) => Route::Sites,
            Owner::Batch | Owner::Drive(_) => Route::Unknown,
        },
        _ if !in_item => Route::Unknown,
        ("GET", ("delta", None, _), _) => Route::Delta,
        ("GET", ("" | "retentionLabel", None, _), _) => Route::Item,
        ("GET", ("children", None, _), _) => Route::Children,
        ("GET", ("content", None, _), _) => Route::Content,
        ("GET", ("permissions", _, None), _) => Route::Permissions,
        ("POST", ("invite" | "createLink", None, _), _) => Route::Share,
        ("PATCH" | "DELETE", ("permissions", Some(_), None), _) => Route::Share,
        ("GET", ("versions", _, None), _) => Route::Versions,
        ("GET", ("versions", Some(_), Some("content")), _) => Route::VersionContent,
        ("POST", ("versions", Some(_), Some("restoreVersion" | "microsoft.graph.restoreVersion")), _) => {
            Route::RestoreVersion
        }
        ("GET", ("listItem", None | Some("fields"), None), _) => Route::ListItem,
        ("PATCH", ("listItem", Some("fields"), None), _) => Route::SetFields,
        ("POST", ("children", None, _), _) => Route::CreateFolder,
        ("PUT", ("content", None, _), _) => Route::PutContent,
        ("POST", ("createUploadSession", None, _), _) => Route::CreateSession,
        ("POST", ("copy", None, _), _) => Route::Copy,
        ("PATCH", ("", None, _), _) => Route::Update,
        ("DELETE", ("", None, _), _) => Route::Delete,
        _ => Route::Unknown,
    }
}

/// Whether the request came to the host of pre-authenticated addresses. Over a wire the host is in a header.
pub(super) fn is_content_host<B>(hosts: &Hosts, request: &Request<B>) -> bool {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(http::uri::Authority::as_str).or(header);
    let content = hosts.content.split_once("://").map_or(hosts.content.as_str(), |(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(content))
}

/// The parameters of the query, decoded.
pub(super) fn parameters<B>(request: &Request<B>) -> impl Iterator<Item = (String, String)> {
    let pairs = request.uri().query().unwrap_or_default().split('&');
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((decode(name)?, decode(value)?))
    })
}

/// The value of a query parameter, decoded.
pub(super) fn query<B>(request: &Request<B>, name: &str) -> Option<String> {
    parameters(request).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Whether the request names a preference in `Prefer`, or, as Microsoft's pages have it for some, in a header of its own.
pub(super) fn prefers<B>(request: &Request<B>, preference: &str) -> bool {
    let values = request.headers().get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut named = values.flat_map(|value| value.split([',', ';']));
    named.any(|named| named.trim().eq_ignore_ascii_case(preference))
        || request.headers().contains_key(preference)
}

fn cut(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_in_all_documented_forms() {
        for (path, item, below, action) in [
            ("/v1.0/drives/b%21x", None, None, ""),
            ("/v1.0/drives/b!x/root/delta", Some("root"), None, "delta"),
            ("/v1.0/drives/b!x/root/delta(token='1')", Some("root"), None, "delta"),
            (
                "/v1.0/users/ada@contoso.example/drives/b!x/root/microsoft.graph.delta()",
                Some("root"),
                None,
                "delta",
            ),
            ("/v1.0/drives/b!x/items/01A/children", Some("01A"), None, "children"),
            ("/v1.0/drives/b!x/items/01A/versions/1.0/content", Some("01A"), None, "versions/1.0/content"),
            ("/v1.0/drives/b!x/root:/a%20b/c.txt:/content", Some("root"), Some("a b/c.txt"), "content"),
            ("/v1.0/drives/b!x/items/01A:/c.txt", Some("01A"), Some("c.txt"), ""),
            (
                "/v1.0/drives/b!x/items/01A:/c.txt:/createUploadSession",
                Some("01A"),
                Some("c.txt"),
                "createUploadSession",
            ),
            ("/v1.0/drives/b!x/items/root%3A%2Fa%20b%2Fc.txt%3A", Some("root"), Some("a b/c.txt"), ""),
            ("/v1.0/drives/b!x/items/root%3A%2Fc.txt%3A/children", Some("root"), Some("c.txt"), "children"),
        ] {
            let address = Address::parse(path).unwrap();
            assert_eq!((&address.owner, address.in_drive), (&Owner::Drive("b!x".to_owned()), true));
            assert_eq!(
                (address.item.as_deref(), address.path.as_deref(), address.action.as_str()),
                (item, below, action),
                "{path}"
            );
        }
        assert_eq!(Address::parse("/beta/drives/x"), None);
    }

    #[test]
    fn owners_are_told_apart() {
        let site = || Owner::Site("contoso.sharepoint.com:/teams/law".to_owned());
        for (path, owner, in_drive, action) in [
            ("/v1.0/$batch", Owner::Batch, false, ""),
            ("/v1.0/me/drive", Owner::Me, true, ""),
            ("/v1.0/users", Owner::Users, false, ""),
            ("/v1.0/users/delta()", Owner::Users, false, "delta"),
            (
                "/v1.0/users/ada%40contoso.example/drives",
                Owner::User("ada@contoso.example".into()),
                false,
                "drives",
            ),
            ("/v1.0/users/1/drive", Owner::User("1".into()), true, ""),
            ("/v1.0/sites/getAllSites", Owner::Sites, false, "getAllSites"),
            ("/v1.0/sites/root", Owner::Site("root".into()), false, ""),
            ("/v1.0/sites/contoso.sharepoint.com:/teams/law", site(), false, ""),
            ("/v1.0/sites/contoso.sharepoint.com:/teams/law:/drives", site(), false, "drives"),
        ] {
            let address = Address::parse(path).unwrap();
            assert_eq!(
                (address.owner, address.in_drive, address.action.as_str()),
                (owner, in_drive, action),
                "{path}"
            );
        }
    }
}
