//! Which invocation a piece of Python code runs for.
//!
//! A `ContextVar` says so. Tasks inherit it by themselves; threads and what is submitted to thread pools do
//! not, so they are given it when they start.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::python::helpers;

/// The context variable.
#[derive(Debug)]
pub(super) struct Attribution {
    variable: Py<PyAny>,
    get: Py<PyAny>,
}

impl Attribution {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let variable = py.import("_contextvars")?.getattr("ContextVar")?.call1(("farcall_invocation",))?;
        Ok(Self { get: variable.getattr("get")?.unbind(), variable: variable.unbind() })
    }

    /// Code that runs in this context from here on runs for invocation `id`.
    pub(super) fn enter(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        self.variable.call_method1(py, "set", (id,))?;
        Ok(())
    }

    /// The invocation of the calling thread's context, if it has one.
    pub(super) fn current(&self, py: Python<'_>) -> Option<u64> {
        self.get.bind(py).call1((py.None(),)).ok()?.extract().ok()
    }
}

/// Gives a thread that is about to start its starter's invocation. `arguments` are those of the audit event
/// `_thread.start_new_thread`, or of `_thread.start_joinable_thread` from 3.13 on; the first is the function.
pub(super) fn follow_thread(attribution: &Attribution, arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
    let py = arguments.py();
    let Some(id) = attribution.current(py) else { return Ok(()) };
    let thread = arguments.get_item(0)?.getattr("__self__")?;
    helpers(py)?.call_method1("follow_thread", (thread, &attribution.variable, id))?;
    Ok(())
}
