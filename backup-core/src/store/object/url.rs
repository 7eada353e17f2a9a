//! From an address and options to a store. No option is ever ignored, and none comes from the environment: who wants
//! that passes the variables on.

use std::sync::Arc;
#[cfg(any(feature = "s3", feature = "azure"))]
use std::sync::OnceLock;

#[cfg(any(feature = "fs", feature = "s3", feature = "azure", feature = "gcs"))]
use super::ObjectStoreAdapter;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{MemoryStore, Store};

/// Opens the store at an address.
///
/// | address | store | cargo feature |
/// |---|---|---|
/// | `memory://` | a new, empty store in memory | |
/// | `file:///path`, or a path | a folder on local disk | `fs` |
/// | `s3://bucket/prefix` | Amazon S3 and compatible services | `s3` |
/// | `az://container/prefix` (`azure`, `abfs`, `abfss`) | Azure Blob Storage | `azure` |
/// | `gs://bucket/prefix` | Google Cloud Storage | `gcs` |
///
/// Options are those of the `object_store` crate (`aws_access_key_id`, `azure_storage_account_name`,
/// `google_service_account` ..., also without the provider's name in front, and `allow_http`, `timeout`, `proxy_url` ...
/// for each). On S3 and Azure the store is [`Immutable`](crate::store::Immutable), unless requests are not signed. The cloud clients have to be polled inside a tokio runtime.
///
/// # Errors
/// `Unsupported` for a scheme that is unknown or whose feature is not built in; `InvalidArgument` for an option that
/// does not exist there or a value that is not one.
///
/// ```
/// use backup_core::store::from_url;
///
/// let store = from_url("memory://", [("", ""); 0])?;
/// let refused = from_url("memory://", [("aws_regoin", "eu-central-1")]).unwrap_err();
/// assert!(refused.to_string().contains("aws_regoin"));
/// # Ok::<(), backup_core::Error>(())
/// ```
pub fn from_url<K, V>(url: &str, options: impl IntoIterator<Item = (K, V)>) -> Result<Arc<dyn Store>>
where
    K: AsRef<str>,
    V: Into<String>,
{
    let options =
        options.into_iter().map(|(key, value)| (key.as_ref().to_ascii_lowercase(), value.into())).collect();
    match url.split_once("://") {
        None => disk(url.to_owned(), options),
        Some((scheme, rest)) => {
            match scheme.to_ascii_lowercase().as_str() {
                "memory" => memory(rest, options),
                "file" => disk(local_path(rest)?, options),
                "s3" | "s3a" => s3(rest, options),
                "az" | "azure" | "abfs" | "abfss" => azure(rest, options),
                "gs" => gcs(rest, options),
                other => Err(Error::new(ErrorKind::Unsupported, "unknown kind of store in the address")
                    .with_item(other)),
            }
        }
    }
}

type Options = Vec<(String, String)>;

fn memory(rest: &str, options: Options) -> Result<Arc<dyn Store>> {
    if !rest.trim_matches('/').is_empty() {
        return Err(Error::invalid("store in memory has no name or prefix"));
    }
    refuse_all("memory", options)?;
    Ok(Arc::new(MemoryStore::new()))
}

#[cfg(feature = "fs")]
fn disk(path: String, options: Options) -> Result<Arc<dyn Store>> {
    if path.is_empty() {
        return Err(Error::invalid("address is empty"));
    }
    refuse_all("file", options)?;
    Ok(Arc::new(ObjectStoreAdapter::on_disk(path)?))
}

#[cfg(not(feature = "fs"))]
fn disk(_path: String, _options: Options) -> Result<Arc<dyn Store>> {
    Err(disabled("file", "fs"))
}

fn refuse_all(scheme: &str, options: Options) -> Result<()> {
    match options.into_iter().next() {
        Some((key, _)) => Err(Error::invalid(format!("a {scheme} store takes no options")).with_item(key)),
        None => Ok(()),
    }
}

/// The path in `file://…`, with an empty host or this one.
fn local_path(rest: &str) -> Result<String> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(Error::invalid("file address needs an absolute path: file:///path").with_item(rest));
    }
    let decoded =
        decode(path).ok_or_else(|| Error::invalid("file address is not well encoded").with_item(rest))?;
    // file:///C:/folder
    let drive = decoded.as_bytes().get(2) == Some(&b':') && cfg!(windows);
    Ok(if drive { decoded.trim_start_matches('/').to_owned() } else { decoded })
}

