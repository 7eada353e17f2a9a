//! TLS for the simulation: a certificate authority that lives as long as the server, and the certificates it signs.
//!
//! The authority's private key is never written anywhere. Who wants a client to accept the simulation gives it the
//! authority's certificate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backup_core::{Error, ErrorKind, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::{Simulation, http};

/// How long certificates are valid: long for a test, short for a certificate that is left in a store of trust.
const VALID: Duration = Duration::from_secs(90 * 86_400);
/// Clocks of clients may be behind by this much.
const BACKDATED: Duration = Duration::from_secs(86_400);

/// Takes connections for names that a certificate was made for.
pub(super) type Acceptor = TlsAcceptor;

/// A certificate authority made for one server.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(super) fn new() -> Result<Self> {
        let mut params = dated(CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, "Throw-away authority of a simulated tenant");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        let pem = issuer.pem();
        Ok(Self { issuer, pem })
    }

    /// The certificate that clients must trust.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a certificate for host names and addresses of machines on the spot.
    pub(super) fn acceptor(&self, names: &[&str]) -> Result<Acceptor> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = dated(CertificateParams::new(names.clone()).map_err(failed)?);
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("", String::as_str));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // The provider is named, because the program around may have chosen another for itself, or none.
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|error: rustls::Error| failed(error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Answers the requests of one connection behind TLS.
pub(super) async fn serve<S>(stream: S, acceptor: &Acceptor, simulation: Simulation)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // A client that does not trust the authority goes away here, and its own error says why.
    if let Ok(stream) = acceptor.accept(stream).await {
        http::serve(stream, simulation).await;
    }
}

fn dated(mut params: CertificateParams) -> CertificateParams {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + VALID;
    params
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Io, "a certificate for the simulation cannot be made").with_source(error)
}
