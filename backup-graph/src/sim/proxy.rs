//! The simulation in the place of Microsoft's hosts: an HTTP proxy whose every tunnel ends here.
//!
//! A client asks for a tunnel to a host of the tenant, gets TLS with a certificate for that name, and talks to the
//! simulation. It never opens a connection outwards: tunnels to other hosts, and requests without a tunnel, are answered
//! 502.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use backup_core::Result;
use bytes::Bytes;
use http::uri::Authority as HostAndPort;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::tls::{self, Acceptor, Authority};
use super::{Hosts, Simulation};

const HTTPS_PORT: u16 = 443;
/// Most certificates that are kept for the next connection; a tenant has three hosts at a time.
const NAMES_MAX: usize = 64;

/// What all connections of a proxy share.
#[derive(Clone)]
pub(super) struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    authority: Authority,
    acceptors: Mutex<BTreeMap<String, Acceptor>>,
}

impl Proxy {
    pub(super) fn new(authority: Authority) -> Self {
        Self { shared: Arc::new(Shared { authority, acceptors: Mutex::default() }) }
    }

    /// Who answers for this host, with the same certificate as before: clients resume sessions.
    fn acceptor(&self, host: &str) -> Result<Acceptor> {
        let mut acceptors = self.shared.acceptors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = acceptors.get(host) {
            return Ok(known.clone());
        }
        let made = self.shared.authority.acceptor(&[host])?;
        if acceptors.len() >= NAMES_MAX {
            acceptors.clear();
        }
        acceptors.insert(host.to_owned(), made.clone());
        Ok(made)
    }
}

/// Serves one connection: its requests for a tunnel, and what comes through it.
pub(super) async fn serve(stream: TcpStream, proxy: &Proxy, simulation: Simulation) {
    let granted: Mutex<Option<(String, OnUpgrade)>> = Mutex::new(None);
    let service = service_fn(|mut request: Request<Incoming>| {
        let host = simulation.with(|tenant| tunnel_to(tenant.hosts(), &request));
        let status = match &host {
            Some(_) => StatusCode::OK,
            None => StatusCode::BAD_GATEWAY,
        };
        if let Some(host) = host {
            let upgrade = hyper::upgrade::on(&mut request);
            *granted.lock().unwrap_or_else(PoisonError::into_inner) = Some((host, upgrade));
        }
        std::future::ready(Ok::<_, Infallible>(answer(status)))
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Ends as soon as a tunnel is granted, or when the client goes away.
    let _ = connection.with_upgrades().await;
    let granted = granted.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some((host, upgrade)) = granted else { return };
    let (Ok(acceptor), Ok(tunnel)) = (proxy.acceptor(&host), upgrade.await) else { return };
    tls::serve(TokioIo::new(tunnel), &acceptor, simulation).await;
}

/// The host that a tunnel is asked for, if the tenant has it.
fn tunnel_to<B>(hosts: &Hosts, request: &Request<B>) -> Option<String> {
    let asked = request.uri().authority().filter(|_| *request.method() == Method::CONNECT)?;
    let (host, port) = (asked.host().to_ascii_lowercase(), asked.port_u16().unwrap_or(HTTPS_PORT));
    let known = [&hosts.graph, &hosts.login, &hosts.content].into_iter().any(|url| {
        let Ok(url) = url.parse::<Uri>() else { return false };
        url.scheme_str() == Some("https")
            && url.host().is_some_and(|known| known.eq_ignore_ascii_case(&host))
            && url.authority().and_then(HostAndPort::port_u16).unwrap_or(HTTPS_PORT) == port
    });
    known.then_some(host)
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let text = match status {
        StatusCode::OK => "",
        _ => "This proxy leads to the hosts of a simulated tenant only.\n",
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_lead_to_the_tenants_hosts_and_nowhere_else() {
        let asked = |method: &str, target: &str| {
            let request = Request::builder().method(method).uri(target).body(()).unwrap();
            tunnel_to(&Hosts::global(), &request)
        };
        assert_eq!(asked("CONNECT", "graph.microsoft.com:443").as_deref(), Some("graph.microsoft.com"));
        assert!(asked("CONNECT", "LOGIN.microsoftonline.com:443").is_some());
        assert!(asked("CONNECT", "contoso-my.sharepoint.com:443").is_some());
        for other in
            ["graph.microsoft.com:80", "graph.microsoft.com.example:443", "example.com:443", "127.0.0.1:443"]
        {
            assert_eq!(asked("CONNECT", other), None, "{other}");
        }
        assert_eq!(asked("GET", "https://graph.microsoft.com/v1.0/users"), None);
    }
}