/// Resolves `%41`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[allow(dead_code, reason = "unused when every back end is built in")]
fn disabled(scheme: &str, feature: &str) -> Error {
    let message = format!("this build has no {scheme} store: it needs the cargo feature `{feature}`");
    Error::new(ErrorKind::Unsupported, message)
}

#[cfg(not(feature = "s3"))]
fn s3(_rest: &str, _options: Options) -> Result<Arc<dyn Store>> {
    Err(disabled("s3", "s3"))
}

#[cfg(not(feature = "azure"))]
fn azure(_rest: &str, _options: Options) -> Result<Arc<dyn Store>> {
    Err(disabled("azure", "azure"))
}

#[cfg(not(feature = "gcs"))]
fn gcs(_rest: &str, _options: Options) -> Result<Arc<dyn Store>> {
    Err(disabled("gs", "gcs"))
}

#[cfg(feature = "s3")]
fn s3(rest: &str, options: Options) -> Result<Arc<dyn Store>> {
    use ::object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as ConfigKey, S3ConditionalPut};
    let (bucket, prefix) = cloud::bucket_and_prefix(rest)?;
    let mut builder = AmazonS3Builder::new();
    for (name, value) in &options {
        let key: ConfigKey = cloud::known(name, cloud::S3_OPTIONS)?;
        match key {
            ConfigKey::Bucket => return Err(cloud::in_address(name)),
            // Without it nothing is exclusive, and the engine stands on that.
            ConfigKey::ConditionalPut if value.trim() != "etag" => {
                return Err(Error::invalid("conditional put cannot be switched off").with_item(name));
            }
            key => builder = builder.with_config(key, value),
        }
    }
    let builder = builder.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch);
    let is_set = |key: &ConfigKey| builder.get_config_value(key).as_deref() == Some("true");
    let service = Arc::new(super::s3::S3 {
        region: builder.get_config_value(&ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned()),
        request_payer: is_set(&ConfigKey::RequestPayer),
        credentials: OnceLock::new(),
    });
    let signs = !is_set(&ConfigKey::SkipSignature);
    let builder = builder.with_http_connector(super::locks::Connector(Arc::clone(&service) as _));
    let store = builder.build().map_err(|error| cloud::unusable(&error, &options))?;
    let _ = service.credentials.set(Arc::clone(store.credentials()));
    let adapter = ObjectStoreAdapter::new(Arc::new(store), &prefix)?;
    Ok(Arc::new(if signs { adapter.with_locks(service) } else { adapter }))
}

#[cfg(feature = "azure")]
fn azure(rest: &str, options: Options) -> Result<Arc<dyn Store>> {
    use ::object_store::azure::{AzureConfigKey as ConfigKey, MicrosoftAzureBuilder};
    let (container, prefix) = cloud::bucket_and_prefix(rest)?;
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in &options {
        let key: ConfigKey = cloud::known(name, cloud::AZURE_OPTIONS)?;
        if matches!(key, ConfigKey::ContainerName) {
            return Err(cloud::in_address(name));
        }
        builder = builder.with_config(key, value);
    }
    // abfs://container@account.dfs.core.windows.net/prefix names the account as well.
    builder = match container.split_once('@') {
        Some((container, host)) => match host.split_once('.') {
            Some((account, "dfs.core.windows.net" | "blob.core.windows.net")) => {
                builder.with_container_name(container).with_account(account)
            }
            _ => return Err(Error::invalid("address names no Azure storage account").with_item(host)),
        },
        None => builder.with_container_name(container),
    };
    let is_set = |key: &ConfigKey| builder.get_config_value(key).as_deref() == Some("true");
    let emulated = is_set(&ConfigKey::UseEmulator).then(|| "devstoreaccount1".to_owned());
    let account = builder.get_config_value(&ConfigKey::AccountName).or(emulated).unwrap_or_default();
    let service = Arc::new(super::azure::Azure { account, credentials: OnceLock::new() });
    let signs = !is_set(&ConfigKey::SkipSignature);
    let builder = builder.with_http_connector(super::locks::Connector(Arc::clone(&service) as _));
    let store = builder.build().map_err(|error| cloud::unusable(&error, &options))?;
    let _ = service.credentials.set(Arc::clone(store.credentials()));
    let adapter = ObjectStoreAdapter::new(Arc::new(store), &prefix)?;
    Ok(Arc::new(if signs { adapter.with_locks(service) } else { adapter }))
}

