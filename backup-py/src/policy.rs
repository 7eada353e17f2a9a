//! The class `Policy`: what is protected, how often and for how long, as data; what is due and what is not covered.

use backup_core::policy::{Coverage, Due, Excluded, LastBackup, Plan, Protectable, Protected, Unprotected};
use backup_core::{Collection, Policy as Rules, Result};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::convert::{Time, pairs};
use crate::door::{Job, Poison, guard, wait};
use crate::error::{OrRaise, invalid};
use crate::results::{self, Object, make, nanoseconds, tuple};

/// Rules in order; the first that matches a collection is the one that counts.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct Policy {
    rules: Rules,
}

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (rules, /))]
    fn new(rules: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = rules.py();
        let text: String = if rules.is_instance_of::<PyString>() {
            rules.extract()?
        } else if let Ok(bytes) = rules.cast::<PyBytes>() {
            String::from_utf8(bytes.as_bytes().to_vec()).map_err(|_| invalid("JSON is UTF-8")).or_raise(py)?
        } else if rules.is_instance_of::<PyDict>() {
            py.import(intern!(py, "json"))?.call_method1(intern!(py, "dumps"), (rules,))?.extract()?
        } else {
            return Err(PyTypeError::new_err("a policy is a dict, or JSON as str or bytes"));
        };
        let rules = serde_json::from_str(&text).map_err(|error| invalid(format!("not a policy: {error}")));
        Ok(Self { rules: rules.or_raise(py)? })
    }

    /// Checks the policy.
    fn validate(&self, py: Python<'_>) -> PyResult<()> {
        guard(py, || self.rules.validate())
    }

    /// The rule of this name, with all its settings, or `None`.
    fn rule<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.rules.rule(name).map(|rule| plain(py, rule)).transpose()
    }

    /// The rule that counts for a collection, with all its settings, or `None`.
    fn rule_for<'py>(
        &self,
        py: Python<'py>,
        protectable: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let protectable = self::protectable(protectable)?;
        let rule = guard(py, || self.rules.rule_for(&protectable))?;
        rule.map(|rule| plain(py, rule)).transpose()
    }

    /// What is due at `now`, of what is `listed`, and when to ask again.
    #[pyo3(signature = (now, listed, last = None), text_signature = "($self, now, listed, last=())")]
    fn plan<'py>(
        &self,
        py: Python<'py>,
        now: Time,
        listed: &Bound<'py, PyAny>,
        last: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let plan =
            self.judge(py, now, listed, last, |rules, now, listed, last| rules.plan(now, listed, last))?;
        plan_of(py, &plan)
    }

    /// What is protected at `now`, of what is `listed`, and what is not.
    #[pyo3(signature = (now, listed, last = None), text_signature = "($self, now, listed, last=())")]
    fn coverage<'py>(
        &self,
        py: Python<'py>,
        now: Time,
        listed: &Bound<'py, PyAny>,
        last: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let coverage =
            self.judge(py, now, listed, last, |rules, now, listed, last| rules.coverage(now, listed, last))?;
        coverage_of(py, &coverage)
    }

    /// The policy as data, with all settings.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &self.rules)
    }

    /// The policy as JSON.
    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        json(py, &self.rules)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().rules == self.rules)
    }

    fn __hash__(&self) -> u64 {
        // Policies that are equal have as many rules; that is enough to tell most of those apart that are compared.
        self.rules.rules.len() as u64
    }

    fn __repr__(&self) -> String {
        format!("<backup_py.Policy of {} rules>", self.rules.rules.len())
    }

    fn __getnewargs__(&self, py: Python<'_>) -> PyResult<(String,)> {
        Ok((self.to_json(py)?,))
    }
}

impl Policy {
    fn judge<T: Send + 'static>(
        &self,
        py: Python<'_>,
        Time(now): Time,
        listed: &Bound<'_, PyAny>,
        last: Option<&Bound<'_, PyAny>>,
        ask: fn(&Rules, backup_core::Timestamp, &[Protectable], &[LastBackup]) -> Result<T>,
    ) -> PyResult<T> {
        let listed = listed.try_iter()?.map(|each| protectable(&each?)).collect::<PyResult<Vec<_>>>()?;
        let last = match last {
            Some(last) => last.try_iter()?.map(|each| last_backup(&each?)).collect::<PyResult<Vec<_>>>()?,
            None => Vec::new(),
        };
        let rules = self.rules.clone();
        // Many collections and many patterns take their time.
        wait(py, Job::new(&Poison::default(), move || async move { ask(&rules, now, &listed, &last) }))
    }
}

