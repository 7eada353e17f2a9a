//! An application that proves itself by a certificate: a short-lived assertion signed with the certificate's key.
//!
//! The form of the assertion is Microsoft's
//! ([claims and header](https://learn.microsoft.com/entra/identity-platform/certificate-credentials)). The key is read
//! once and stays in AWS-LC, which wipes it; it is never sent and never printed.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use aws_lc_rs::{digest, rand};
use backup_core::{Error, ErrorKind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::issuer::Issuer;
use super::{Secret, TokenProvider};
use crate::client::encode_segment;
use crate::limits::{ASSERTION_SECONDS, CERTIFICATES_MAX, PEM_BYTES_MAX};
use crate::transport::{Timer, Transport};

/// How proofs of possession of a key are called.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How assertions are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SigningAlgorithm {
    /// RSASSA-PSS with SHA-256, the certificate named by its SHA-256 thumbprint: what Microsoft Entra ID asks for.
    #[default]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, the certificate named by its SHA-1 thumbprint too: for issuers that do not know
    /// the other, such as AD FS.
    Rs256,
}

/// An application that proves itself by a certificate (OAuth 2.0 client credentials with a signed assertion).
///
/// Costs one signature and one request to the issuer about every hour, however many requests need a token at the same
/// time.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use backup_graph::{ClientCertificate, Cloud, Secret, Timer, Transport};
/// # fn sign_in(transport: Arc<dyn Transport>, timer: Arc<dyn Timer>) -> backup_core::Result<ClientCertificate> {
/// let pem = Secret::new(std::fs::read_to_string("backup.pem")?);
/// let application = "00001111-aaaa-2222-bbbb-3333cccc4444";
/// ClientCertificate::new(Cloud::Global.authority(), "contoso.com", application, &pem, transport, timer)
/// # }
/// ```
pub struct ClientCertificate {
    key: KeyPair,
    /// In DER, the application's own first.
    certificates: Vec<Vec<u8>>,
    algorithm: SigningAlgorithm,
    chain: bool,
    continuous: bool,
    issuer: Arc<Issuer>,
}

impl ClientCertificate {
    /// The application `client_id` of the directory `tenant`. `authority` is the issuer's address, such as
    /// [`GLOBAL_AUTHORITY`](super::GLOBAL_AUTHORITY). `pem` has the private key (RSA of 2048 to 8192 bits, PKCS#8 or
    /// PKCS#1, not encrypted) and the certificate that is registered with the application, in any order; further
    /// certificates are its chain.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no usable key or no certificate that belongs to it. The error never quotes the text.
    pub fn new(
        authority: impl Into<String>,
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        pem: &Secret,
        transport: Arc<dyn Transport>,
        timer: Arc<dyn Timer>,
    ) -> Result<Self> {
        let (key, certificates) = read(pem)?;
        let issuer = Issuer::new(authority.into(), tenant.into(), client_id.into(), transport, timer);
        let algorithm = SigningAlgorithm::default();
        Ok(Self { key, certificates, algorithm, chain: false, continuous: false, issuer })
    }

    /// Another way to sign than [`SigningAlgorithm::Ps256`].
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: SigningAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Whether assertions carry the certificate and its chain, for applications that trust certificates by subject
    /// name and issuer: then a renewed certificate need not be registered. Default no. Costs a few kilobytes a request.
    #[must_use]
    pub fn with_chain(mut self, chain: bool) -> Self {
        self.chain = chain;
        self
    }

    /// As [`ClientSecret::with_continuous_access`](super::ClientSecret::with_continuous_access).
    #[must_use]
    pub fn with_continuous_access(mut self, continuous: bool) -> Self {
        self.continuous = continuous;
        self
    }

    fn proof(&self, issuer: &Issuer) -> Result<Zeroizing<String>> {
        let assertion = self.assertion(issuer)?;
        let kind = encode_segment(ASSERTION_TYPE);
        Ok(Zeroizing::new(format!("client_assertion_type={kind}&client_assertion={}", *assertion)))
    }