#[cfg(feature = "gcs")]
fn gcs(rest: &str, options: Options) -> Result<Arc<dyn Store>> {
    use ::object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as ConfigKey};
    let (bucket, prefix) = cloud::bucket_and_prefix(rest)?;
    let mut builder = GoogleCloudStorageBuilder::new();
    for (name, value) in &options {
        let key: ConfigKey = cloud::known(name, cloud::GCS_OPTIONS)?;
        if matches!(key, ConfigKey::Bucket) {
            return Err(cloud::in_address(name));
        }
        builder = builder.with_config(key, value);
    }
    let store =
        builder.with_bucket_name(bucket).build().map_err(|error| cloud::unusable(&error, &options))?;
    Ok(Arc::new(ObjectStoreAdapter::new(Arc::new(store), &prefix)?))
}

#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
mod cloud {
    //! What the cloud schemes share.

    use std::str::FromStr;

    use super::decode;
    use crate::error::{Error, Result};

    /// Options that people mean, for the message about one that does not exist. A test checks that each is known.
    #[cfg(feature = "s3")]
    pub(super) const S3_OPTIONS: &[&str] = &[
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "aws_region",
        "aws_endpoint",
        "aws_virtual_hosted_style_request",
        "aws_skip_signature",
        "aws_checksum_algorithm",
        "aws_role_arn",
        "aws_web_identity_token_file",
        "aws_server_side_encryption",
        "aws_sse_kms_key_id",
        "aws_s3_express",
        "aws_request_payer",
        "aws_disable_bulk_delete",
    ];
    #[cfg(feature = "azure")]
    pub(super) const AZURE_OPTIONS: &[&str] = &[
        "azure_storage_account_name",
        "azure_storage_account_key",
        "azure_storage_sas_token",
        "azure_storage_token",
        "azure_storage_client_id",
        "azure_storage_client_secret",
        "azure_storage_tenant_id",
        "azure_storage_endpoint",
        "azure_storage_use_emulator",
        "azure_federated_token_file",
        "azure_use_azure_cli",
        "azure_skip_signature",
    ];
    #[cfg(feature = "gcs")]
    pub(super) const GCS_OPTIONS: &[&str] = &[
        "google_service_account",
        "google_service_account_key",
        "google_application_credentials",
        "google_bearer_token",
        "google_base_url",
        "google_skip_signature",
    ];
    /// Options of every HTTP client.
    pub(super) const CLIENT_OPTIONS: &[&str] = &[
        "allow_http",
        "allow_invalid_certificates",
        "connect_timeout",
        "timeout",
        "read_timeout",
        "proxy_url",
        "proxy_ca_certificate",
        "pool_max_idle_per_host",
        "user_agent",
    ];

