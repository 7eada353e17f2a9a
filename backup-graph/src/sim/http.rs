//! The simulation behind HTTP/1.1 on the loopback interface, for clients that cannot be called in-process.
//!
//! Graph and the issuer share one port; pre-authenticated addresses are on a second one, so that a client which sends
//! its token along is caught.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Delivery, Hosts, Simulation};

/// Bodies are sent in pieces of this length, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct SimServer {
    hosts: Hosts,
    tasks: Vec<JoinHandle<()>>,
}

impl SimServer {
    /// Serves the simulation on two free ports of 127.0.0.1, in real time. The tenant's hosts are set to them.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Io` if no port is to be had.
    pub async fn start(simulation: Simulation) -> Result<Self> {
        let mut tasks = Vec::new();
        let mut urls = Vec::new();
        for _ in 0..2 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            urls.push(format!("http://{}", listener.local_addr()?));
            tasks.push(tokio::spawn(listen(listener, simulation.clone())));
        }
        let hosts = Hosts::new(urls[0].clone(), urls[0].clone(), urls[1].clone());
        simulation.with(|tenant| {
            tenant.set_hosts(hosts.clone());
            tenant.advance_to(SystemTime::now().into());
        });
        Ok(Self { hosts, tasks })
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
}

impl Drop for SimServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(listener: TcpListener, simulation: Simulation) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        // An error concerns one connection that did not come about; finished ones are collected on the way.
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, simulation.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, simulation: Simulation) {
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
