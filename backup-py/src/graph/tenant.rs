//! The class `Tenant`: how to reach Microsoft Graph, as whom, and what is there.

use std::sync::Arc;
use std::time::Duration;

use backup_core::Result;
use backup_graph::throttle::{Budget, Lane, Patience};
use backup_graph::{
    ClientCertificate, ClientSecret, Cloud, GraphClient, ReqwestTransport, Secret, StaticToken, Timer,
    TokenProvider, TokioTimer, Transport,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use zeroize::Zeroizing;

use super::listings::{Entries, every_drive, listing};
use super::token::{Giver, Tokens};
use super::values::owner_kind;
use crate::convert::{refuse_pickle, secret};
use crate::door::{Poison, guard};
use crate::error::{OrRaise, invalid};
use crate::repository::Keyword;
use crate::{results, runtime};

/// A Microsoft 365 tenant, as one application sees it.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct Tenant {
    client: GraphClient,
    poison: Poison,
    /// What it was made from, but for the secret.
    recipe: Recipe,
    proof: Proof,
    pickle_secret: bool,
}

/// How the application proves itself.
enum Proof {
    Secret(Zeroizing<String>),
    Certificate(Zeroizing<String>),
    Token(Zeroizing<String>),
    Python(Giver),
}

/// Arguments as Python gave them.
struct Recipe {
    tenant_id: String,
    keywords: Py<PyDict>,
}

