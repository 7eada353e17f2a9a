//! What a request asks for, told from its method and address alone.

use http::{Method, Request, header};
use percent_encoding::percent_decode_str;

use super::tenant::Hosts;

/// The kinds of request that the simulator knows, for counting and for faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Bytes from the content host.
    Download,
    /// A range of an upload.
    UploadRange,
    /// An upload's state, or its end.
    UploadStatus,
    /// Anything else.
    Unknown,
}

/// A request's address, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    /// Drive id, or the user whose drive is meant.
    pub(super) drive: Option<String>,
    pub(super) user: Option<String>,
    /// The item that the address starts from, `root` for the root.
    pub(super) item: Option<String>,
    /// A path below the item.
    pub(super) path: Option<String>,
    /// What follows: `children`, `content` ...
    pub(super) action: String,
}

impl Address {
    /// Takes apart `/v1.0/drives/{id}/items/{id}:/{path}:/{action}` and its relatives.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/v1.0/")?;
        let mut address = Self::default();
        let rest = if let Some(rest) = path.strip_prefix("drives/") {
            let (drive, rest) = cut(rest);
            address.drive = Some(decode(drive)?);
            rest
        } else {
            let (user, rest) = cut(path.strip_prefix("users/")?);
            address.user = Some(decode(user)?);
            rest.strip_prefix("/drive")?
        };
        let rest = if let Some(rest) = rest.strip_prefix("/root") {
            address.item = Some("root".to_owned());
            rest
        } else if let Some(rest) = rest.strip_prefix("/items/") {
            let end = rest.find(['/', ':']).unwrap_or(rest.len());
            let (item, rest) = rest.split_at(end);
            address.item = Some(decode(item)?);
            rest
        } else {
            rest
        };
        let action = match rest.strip_prefix(":/") {
            Some(rest) => {
                let (path, action) = rest.split_once(':').unwrap_or((rest, ""));
                address.path = Some(decode(path)?);
                action
            }
            None => rest,
        };
        let action = action.strip_prefix('/').unwrap_or(action);
        let action = action.strip_prefix("microsoft.graph.").unwrap_or(action);
        address.action = action.strip_suffix("()").unwrap_or(action).to_owned();
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
            _ => Route::Download,
        };
    }
    if path.ends_with("/oauth2/v2.0/token") {
        return Route::Token;
    }
    let Some(address) = Address::parse(path) else { return Route::Unknown };
    match (method.as_str(), address.action.as_str(), address.item.is_some()) {
        ("GET", "", false) => Route::Drive,
        ("GET", "delta", true) => Route::Delta,
        ("GET", "", true) => Route::Item,
        ("GET", "children", true) => Route::Children,
        ("GET", "content", true) => Route::Content,
        ("POST", "children", true) => Route::CreateFolder,
        ("PUT", "content", true) => Route::PutContent,
        ("POST", "createUploadSession", true) => Route::CreateSession,
        ("PATCH", "", true) => Route::Update,
        ("DELETE", "", true) => Route::Delete,
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

/// The value of a query parameter, decoded.
pub(super) fn query<B>(request: &Request<B>, name: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| decode(key).as_deref() == Some(name)).find_map(|(_, value)| decode(value))
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
            ("/v1.0/drives/b!x/root/microsoft.graph.delta()", Some("root"), None, "delta"),
            ("/v1.0/drives/b!x/items/01A/children", Some("01A"), None, "children"),
            ("/v1.0/drives/b!x/root:/a%20b/c.txt:/content", Some("root"), Some("a b/c.txt"), "content"),
            ("/v1.0/drives/b!x/items/01A:/c.txt", Some("01A"), Some("c.txt"), ""),
            (
                "/v1.0/drives/b!x/items/01A:/c.txt:/createUploadSession",
                Some("01A"),
                Some("c.txt"),
                "createUploadSession",
            ),
        ] {
            let address = Address::parse(path).unwrap();
            assert_eq!(address.drive.as_deref(), Some("b!x"));
            assert_eq!(
                (address.item.as_deref(), address.path.as_deref(), address.action.as_str()),
                (item, below, action),
                "{path}"
            );
        }
        assert_eq!(Address::parse("/beta/drives/x"), None);
    }
}
