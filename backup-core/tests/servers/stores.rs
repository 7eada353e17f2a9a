//! Which real stores the tests are given, and how they are opened. Part of both targets, `servers` and `killed`.

use std::sync::Arc;

use backup_core::{Store, store};

/// Addresses of the stores to test, separated by spaces: `s3://bucket az://container`. `.ci/servers.py` starts servers and sets it.
const STORES: &str = "BACKUP_TEST_STORES";

/// The addresses that were given; none, with a line that says so, if the variable is not set.
pub(crate) fn addresses() -> Vec<String> {
    let given = std::env::var(STORES).unwrap_or_default();
    if given.trim().is_empty() {
        println!("{STORES} is not set: no real store was tried (.ci/servers.py starts some)");
    }
    given.split_whitespace().map(|address| address.trim_end_matches('/').to_owned()).collect()
}

/// Variables that are passed on to a store of each kind, with what the option is called.
const OPTIONS: [(&str, &str, &str); 8] = [
    ("s3", "AWS_ACCESS_KEY_ID", "aws_access_key_id"),
    ("s3", "AWS_SECRET_ACCESS_KEY", "aws_secret_access_key"),
    ("s3", "AWS_REGION", "aws_region"),
    ("s3", "AWS_ENDPOINT", "aws_endpoint"),
    ("s3", "AWS_ALLOW_HTTP", "allow_http"),
    ("az", "AZURE_STORAGE_ACCOUNT_NAME", "azure_storage_account_name"),
    ("az", "AZURE_STORAGE_ACCOUNT_KEY", "azure_storage_account_key"),
    ("az", "AZURE_STORAGE_ENDPOINT", "azure_storage_endpoint"),
];

/// Opens a store, with the options for its kind that the environment has.
pub(crate) fn open(address: &str) -> Arc<dyn Store> {
    let kind = address.split_once("://").map_or("", |(scheme, _)| scheme);
    let known = OPTIONS.iter().filter(|(scheme, ..)| *scheme == kind);
    let mut options: Vec<_> =
        known.filter_map(|(_, name, option)| Some((*option, std::env::var(name).ok()?))).collect();
    if kind == "az" {
        // The emulator speaks HTTP only.
        options.extend(std::env::var("AZURE_ALLOW_HTTP").ok().map(|allowed| ("allow_http", allowed)));
    }
    store::from_url(address, options).unwrap_or_else(|error| panic!("{address}: {error:?}"))
}

/// A prefix that no other run has.
pub(crate) fn fresh(address: &str, what: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{address}/{what}-{}-{}", now.as_nanos(), std::process::id())
}