fn protectable(object: &Bound<'_, PyAny>) -> PyResult<Protectable> {
    let py = object.py();
    let collection = object.getattr(intern!(py, "collection"))?;
    let id: String = collection.getattr(intern!(py, "id"))?.extract()?;
    let kind: String = collection.getattr(intern!(py, "kind"))?.extract()?;
    let path: String = object.getattr(intern!(py, "path"))?.extract()?;
    let mut protectable = Protectable::new(Collection::new(id, kind), path);
    protectable.groups = object.getattr(intern!(py, "groups"))?.extract()?;
    protectable.labels = pairs(Some(&object.getattr(intern!(py, "labels"))?))?;
    protectable.bytes = object.getattr(intern!(py, "bytes"))?.extract()?;
    Ok(protectable)
}

fn last_backup(object: &Bound<'_, PyAny>) -> PyResult<LastBackup> {
    let py = object.py();
    let collection: String = object.getattr(intern!(py, "collection"))?.extract()?;
    let mut last = LastBackup::new(collection);
    last.good = object.getattr(intern!(py, "good"))?.extract::<Option<Time>>()?.map(|Time(time)| time);
    last.attempt = object.getattr(intern!(py, "attempt"))?.extract::<Option<Time>>()?.map(|Time(time)| time);
    Ok(last)
}

fn json<T: serde::Serialize>(py: Python<'_>, value: &T) -> PyResult<String> {
    let text = serde_json::to_string(value);
    text.map_err(|error| invalid(format!("a policy that cannot be written: {error}"))).or_raise(py)
}

/// Dictionaries, lists, text and numbers.
fn plain<'py, T: serde::Serialize>(py: Python<'py>, value: &T) -> Object<'py> {
    py.import(intern!(py, "json"))?.call_method1(intern!(py, "loads"), (json(py, value)?,))
}

fn plan_of<'py>(py: Python<'py>, plan: &Plan) -> Object<'py> {
    make!(
        py,
        "backup_py.policy",
        Plan { due: dues(py, &plan.due)?, next_at_ns: plan.next_at.map(nanoseconds) }
    )
}

fn coverage_of<'py>(py: Python<'py>, coverage: &Coverage) -> Object<'py> {
    make!(
        py,
        "backup_py.policy",
        Coverage {
            protected: tuple(py, coverage.protected.iter().map(|each| protected(py, each)))?,
            excluded: tuple(py, coverage.excluded.iter().map(|each| excluded(py, each)))?,
            unprotected: tuple(py, coverage.unprotected.iter().map(|each| unprotected(py, each)))?,
            overdue: dues(py, &coverage.overdue)?,
            gone: PyTuple::new(py, &coverage.gone)?,
        }
    )
}

fn dues<'py>(py: Python<'py>, dues: &[Due]) -> PyResult<Bound<'py, PyTuple>> {
    let dues = dues.iter().map(|due| {
        make!(
            py,
            "backup_py.policy",
            Due {
                collection: results::collection(py, &due.collection)?,
                rule: &due.rule,
                overdue_seconds: due.overdue_seconds,
                never: due.never,
            }
        )
    });
    tuple(py, dues)
}

fn protected<'py>(py: Python<'py>, each: &Protected) -> Object<'py> {
    make!(
        py,
        "backup_py.policy",
        Protected {
            collection: results::collection(py, &each.collection)?,
            rule: &each.rule,
            bytes: each.bytes,
        }
    )
}

fn excluded<'py>(py: Python<'py>, each: &Excluded) -> Object<'py> {
    make!(
        py,
        "backup_py.policy",
        Excluded {
            collection: results::collection(py, &each.collection)?,
            rule: &each.rule,
            reason: &each.reason,
            bytes: each.bytes,
        }
    )
}

fn unprotected<'py>(py: Python<'py>, each: &Unprotected) -> Object<'py> {
    make!(
        py,
        "backup_py.policy",
        Unprotected {
            collection: results::collection(py, &each.collection)?,
            path: &each.path,
            bytes: each.bytes,
        }
    )
}