#[pymethods]
impl Tenant {
    #[new]
    #[pyo3(
        signature = (
            tenant_id, *, client_id = None, client_secret = None, certificate = None, credential = None,
            token = None, cloud = "global", graph_url = None, login_url = None, root_certificates = None,
            user_agent = None, continuous_access = false, attempts_max = None, wait_max = None,
            concurrency_max = None, pickle_secret = false
        )
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new<'py>(
        py: Python<'py>,
        tenant_id: String,
        client_id: Option<String>,
        client_secret: Keyword<'_, 'py>,
        certificate: Keyword<'_, 'py>,
        credential: Keyword<'_, 'py>,
        token: Keyword<'_, 'py>,
        cloud: &str,
        graph_url: Option<String>,
        login_url: Option<String>,
        root_certificates: Keyword<'_, 'py>,
        user_agent: Option<String>,
        continuous_access: bool,
        attempts_max: Option<u32>,
        wait_max: Option<Duration>,
        concurrency_max: Keyword<'_, 'py>,
        pickle_secret: bool,
    ) -> PyResult<Self> {
        let proof = proof(py, client_secret, certificate, credential, token)?;
        let keywords = PyDict::new(py);
        keywords.set_item("client_id", &client_id)?;
        keywords.set_item("cloud", cloud)?;
        keywords.set_item("graph_url", &graph_url)?;
        keywords.set_item("login_url", &login_url)?;
        keywords.set_item("root_certificates", root_certificates)?;
        keywords.set_item("user_agent", &user_agent)?;
        keywords.set_item("continuous_access", continuous_access)?;
        keywords.set_item("attempts_max", attempts_max)?;
        keywords.set_item("wait_max", wait_max)?;
        keywords.set_item("concurrency_max", concurrency_max)?;
        keywords.set_item("pickle_secret", pickle_secret)?;
        let pem = root_certificates.map(|pem| secret(pem, "root_certificates", true)).transpose()?;
        let lanes = lanes(concurrency_max)?;
        let given = match &proof {
            Proof::Python(giver) => Some(giver.clone_ref(py)),
            _ => None,
        };
        let client = guard(py, || {
            let cloud = self::cloud(cloud)?;
            // Some of what these make wants to know its runtime.
            let handle = runtime::handle()?;
            let _inside = handle.enter();
            let transport: Arc<dyn Transport> = Arc::new(match &pem {
                Some(pem) => ReqwestTransport::with_root_certificates(pem)?,
                None => ReqwestTransport::new()?,
            });
            let timer: Arc<dyn Timer> = Arc::new(TokioTimer::new());
            let login = login_url.as_deref().unwrap_or_else(|| cloud.authority());
            let application = || {
                client_id.clone().ok_or_else(|| invalid("client_id is needed with a secret or certificate"))
            };
            let (there, time) = (Arc::clone(&transport), Arc::clone(&timer));
            let tokens: Arc<dyn TokenProvider> = match &proof {
                Proof::Secret(text) => {
                    let text = Secret::new(text.as_str());
                    let made = ClientSecret::new(login, &tenant_id, application()?, text, there, time);
                    Arc::new(made.with_continuous_access(continuous_access))
                }
                Proof::Certificate(pem) => {
                    let pem = Secret::new(pem.as_str());
                    let made = ClientCertificate::new(login, &tenant_id, application()?, &pem, there, time)?;
                    Arc::new(made.with_continuous_access(continuous_access))
                }
                Proof::Token(text) => Arc::new(StaticToken::new(text.as_str())),
                Proof::Python(_) => {
                    let giver = given.ok_or_else(|| invalid("no token"))?;
                    Arc::new(Tokens::new(giver))
                }
            };
            let base = graph_url.as_deref().unwrap_or_else(|| cloud.graph());
            let mut client =
                GraphClient::new(base, transport, tokens, timer)?.with_logger(runtime::logger()?);
            if graph_url.is_some() {
                // A proxy or a simulation stands for the cloud's own Graph.
                client = client.with_scope(cloud.scope());
            }
            if let Some(text) = &user_agent {
                client = client.with_user_agent(text)?;
            }
            let mut patience = Patience::default();
            patience.attempts_max = attempts_max.unwrap_or(patience.attempts_max);
            patience.wait_max = wait_max.unwrap_or(patience.wait_max);
            client = client.with_patience(patience);
            for (lane, requests) in lanes {
                client = client.with_concurrency_max(lane, requests);
            }
            Ok(client)
        })?;
        let recipe = Recipe { tenant_id, keywords: keywords.unbind() };
        Ok(Self { client, poison: Poison::default(), recipe, proof, pickle_secret })
    }

    /// The directory's id or domain, as it was given.
    #[getter]
    fn tenant_id(&self) -> &str {
        &self.recipe.tenant_id
    }

    /// Every user, guests and disabled accounts included.
    fn users(&self) -> Entries {
        listing!(self, users(), User)
    }

    /// Every group; only those that are unified have a drive.
    fn groups(&self) -> Entries {
        listing!(self, groups(), Group)
    }

    /// Every site of every geography, those of groups and of persons included.
    fn sites(&self) -> Entries {
        listing!(self, sites(), Site)
    }

    /// The sites directly below the site of this id.
    fn subsites(&self, site: String) -> Entries {
        listing!(self, subsites(&site), Site)
    }

    /// The drives of the user, group or site of this id; a user's sign-in name is an id too.
    fn drives_of(&self, py: Python<'_>, kind: &str, id: String) -> PyResult<Entries> {
        let kind = owner_kind(kind).or_raise(py)?;
        Ok(listing!(self, drives_of(kind, &id), Drive))
    }

    /// Every drive that owners of these kinds have, each exactly once, with its owner.
    #[pyo3(signature = (kinds = None), text_signature = "($self, kinds=('user', 'group', 'site'))")]
    fn every_drive(&self, py: Python<'_>, kinds: Option<Vec<String>>) -> PyResult<Entries> {
        let kinds = kinds.map(|kinds| kinds.iter().map(|kind| owner_kind(kind)).collect::<Result<Vec<_>>>());
        Ok(every_drive(self, kinds.transpose().or_raise(py)?))
    }

    /// What changed among the users since a position, or all of them without one.
    #[pyo3(signature = (since = None))]
    fn user_changes(&self, since: Option<String>) -> Entries {
        listing!(self, user_changes(since.as_deref()), UserChange)
    }

    /// What changed among the groups since a position, or all of them without one.
    #[pyo3(signature = (since = None))]
    fn group_changes(&self, since: Option<String>) -> Entries {
        listing!(self, group_changes(since.as_deref()), GroupChange)
    }

    /// What was done so far, by name: requests, waits, bytes.
    #[getter]
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        results::attributes(py, &self.client.metrics().to_attributes())
    }

    /// Limits from now on what may be used, over all that was made from this tenant.
    #[pyo3(signature = (*, requests_per_hour = None, units_per_hour = None, bytes_per_hour = None))]
    fn set_budget(
        &self,
        requests_per_hour: Option<u64>,
        units_per_hour: Option<u64>,
        bytes_per_hour: Option<u64>,
    ) {
        let mut budget = Budget::unlimited();
        budget.requests_per_hour = requests_per_hour;
        budget.units_per_hour = units_per_hour;
        budget.bytes_per_hour = bytes_per_hour;
        self.client.set_budget(budget);
    }

    fn __repr__(&self) -> String {
        format!("<backup_py.Tenant {}>", self.recipe.tenant_id)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((&str,), Bound<'py, PyDict>)> {
        let keywords = self.recipe.keywords.bind(py).copy()?;
        let (name, value) = match &self.proof {
            Proof::Python(giver @ Giver::Credential(_)) => ("credential", giver.object().bind(py).clone()),
            Proof::Python(giver) => ("token", giver.object().bind(py).clone()),
            Proof::Secret(text) => ("client_secret", PyString::new(py, text).into_any()),
            Proof::Certificate(pem) => ("certificate", PyString::new(py, pem).into_any()),
            Proof::Token(text) => ("token", PyString::new(py, text).into_any()),
        };
        if !self.pickle_secret && !matches!(self.proof, Proof::Python(_)) {
            refuse_pickle(
                "Tenant",
                "it holds a secret; make it with pickle_secret=True, or with credential=",
            )?;
        }
        keywords.set_item(name, value)?;
        Ok(((&self.recipe.tenant_id,), keywords))
    }
}

