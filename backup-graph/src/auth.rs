//! Bearer tokens: where they come from and how long they are kept.
//!
//! What it never does: print a token or a secret, or send one to anything but the issuer that it was made for.
//!
//! Who calls it: [`GraphClient`](crate::GraphClient), once for each request. Start with [`TokenProvider`]; `issuer` has
//! what an application's secret and its certificate have in common.

#[cfg(feature = "azure-identity")]
mod azure;
#[cfg(feature = "certificate")]
mod certificate;
mod issuer;
mod secret;

use std::fmt;

use async_trait::async_trait;
use backup_core::Result;
use zeroize::Zeroizing;

#[cfg(feature = "azure-identity")]
pub use self::azure::AzureCredential;
#[cfg(feature = "certificate")]
pub use self::certificate::{ClientCertificate, SigningAlgorithm};
pub use self::secret::ClientSecret;
#[cfg(feature = "azure-identity")]
#[doc(no_inline)]
pub use azure_core;

/// Where the global cloud issues tokens; [`Cloud`](crate::Cloud) has the others.
pub const GLOBAL_AUTHORITY: &str = "https://login.microsoftonline.com";

/// A text that is wiped from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Gives tokens for a service. Implement it to use your own credentials (a managed identity, a certificate, a broker).
#[async_trait]
pub trait TokenProvider: fmt::Debug + Send + Sync {
    /// A token for `scope` (such as `https://graph.microsoft.com/.default`), from memory where one is still good.
    ///
    /// # Errors
    /// `Unauthenticated` if the credentials are refused; `Unavailable` if the issuer does not answer.
    async fn token(&self, scope: &str) -> Result<Secret>;

    /// The service refused `token` although it had not expired: do not give it out again.
    fn invalidate(&self, token: &Secret);

    /// The service refused `token` and says which claims the next one must have: JSON that goes to the issuer as its
    /// parameter `claims` (continuous access evaluation: a password was changed, a policy applies).
    ///
    /// By default the token is not given out again, and the next one is asked for without claims.
    fn challenge(&self, token: &Secret, claims: &str) {
        let _ = claims;
        self.invalidate(token);
    }
}

/// One fixed token, from wherever. It is not renewed: once it expires, requests end with `Unauthenticated`.
#[derive(Clone, Debug)]
pub struct StaticToken {
    token: Secret,
}

impl StaticToken {
    /// This token for every scope.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: Secret::new(token) }
    }
}

#[async_trait]
impl TokenProvider for StaticToken {
    async fn token(&self, _scope: &str) -> Result<Secret> {
        Ok(self.token.clone())
    }

    fn invalidate(&self, _token: &Secret) {}
}
