//! A service of a few lines: what it answers is written in the test, what it was asked is kept.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backup_core::{Error, ErrorKind, Result, Timestamp};
use backup_graph::bytes::Bytes;
use backup_graph::http::{HeaderMap, Request, Response};
use backup_graph::sim::VirtualTimer;
use backup_graph::{Body, GraphClient, StaticToken, Timer, TokenProvider, Transport};
use futures_util::StreamExt as _;
use serde_json::Value;

pub(crate) const GRAPH: &str = "https://graph.example";

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Timestamp,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What the script answers.
pub(crate) enum Line {
    Answer(Response<Bytes>),
    Reset,
    /// This body, which the test feeds.
    Open(Body),
}

type Play = dyn FnMut(&Seen) -> Line + Send;

/// The scripted service.
#[derive(Clone)]
pub(crate) struct Script {
    timer: VirtualTimer,
    play: Arc<Mutex<Box<Play>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(crate) fn new(play: impl FnMut(&Seen) -> Line + Send + 'static) -> Self {
        let timer = VirtualTimer::new(Timestamp::new(1_800_000_000, 0));
        Self { timer, play: Arc::new(Mutex::new(Box::new(play))), seen: Arc::default() }
    }

    /// Answers these in turn; further requests are refused.
    pub(crate) fn lines(lines: impl IntoIterator<Item = Line>) -> Self {
        let mut lines = lines.into_iter().collect::<Vec<_>>().into_iter();
        Self::new(move |_| lines.next().unwrap_or_else(|| json(400, &Value::Null)))
    }

    pub(crate) fn timer(&self) -> &VirtualTimer {
        &self.timer
    }

    pub(crate) fn client(&self) -> GraphClient {
        self.client_with(Arc::new(StaticToken::new("the token")))
    }

    pub(crate) fn client_with(&self, tokens: Arc<dyn TokenProvider>) -> GraphClient {
        let timer = Arc::new(self.timer.clone());
        GraphClient::new(GRAPH, Arc::new(self.clone()), tokens, timer).unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

#[async_trait]
impl Transport for Script {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        let seen = Seen { at: self.timer.now(), url, headers: parts.headers, body };
        let line = (self.play.lock().unwrap())(&seen);
        self.seen.lock().unwrap().push(seen);
        match line {
            Line::Answer(answer) => {
                Ok(answer.map(|body| futures_util::stream::iter([Ok(body)]).boxed() as Body))
            }
            Line::Reset => Err(Error::new(ErrorKind::Unavailable, "the connection was reset")),
            Line::Open(body) => Ok(Response::new(body)),
        }
    }
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, body: &Value) -> Line {
    with_headers(status, &[], body)
}

pub(crate) fn with_headers(status: u16, headers: &[(&str, &str)], body: &Value) -> Line {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    Line::Answer(answer.body(body.to_string().into()).unwrap())
}