    pub(super) fn bucket_and_prefix(rest: &str) -> Result<(String, String)> {
        if rest.contains(['?', '#']) {
            return Err(Error::invalid("address has a query or fragment: pass options apart"));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // The part before an @ may be a secret that was put there by mistake, so the address is not repeated.
        if bucket.is_empty() || bucket.contains(':') {
            return Err(Error::invalid("address names no bucket or container"));
        }
        let prefix = decode(prefix).ok_or_else(|| Error::invalid("address is not well encoded"))?;
        Ok((bucket.to_owned(), prefix.trim_matches('/').to_owned()))
    }

    /// The typed key of an option.
    pub(super) fn known<K: FromStr>(name: &str, options: &[&str]) -> Result<K> {
        name.parse().map_err(|_| {
            let mut near: Vec<_> = options
                .iter()
                .chain(CLIENT_OPTIONS)
                .map(|option| (distance(name, option), *option))
                .collect();
            near.sort_unstable();
            let near: Vec<_> = near.iter().take(3).map(|(_, option)| *option).collect();
            let message = format!("no such option of this store; nearest are {}", near.join(", "));
            Error::invalid(message).with_item(name)
        })
    }

    pub(super) fn in_address(name: &str) -> Error {
        Error::invalid("bucket or container is named by the address already").with_item(name)
    }

    /// Our error for options that do not fit together. Values do not appear in it: some are secret.
    pub(super) fn unusable(error: &::object_store::Error, options: &[(String, String)]) -> Error {
        let mut message = error.to_string();
        for (key, value) in options.iter().filter(|(_, value)| !value.is_empty()) {
            message = message.replace(value.as_str(), &format!("<value of {key}>"));
        }
        Error::invalid(format!("options are not usable: {message}"))
    }

    /// How many letters to insert, delete or replace (Levenshtein).
    fn distance(a: &str, b: &str) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.bytes().enumerate() {
            let mut diagonal = i;
            let mut left = i + 1;
            for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
                let best = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
                diagonal = std::mem::replace(cell, best);
                left = best;
            }
            if let Some(first) = row.first_mut() {
                *first = i + 1;
            }
        }
        row.last().copied().unwrap_or(0)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_option_that_messages_name_exists() {
            #[cfg(feature = "s3")]
            for name in S3_OPTIONS.iter().chain(CLIENT_OPTIONS) {
                assert!(name.parse::<::object_store::aws::AmazonS3ConfigKey>().is_ok(), "{name}");
            }
            #[cfg(feature = "azure")]
            for name in AZURE_OPTIONS.iter().chain(CLIENT_OPTIONS) {
                assert!(name.parse::<::object_store::azure::AzureConfigKey>().is_ok(), "{name}");
            }
            #[cfg(feature = "gcs")]
            for name in GCS_OPTIONS.iter().chain(CLIENT_OPTIONS) {
                assert!(name.parse::<::object_store::gcp::GoogleConfigKey>().is_ok(), "{name}");
            }
        }

        #[test]
        fn distances_count_letters() {
            for (a, b, expected) in
                [("", "abc", 3), ("abc", "abc", 0), ("aws_regoin", "aws_region", 2), ("ab", "b", 1)]
            {
                assert_eq!(distance(a, b), expected, "{a} {b}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [(&str, &str); 0] = [];

    #[test]
    fn what_is_not_built_in_names_its_feature() {
        for (url, feature, built_in) in [
            ("s3://bucket/prefix", "`s3`", cfg!(feature = "s3")),
            ("az://container", "`azure`", cfg!(feature = "azure")),
            ("gs://bucket", "`gcs`", cfg!(feature = "gcs")),
            ("file:///nowhere", "`fs`", cfg!(feature = "fs")),
        ] {
            if !built_in {
                let error = from_url(url, NONE).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{url}");
                assert!(error.to_string().contains(feature), "{error}");
            }
        }
        assert_eq!(from_url("ftp://host", NONE).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn addresses_of_files_are_paths() {
        assert_eq!(local_path("/srv/a%20b").unwrap(), "/srv/a b");
        assert_eq!(local_path("localhost/srv").unwrap(), "/srv");
        for wrong in ["host/share", "", "/a%2", "/a%zz", "/%ff"] {
            assert_eq!(local_path(wrong).unwrap_err().kind(), ErrorKind::InvalidArgument, "{wrong}");
        }
    }

    #[cfg(feature = "fs")]
    #[test]
    fn an_option_that_a_store_does_not_have_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = from_url(folder.path().to_str().unwrap(), [("fsync", "false")]).unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::InvalidArgument, Some("fsync")));
    }

    #[cfg(feature = "s3")]
    #[test]
    fn s3_options_are_checked_and_secrets_stay_secret() {
        let good = [
            ("aws_access_key_id", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
            ("region", "eu-central-1"),
        ];
        let store = from_url("s3://bucket/some/prefix", good).unwrap();
        let shown = format!("{store:?}");
        assert!(
            shown.contains("bucket") && shown.contains("some/prefix") && !shown.contains("hunter2"),
            "{shown}"
        );
        let error = from_url("s3://bucket", [("aws_secret_acess_key", "hunter2hunter2")]).unwrap_err();
        assert!(error.to_string().contains("aws_secret_access_key"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let error = from_url("s3://bucket", [("allow_http", "hunter2hunter2")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        for option in [("aws_conditional_put", "disabled"), ("bucket", "other")] {
            assert_eq!(from_url("s3://bucket", [option]).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
}
