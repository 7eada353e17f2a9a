//! The simulation behind HTTP/1.1 on the loopback interface, for clients that cannot be called in-process.
//!
//! Pre-authenticated addresses are on another port or host name than Graph and the issuer, so that a client which sends
//! its token along is caught. It never listens on another interface and never connects to anything.
//!
//! Start with [`SimServer`]. What a connection is asked is answered in `serve`, whatever it runs over: `tls` and
//! `proxy` lay their own matters below it.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use backup_core::Result;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[cfg(feature = "sim-tls")]
use super::proxy::{self, Proxy};
#[cfg(feature = "sim-tls")]
use super::tls::{self, Authority};
use super::{Delivery, Hosts, Simulation};

/// Bodies are sent in pieces of this length, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// How a server is entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entrance {
    /// HTTP: Graph and the issuer on one port of 127.0.0.1, pre-authenticated addresses on another. For clients whose
    /// base address can be set and that give their token to `http`. The default.
    #[default]
    Http,
    /// HTTPS: Graph and the issuer at `https://localhost`, pre-authenticated addresses at `https://127.0.0.1`, each on a
    /// port of its own. For clients whose base address can be set and that insist on TLS. They must trust
    /// [`SimServer::authority_pem`].
    #[cfg(feature = "sim-tls")]
    Tls,
    /// An HTTP proxy that takes the place of Microsoft's hosts: the tenant's [`Hosts`] are [`Hosts::global`], and
    /// `CONNECT` to them leads into the simulation. For clients that know Microsoft's addresses only; they are given
    /// [`SimServer::proxy_url`] and must trust [`SimServer::authority_pem`]. Any other host is refused with 502.
    #[cfg(feature = "sim-tls")]
    Proxy,
}

/// A running server. It lives as long as this value: dropping it closes the ports and every connection.
///
/// Only 127.0.0.1 is listened on; whoever may run programs on this machine can connect. The private key of the
/// certificate authority that TLS and the proxy use is made with the server, stays in memory and dies with it. Let the
/// programs under test trust the authority, each for itself, and not the whole machine.
#[derive(Debug)]
pub struct SimServer {
    hosts: Hosts,
    proxy: Option<String>,
    authority: Option<String>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a connection meets first.
#[derive(Clone)]
enum Door {
    Plain,
    #[cfg(feature = "sim-tls")]
    Tls(tls::Acceptor),
    #[cfg(feature = "sim-tls")]
    Proxy(Proxy),
}

impl SimServer {
    /// Serves the simulation over HTTP on two free ports of 127.0.0.1, in real time. The tenant's hosts are set to them.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Io` if no port is to be had.
    pub async fn start(simulation: Simulation) -> Result<Self> {
        Self::start_at(simulation, Entrance::Http, 0).await
    }

    /// The same through another entrance, and on this port: 0 for any free one. It is Graph's, or the proxy's;
    /// pre-authenticated addresses get any free port.
    ///
    /// # Errors
    /// `Io` if the port is taken or no certificate can be made.
    pub async fn start_at(simulation: Simulation, entrance: Entrance, port: u16) -> Result<Self> {
        let server = match entrance {
            Entrance::Http => Self::http(&simulation, port).await?,
            #[cfg(feature = "sim-tls")]
            Entrance::Tls => Self::tls(&simulation, port).await?,
            #[cfg(feature = "sim-tls")]
            Entrance::Proxy => Self::proxy(&simulation, port).await?,
        };
        simulation.with(|tenant| {
            tenant.set_hosts(server.hosts.clone());
            tenant.advance_to(SystemTime::now().into());
        });
        Ok(server)
    }

    async fn http(simulation: &Simulation, port: u16) -> Result<Self> {
        let (first, second) = (bind(port).await?, bind(0).await?);
        let graph = format!("http://{}", first.local_addr()?);
        let hosts = Hosts::new(graph.clone(), graph, format!("http://{}", second.local_addr()?));
        let tasks = [first, second].map(|listener| open(listener, simulation, Door::Plain));
        Ok(Self { hosts, proxy: None, authority: None, tasks: tasks.into() })
    }

