//! The query options of OData, as far as clients of drives and directories use them.

use bytes::Bytes;
use http::Request;
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::route::{parameters, query};
use super::tenant::Tenant;
use super::token;
use crate::client::encode_segment;

/// Most entries of one page, whatever a client asks for.
pub(super) const PAGE_ENTRIES_MAX: usize = 5_000;
/// Deepest nesting of `$expand`.
const EXPAND_DEPTH_MAX: usize = 3;

/// One property of `$expand`, with the options in its parentheses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expand {
    pub(super) name: String,
    pub(super) select: Option<String>,
    pub(super) expand: Vec<Self>,
}

/// Reads `listItem($select=id;$expand=fields($select=Title)),permissions`.
pub(super) fn expansions(text: &str) -> Vec<Expand> {
    expansions_to(text, EXPAND_DEPTH_MAX)
}

fn expansions_to(text: &str, depth: usize) -> Vec<Expand> {
    if depth == 0 {
        return Vec::new();
    }
    let parts = split_outside(text, ',').into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, options) = part.split_once('(').unwrap_or((part, ""));
            let mut expand = Expand { name: name.trim().to_owned(), ..Expand::default() };
            for option in split_outside(options.strip_suffix(')').unwrap_or(options), ';') {
                match option.trim().split_once('=') {
                    Some(("$select" | "select", value)) => expand.select = Some(value.to_owned()),
                    Some(("$expand" | "expand", value)) => expand.expand = expansions_to(value, depth - 1),
                    _ => {}
                }
            }
            expand
        })
        .collect()
}

/// Splits where the separator stands outside of parentheses.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let mut open = 0usize;
    text.split(|letter: char| {
        match letter {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        letter == separator && open == 0
    })
    .collect()
}

/// Keeps the selected properties, the id, and annotations.
pub(super) fn select(item: &mut Map<String, Value>, selected: Option<&str>) {
    let Some(selected) = selected else { return };
    let wanted: Vec<&str> = selected.split(',').map(str::trim).collect();
    item.retain(|name, _| {
        let download = name == "@microsoft.graph.downloadUrl";
        let annotation = name.starts_with('@') && !download;
        let short = download && wanted.contains(&"content.downloadUrl");
        name == "id" || annotation || short || wanted.contains(&name.as_str())
    });
}

/// A page of a collection of `total` entries, with a link to the next. `path` is the address without the service's host.
pub(super) fn page(
    tenant: &Tenant,
    request: &Request<Bytes>,
    path: &str,
    context: &str,
    total: usize,
    mut entry: impl FnMut(usize) -> Option<Value>,
) -> Result<Value, Refusal> {
    let skip = match query(request, "$skiptoken") {
        None => 0,
        Some(text) => token::open(&tenant.key, &text)
            .and_then(|payload| payload.strip_prefix("skip|")?.parse::<usize>().ok())
            .ok_or_else(|| Refusal::invalid("The skip token is invalid."))?,
    };
    let top = match query(request, "$top") {
        None => tenant.rules.page_entries,
        Some(text) => text.parse().map_err(|_| Refusal::invalid("$top is not a number."))?,
    };
    let top = top.clamp(1, PAGE_ENTRIES_MAX);
    let end = skip.saturating_add(top).min(total);
    let page: Vec<Value> = (skip..end).filter_map(&mut entry).collect();
    let mut body = json!({
        "@odata.context": format!("{}/v1.0/$metadata#{context}", tenant.hosts.graph),
        "value": page,
    });
    if query(request, "$count").as_deref() == Some("true") {
        body["@odata.count"] = json!(total);
    }
    if end < total {
        let kept: String = parameters(request)
            .filter(|(name, _)| name != "$skiptoken")
            .map(|(name, value)| format!("{}={}&", encode_segment(&name), encode_segment(&value)))
            .collect();
        let position = token::seal(&tenant.key, &format!("skip|{end}"));
        body["@odata.nextLink"] =
            json!(format!("{}/v1.0/{path}?{kept}$skiptoken={position}", tenant.hosts.graph));
    }
    Ok(body)
}

/// Whether an object passes a `$filter` of comparisons joined with `and`: `name eq 'value'`, `ne`, `startswith(name,
/// 'value')`. Anything else is refused rather than ignored.
pub(super) fn passes(filter: &str, object: &Value) -> Result<bool, Refusal> {
    let invalid =
        || Refusal::new(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause.");
    let mut all = true;
    for clause in filter.split(" and ") {
        let clause = clause.trim();
        let passed = if let Some(inner) = clause.strip_prefix("startswith(") {
            let (name, value) =
                inner.strip_suffix(')').and_then(|inner| inner.split_once(',')).ok_or_else(invalid)?;
            let start = text(value.trim()).ok_or_else(invalid)?.to_lowercase();
            object[name.trim()].as_str().is_some_and(|value| value.to_lowercase().starts_with(&start))
        } else {
            let mut words = clause.splitn(3, ' ');
            let (Some(name), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
                return Err(invalid());
            };
            let found = &object[name];
            let equal = match (value, text(value)) {
                ("true", _) => *found == json!(true),
                ("false", _) => *found == json!(false),
                ("null", _) => found.is_null(),
                (_, Some(value)) => found.as_str().is_some_and(|found| found.eq_ignore_ascii_case(&value)),
                _ => return Err(invalid()),
            };
            match operator {
                "eq" => equal,
                "ne" => !equal,
                _ => return Err(invalid()),
            }
        };
        all &= passed;
    }
    Ok(all)
}

/// `'O''Neil'` without its quotes.
fn text(literal: &str) -> Option<String> {
    Some(literal.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_expansions_are_read() {
        let fields = Expand { name: "fields".into(), select: Some("Title,Due".into()), expand: vec![] };
        let item = Expand { name: "listItem".into(), select: None, expand: vec![fields] };
        let permissions = Expand { name: "permissions".into(), ..Expand::default() };
        assert_eq!(
            expansions("listItem($expand=fields($select=Title,Due)), permissions"),
            [item, permissions]
        );
        assert_eq!(expansions("").len(), 0);
        assert_eq!(expansions("a(((((").len(), 1);
    }

    #[test]
    fn filters_compare_and_what_they_cannot_is_refused() {
        let user = json!({ "displayName": "O'Neil", "accountEnabled": true });
        assert!(passes("displayName eq 'o''neil' and accountEnabled eq true", &user).unwrap());
        assert!(!passes("startswith(displayName,'P')", &user).unwrap());
        assert!(passes("displayName ne 'Ada'", &user).unwrap());
        for bad in ["displayName", "contains(displayName,'x')", "displayName gt 'x'", "displayName eq x"] {
            assert!(passes(bad, &user).is_err(), "{bad}");
        }
    }
}
