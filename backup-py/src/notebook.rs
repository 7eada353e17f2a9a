//! What notebooks show. The text is made in Python, in `_html.py`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::repository::Repository;

#[pymethods]
impl Repository {
    /// What notebooks show: the id and the newest snapshots, as HTML.
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static SHOW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        SHOW.import(slf.py(), "backup_py._html", "repository")?.call1((slf,))
    }
}
