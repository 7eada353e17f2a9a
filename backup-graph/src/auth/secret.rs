//! An application that proves itself by a secret.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use backup_core::Result;
use zeroize::Zeroizing;

use super::issuer::Issuer;
use super::{Secret, TokenProvider};
use crate::client::encode_segment;
use crate::transport::{Timer, Transport};

/// An application that proves itself by a client secret (OAuth 2.0 client credentials). A secret is easily copied and
/// expires unnoticed: prefer `ClientCertificate`.
///
/// Costs one request to the issuer about every hour, however many requests need a token at the same time.
pub struct ClientSecret {
    secret: Secret,
    continuous: bool,
    issuer: Arc<Issuer>,
}

impl ClientSecret {
    /// The application `client_id` of the directory `tenant`. `authority` is the issuer's address, such as
    /// [`GLOBAL_AUTHORITY`](super::GLOBAL_AUTHORITY).
    pub fn new(
        authority: impl Into<String>,
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        secret: Secret,
        transport: Arc<dyn Transport>,
        timer: Arc<dyn Timer>,
    ) -> Self {
        let issuer = Issuer::new(authority.into(), tenant.into(), client_id.into(), transport, timer);
        Self { secret, continuous: false, issuer }
    }

    /// Whether the issuer is told that this client understands claims challenges
    /// ([continuous access evaluation](https://learn.microsoft.com/entra/identity/conditional-access/concept-continuous-access-evaluation-workload)).
    /// Then tokens may live for up to a day and are revoked at once when the application is disabled or a policy applies.
    /// Default no: tokens live for about an hour. Challenges are answered either way.
    #[must_use]
    pub fn with_continuous_access(mut self, continuous: bool) -> Self {
        self.continuous = continuous;
        self
    }
}

#[async_trait]
impl TokenProvider for ClientSecret {
    async fn token(&self, scope: &str) -> Result<Secret> {
        let proof = |_: &Issuer| {
            let secret = Zeroizing::new(encode_segment(self.secret.expose()));
            Ok(Zeroizing::new(format!("client_secret={}", *secret)))
        };
        self.issuer.token(scope, self.continuous, proof).await
    }

    fn invalidate(&self, token: &Secret) {
        self.issuer.refused(token, None);
    }

    fn challenge(&self, token: &Secret, claims: &str) {
        self.issuer.refused(token, Some(claims));
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientSecret");
        self.issuer.fields(&mut shown);
        shown.finish_non_exhaustive()
    }
}