    #[cfg(feature = "sim-tls")]
    async fn tls(simulation: &Simulation, port: u16) -> Result<Self> {
        let authority = Authority::new()?;
        let acceptor = authority.acceptor(&["localhost", "127.0.0.1"])?;
        let (first, second) = (bind(port).await?, bind(0).await?);
        let graph = format!("https://localhost:{}", first.local_addr()?.port());
        let hosts = Hosts::new(graph.clone(), graph, format!("https://{}", second.local_addr()?));
        let tasks = [first, second].map(|listener| open(listener, simulation, Door::Tls(acceptor.clone())));
        Ok(Self { hosts, proxy: None, authority: Some(authority.pem().to_owned()), tasks: tasks.into() })
    }

    #[cfg(feature = "sim-tls")]
    async fn proxy(simulation: &Simulation, port: u16) -> Result<Self> {
        let authority = Authority::new()?;
        let pem = authority.pem().to_owned();
        let listener = bind(port).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let tasks = vec![open(listener, simulation, Door::Proxy(Proxy::new(authority)))];
        Ok(Self { hosts: Hosts::global(), proxy: Some(url), authority: Some(pem), tasks })
    }

    /// The base address for a client.
    #[must_use]
    pub fn graph_url(&self) -> &str {
        &self.hosts.graph
    }

    /// The address of the issuer of tokens.
    #[must_use]
    pub fn login_url(&self) -> &str {
        &self.hosts.login
    }

    /// Where pre-authenticated addresses lead.
    #[must_use]
    pub fn content_url(&self) -> &str {
        &self.hosts.content
    }

    /// The proxy's address, for `HTTPS_PROXY`; none unless the server is entered as one.
    #[must_use]
    pub fn proxy_url(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// The certificate in PEM that clients must trust; none over plain HTTP.
    #[must_use]
    pub fn authority_pem(&self) -> Option<&str> {
        self.authority.as_deref()
    }
}

impl Drop for SimServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn bind(port: u16) -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?)
}

fn open(listener: TcpListener, simulation: &Simulation, door: Door) -> JoinHandle<()> {
    tokio::spawn(listen(listener, simulation.clone(), door))
}

async fn listen(listener: TcpListener, simulation: Simulation, door: Door) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        // An error concerns one connection that did not come about; finished ones are collected on the way.
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(enter(stream, simulation.clone(), door.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn enter(stream: TcpStream, simulation: Simulation, door: Door) {
    // Answers are small and asked for one by one: waiting for more to send would only slow them down.
    let _ = stream.set_nodelay(true);
    match door {
        Door::Plain => serve(stream, simulation).await,
        #[cfg(feature = "sim-tls")]
        Door::Tls(acceptor) => tls::serve(stream, &acceptor, simulation).await,
        #[cfg(feature = "sim-tls")]
        Door::Proxy(proxy) => proxy::serve(stream, &proxy, simulation).await,
    }
}

/// Answers the requests of one connection until it ends.
pub(super) async fn serve<S>(stream: S, simulation: Simulation)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let simulation = simulation.clone();
        async move { answer(&simulation, request).await }
    });
    // Ends with an error whenever a fault closes the connection: that is what faults are for.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

type Pieces = StreamBody<futures_core::stream::BoxStream<'static, Result<Frame<Bytes>, Broken>>>;

/// Makes hyper close the connection.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a fault of the simulation")
    }
}

impl std::error::Error for Broken {}

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn answer(simulation: &Simulation, request: Request<Incoming>) -> Result<Response<Pieces>, Broken> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let request = Request::from_parts(parts, body);
    match simulation.deliver(&request, SystemTime::now().into()) {
        Delivery::Reset => Err(Broken),
        Delivery::Answer(response, cut) => Ok(response.map(|body| pieces(body, cut))),
    }
}

fn pieces(body: Bytes, cut: Option<usize>) -> Pieces {
    let cut = cut.filter(|cut| *cut < body.len());
    let body = body.slice(..cut.unwrap_or(body.len()));
    let count = body.len().div_ceil(PIECE_BYTES);
    let pieces = (0..count).map(move |index| {
        let start = index * PIECE_BYTES;
        Ok(Frame::data(body.slice(start..body.len().min(start + PIECE_BYTES))))
    });
    StreamBody::new(futures_util::stream::iter(pieces.chain(cut.map(|_| Err(Broken)))).boxed())
}
