//! Tokens that Python gives: a credential as `azure-identity` has them, or any callable.
//!
//! The engine asks on its own threads, and those run no Python. So each question starts a thread of Python's own and is
//! awaited like an answer from the network: neither the caller's thread nor an event loop has to be free for it, and an
//! interpreter that ends waits for that thread as for any other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use backup_core::{Error, ErrorKind, Result};
use backup_graph::{Secret, TokenProvider};
use pyo3::exceptions::{PyOSError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyString, PyTuple};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::gate::enter;

/// A token is asked for anew this long before it expires, so that none expires on its way.
const RENEW_BEFORE: Duration = Duration::from_secs(120);
/// Most scopes of which tokens are kept; a client has one.
const SCOPES_MAX: usize = 16;

/// Who gives tokens.
pub(crate) enum Giver {
    /// An object with `get_token(scope, claims=...)`.
    Credential(Py<PyAny>),
    /// A callable that takes a scope.
    Callable(Py<PyAny>),
}

impl Giver {
    /// The argument `token`, which is no text, or `credential`.
    pub(crate) fn new(object: &Bound<'_, PyAny>, is_credential: bool) -> PyResult<Self> {
        let method = intern!(object.py(), "get_token");
        match is_credential {
            true if object.hasattr(method)? => Ok(Self::Credential(object.clone().unbind())),
            false if object.is_callable() => Ok(Self::Callable(object.clone().unbind())),
            true => Err(PyTypeError::new_err("credential has no get_token")),
            false => Err(PyTypeError::new_err("token is a str, or a callable that takes a scope")),
        }
    }

    pub(crate) fn object(&self) -> &Py<PyAny> {
        match self {
            Self::Credential(object) | Self::Callable(object) => object,
        }
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Credential(object) => Self::Credential(object.clone_ref(py)),
            Self::Callable(object) => Self::Callable(object.clone_ref(py)),
        }
    }

    fn give(&self, py: Python<'_>, scope: &str, claims: Option<&str>) -> PyResult<Given> {
        let answer = match self {
            Self::Credential(credential) => {
                let keywords = PyDict::new(py);
                if let Some(claims) = claims {
                    keywords.set_item("claims", claims)?;
                }
                credential.bind(py).call_method(intern!(py, "get_token"), (scope,), Some(&keywords))?
            }
            Self::Callable(callable) => callable.bind(py).call1((scope,))?,
        };
        Given::of(&answer)
    }
}

/// A token and, where that is known, when it ends.
struct Given {
    token: Secret,
    expires: Option<SystemTime>,
}

impl Given {
    fn of(answer: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = answer.py();
        if answer.is_instance_of::<PyString>() {
            return Ok(Self { token: Secret::new(answer.extract::<String>()?), expires: None });
        }
        if answer.hasattr(intern!(py, "__await__"))? {
            // A coroutine that nobody awaits would complain later, where nobody knows why.
            if answer.hasattr(intern!(py, "close"))? {
                answer.call_method0(intern!(py, "close"))?;
            }
            return Err(PyTypeError::new_err("tokens are given by functions that are not async"));
        }
        let (token, expires): (String, f64) = if answer.hasattr(intern!(py, "expires_on"))? {
            let field = |name| answer.getattr(name);
            (field(intern!(py, "token"))?.extract()?, field(intern!(py, "expires_on"))?.extract()?)
        } else if answer.is_instance_of::<PyTuple>() {
            answer.extract()?
        } else {
            let message = "a token is a str, a tuple (token, expires_on), or has these as attributes";
            return Err(PyTypeError::new_err(message));
        };
        let since = Duration::try_from_secs_f64(expires.max(0.0)).unwrap_or(Duration::MAX);
        Ok(Self { token: Secret::new(token), expires: SystemTime::UNIX_EPOCH.checked_add(since) })
    }
}

/// What is known of one scope.
#[derive(Default)]
struct Slot {
    held: Option<Given>,
    /// What the next token must have, as the service said when it refused the last one.
    claims: Option<String>,
}

/// Tokens from Python, kept until shortly before they end, or until they are refused.
pub(crate) struct Tokens {
    giver: Giver,
    slots: Mutex<BTreeMap<String, Slot>>,
    /// Held by who asks: however many requests need a token, Python is asked once.
    asking: AsyncMutex<()>,
}