    fn assertion(&self, issuer: &Issuer) -> Result<Zeroizing<String>> {
        let own = self.certificates.first().map(Vec::as_slice).unwrap_or_default();
        let thumbprint = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, own));
        let mut head = json!({ "typ": "JWT", "x5t#S256": thumbprint(&digest::SHA256) });
        let encoding: &'static dyn RsaEncoding = match self.algorithm {
            SigningAlgorithm::Ps256 => {
                head["alg"] = "PS256".into();
                &RSA_PSS_SHA256
            }
            SigningAlgorithm::Rs256 => {
                head["alg"] = "RS256".into();
                head["x5t"] = thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY).into();
                &RSA_PKCS1_SHA256
            }
        };
        if self.chain {
            head["x5c"] = self.certificates.iter().map(|der| STANDARD.encode(der)).collect();
        }
        // From where the signature's salt comes too: an id that was used before is refused by the issuer.
        let mut id = [0; 16];
        rand::fill(&mut id)
            .map_err(|_| Error::new(ErrorKind::Unavailable, "the system has no randomness"))?;
        let (client, now) = (issuer.client_id(), issuer.now().seconds());
        let claims = json!({
            "aud": issuer.endpoint(), "iss": client, "sub": client, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now, "nbf": now, "exp": now.saturating_add(ASSERTION_SECONDS),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| Error::new(ErrorKind::InvalidArgument, "the key does not sign"))?;
        Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

#[async_trait]
impl TokenProvider for ClientCertificate {
    async fn token(&self, scope: &str) -> Result<Secret> {
        self.issuer.token(scope, self.continuous, |issuer| self.proof(issuer)).await
    }

    fn invalidate(&self, token: &Secret) {
        self.issuer.refused(token, None);
    }

    fn challenge(&self, token: &Secret, claims: &str) {
        self.issuer.refused(token, Some(claims));
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientCertificate");
        self.issuer.fields(&mut shown);
        shown.field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The key and the certificates, the key's own first.
fn read(pem: &Secret) -> Result<(KeyPair, Vec<Vec<u8>>)> {
    let invalid = |message: &str| Error::new(ErrorKind::InvalidArgument, message);
    let text = pem.expose();
    if text.len() > PEM_BYTES_MAX {
        return Err(invalid("this is too long for a key and its certificates"));
    }
    let (mut key, mut certificates) = (None, Vec::new());
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, der) = section.map_err(|error| invalid("not a text in PEM").with_source(error))?;
        let der = Zeroizing::new(der);
        let read = match kind {
            SectionKind::PrivateKey => KeyPair::from_pkcs8(&der),
            SectionKind::RsaPrivateKey => KeyPair::from_der(&der),
            SectionKind::EcPrivateKey => return Err(invalid("the issuer takes RSA keys only")),
            SectionKind::Certificate if certificates.len() < CERTIFICATES_MAX => {
                certificates.push(der.to_vec());
                continue;
            }
            _ => continue,
        };
        if key.is_some() {
            return Err(invalid("there is more than one private key"));
        }
        let read = read.map_err(|error| {
            invalid("the private key is no RSA key of 2048 to 8192 bits").with_source(error)
        })?;
        key = Some(read);
    }
    let key = key.ok_or_else(|| {
        let encrypted = text.contains("ENCRYPTED");
        invalid(if encrypted { "the private key is encrypted" } else { "there is no private key" })
    })?;
    // A certificate contains its public key as it is.
    let public = key.public_key().as_ref();
    let is_own = |der: &Vec<u8>| der.windows(public.len()).any(|part| part == public);
    let own = certificates.iter().position(is_own);
    let own = own.ok_or_else(|| invalid("there is no certificate that belongs to the private key"))?;
    certificates.swap(0, own);
    Ok((key, certificates))
}
