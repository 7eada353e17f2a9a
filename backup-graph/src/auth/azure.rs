//! Credentials of Microsoft's `azure_identity`: managed identities, workload identities, and others.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind as AzureKind;
use backup_core::{Error, ErrorKind, Result};

use super::{Secret, TokenProvider};

/// Tokens of any credential of `azure_identity`, for programs that run in Azure or in Kubernetes.
///
/// The credential keeps its tokens and renews them itself; there is no way to tell it that one was revoked or which
/// claims the next one must have. So a token that the service refuses before it expires ends the run with
/// `Unauthenticated`; use [`ClientSecret`](super::ClientSecret) or `ClientCertificate` where that must not happen.
///
/// The program chooses the HTTP client of these credentials with the features of `azure_core`, such as `reqwest_rustls`.
///
/// ```no_run
/// # use backup_graph::auth::AzureCredential;
/// # fn sign_in() -> Result<(), azure_core::Error> {
/// // The identity of the virtual machine, function or container that this runs in.
/// let managed = AzureCredential::new(azure_identity::ManagedIdentityCredential::new(None)?);
/// // A federated identity of a Kubernetes service account, as its environment variables name it.
/// let workload = AzureCredential::new(azure_identity::WorkloadIdentityCredential::new(None)?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AzureCredential {
    credential: Arc<dyn TokenCredential>,
}

impl AzureCredential {
    /// Tokens of this credential.
    pub fn new(credential: Arc<dyn TokenCredential>) -> Self {
        Self { credential }
    }
}

#[async_trait]
impl TokenProvider for AzureCredential {
    async fn token(&self, scope: &str) -> Result<Secret> {
        let token = self.credential.get_token(&[scope], None).await.map_err(refusal)?;
        Ok(Secret::new(token.token.secret()))
    }

    fn invalidate(&self, _token: &Secret) {}
}

fn refusal(error: azure_core::Error) -> Error {
    let (kind, message) = match error.kind() {
        AzureKind::HttpResponse { status, .. } => match u16::from(*status) {
            429 => (ErrorKind::Throttled, "the issuer asks for fewer requests"),
            408 | 500.. => (ErrorKind::Unavailable, "the issuer failed"),
            _ => (ErrorKind::Unauthenticated, "the issuer refused the credential"),
        },
        AzureKind::Connection | AzureKind::Io => (ErrorKind::Unavailable, "the issuer does not answer"),
        AzureKind::Credential => (ErrorKind::Unauthenticated, "the credential gives no token"),
        _ => (ErrorKind::Extension, "the credential failed"),
    };
    Error::new(kind, message).with_source(error)
}