impl Tokens {
    pub(crate) fn new(giver: Giver) -> Self {
        Self { giver, slots: Mutex::default(), asking: AsyncMutex::default() }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, scope: &str) -> Option<Secret> {
        let slots = self.slots();
        let held = slots.get(scope)?.held.as_ref()?;
        let is_good = held.expires.is_none_or(|expires| SystemTime::now() + RENEW_BEFORE < expires);
        is_good.then(|| held.token.clone())
    }

    fn refuse(&self, token: &Secret, claims: Option<&str>) {
        for slot in self.slots().values_mut() {
            if slot.held.as_ref().is_some_and(|held| held.token.expose() == token.expose()) {
                slot.held = None;
                slot.claims = claims.map(str::to_owned);
            }
        }
    }

    async fn ask(&self, scope: &str, claims: Option<String>) -> Result<Given> {
        let (answer, answers) = oneshot::channel();
        let started = enter(|py| {
            let (giver, scope) = (self.giver.clone_ref(py), scope.to_owned());
            start(py, Question { giver, scope, claims, answer: Mutex::new(Some(answer)) })
        });
        match started {
            None => Err(Error::new(ErrorKind::Canceled, "the interpreter ends")),
            Some(Err(error)) => Err(error),
            Some(Ok(())) => answers.await.unwrap_or_else(|_gone| {
                Err(Error::new(ErrorKind::Unauthenticated, "whoever gives tokens ended without an answer"))
            }),
        }
    }
}

#[async_trait::async_trait]
impl TokenProvider for Tokens {
    async fn token(&self, scope: &str) -> Result<Secret> {
        if let Some(token) = self.held(scope) {
            return Ok(token);
        }
        let _turn = self.asking.lock().await;
        if let Some(token) = self.held(scope) {
            return Ok(token);
        }
        let claims = self.slots().get(scope).and_then(|slot| slot.claims.clone());
        let given = self.ask(scope, claims).await?;
        let token = given.token.clone();
        let mut slots = self.slots();
        if slots.len() >= SCOPES_MAX {
            slots.clear();
        }
        slots.insert(scope.to_owned(), Slot { held: Some(given), claims: None });
        Ok(token)
    }

    fn invalidate(&self, token: &Secret) {
        self.refuse(token, None);
    }

    fn challenge(&self, token: &Secret, claims: &str) {
        self.refuse(token, Some(claims));
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(from Python)")
    }
}

/// A question for a token, and where the answer goes.
struct Question {
    giver: Giver,
    scope: String,
    claims: Option<String>,
    answer: Mutex<Option<oneshot::Sender<Result<Given>>>>,
}

/// Starts a thread of Python's own that answers.
fn start(py: Python<'_>, question: Question) -> Result<()> {
    let run = || -> PyResult<()> {
        let answer = PyCFunction::new_closure(py, Some(c"answer"), None, move |arguments, _| {
            answer(arguments.py(), &question);
        })?;
        let keywords = PyDict::new(py);
        keywords.set_item("target", answer)?;
        keywords.set_item("name", "backup-token")?;
        // Not one that is cut off: the interpreter's end waits for it.
        keywords.set_item("daemon", false)?;
        let thread = py.import(intern!(py, "threading"))?.getattr(intern!(py, "Thread"))?;
        thread.call((), Some(&keywords))?.call_method0(intern!(py, "start")).map(drop)
    };
    run().map_err(|error| failure(py, &error))
}

fn answer(py: Python<'_>, question: &Question) {
    let Question { giver, scope, claims, answer } = question;
    let given = giver.give(py, scope, claims.as_deref()).map_err(|error| failure(py, &error));
    let sender = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A run that is gone needs no answer.
    let _ = sender.map(|sender| sender.send(given));
}

/// The engine's error for what a giver of tokens raised.
fn failure(py: Python<'_>, raised: &PyErr) -> Error {
    let value = raised.value(py);
    let class = raised.get_type(py).name().map_or_else(|_| "exception".to_owned(), |name| name.to_string());
    let text = value.str().map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned());
    let kind = if raised.is_instance_of::<PyOSError>(py) || class.starts_with("Service") {
        ErrorKind::Unavailable
    } else {
        ErrorKind::Unauthenticated
    };
    Error::new(kind, "no token was given").with_source(format!("{class}: {text}"))
}