impl Tenant {
    pub(crate) fn client(&self) -> &GraphClient {
        &self.client
    }

    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// Exactly one of them.
fn proof(
    py: Python<'_>,
    client_secret: Keyword<'_, '_>,
    certificate: Keyword<'_, '_>,
    credential: Keyword<'_, '_>,
    token: Keyword<'_, '_>,
) -> PyResult<Proof> {
    match (client_secret, certificate, credential, token) {
        (Some(text), None, None, None) => Ok(Proof::Secret(text_of(text, "client_secret")?)),
        (None, Some(pem), None, None) => Ok(Proof::Certificate(text_of(pem, "certificate")?)),
        (None, None, Some(credential), None) => Ok(Proof::Python(Giver::new(credential, true)?)),
        (None, None, None, Some(token)) if token.is_instance_of::<PyString>() => {
            Ok(Proof::Token(text_of(token, "token")?))
        }
        (None, None, None, Some(token)) => Ok(Proof::Python(Giver::new(token, false)?)),
        _ => Err(invalid("exactly one of client_secret, certificate, credential and token is needed"))
            .or_raise(py),
    }
}

fn text_of(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Zeroizing<String>> {
    let bytes = secret(object, name, true)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.is_empty() => Ok(Zeroizing::new(text.to_owned())),
        Ok(_) => Err(invalid(format!("{name} is empty"))).or_raise(object.py()),
        Err(_) => Err(invalid(format!("{name} is not UTF-8"))).or_raise(object.py()),
    }
}

fn cloud(name: &str) -> Result<Cloud> {
    match name {
        "global" => Ok(Cloud::Global),
        "us_government" => Ok(Cloud::UsGovernment),
        "us_defense" => Ok(Cloud::UsDefense),
        "china" => Ok(Cloud::China),
        _ => Err(invalid("cloud is one of global, us_government, us_defense, china").with_item(name)),
    }
}

/// The argument `concurrency_max`.
fn lanes(limits: Keyword<'_, '_>) -> PyResult<Vec<(Lane, u32)>> {
    let Some(limits) = limits else { return Ok(Vec::new()) };
    let limits: Vec<(String, u32)> = limits
        .cast::<pyo3::types::PyMapping>()?
        .items()?
        .iter()
        .map(|each| each.extract())
        .collect::<PyResult<_>>()?;
    let lane = |(name, requests): (String, u32)| match name.as_str() {
        "graph" => Ok((Lane::Graph, requests)),
        "download" => Ok((Lane::Download, requests)),
        "upload" => Ok((Lane::Upload, requests)),
        _ => Err(PyTypeError::new_err("concurrency_max has graph, download and upload")),
    };
    limits.into_iter().map(lane).collect()
}
