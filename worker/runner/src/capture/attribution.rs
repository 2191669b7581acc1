//! Which invocation a piece of Python code runs for.
//!
//! A `ContextVar` says so. Tasks inherit it by themselves; threads and what is submitted to thread pools do
//! not, so they are given it when they start.

use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::python::helpers;

/// The context variable.
#[derive(Debug)]
pub(super) struct Attribution {
    variable: Py<PyAny>,
}

#[expect(
    unsafe_code,
    reason = "asked with every line: `ContextVar.get` from outside costs ten times as much"
)]
unsafe extern "C" {
    /// Not in the stable ABI, but public, and the same in every version from 3.7.1 on.
    fn PyContextVar_Get(
        variable: *mut PyObject,
        default: *mut PyObject,
        value: *mut *mut PyObject,
    ) -> std::ffi::c_int;
}

impl Attribution {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let variable = py.import("_contextvars")?.getattr("ContextVar")?.call1(("farcall_invocation",))?;
        Ok(Self { variable: variable.unbind() })
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { variable: self.variable.clone_ref(py) }
    }

    /// Code that runs in this context from here on runs for invocation `id`.
    pub(super) fn enter(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        self.variable.call_method1(py, "set", (id,))?;
        Ok(())
    }

    /// The invocation of the calling thread's context, if it has one.
    pub(super) fn current(&self, py: Python<'_>) -> Option<u64> {
        let mut value = std::ptr::null_mut();
        // SAFETY: the variable is a `ContextVar`, and the place for the value can be written to. There is no
        // default: where no value is set, none comes back.
        #[expect(unsafe_code, reason = "declared above")]
        let value = unsafe {
            if PyContextVar_Get(self.variable.as_ptr(), std::ptr::null_mut(), &raw mut value) != 0 {
                drop(PyErr::take(py));
                return None;
            }
            Bound::from_owned_ptr_or_opt(py, value)
        };
        value?.extract().ok()
    }
}

/// Stands for `_thread.start_new_thread`, which `threading` starts its threads with before 3.13: that it is
/// called is no audit event before 3.12. What it starts runs in its starter's invocation.
#[pyclass(frozen)]
pub(super) struct ThreadStart {
    original: Py<PyAny>,
    attribution: Attribution,
}

impl ThreadStart {
    /// Takes the original's place, in `threading` as well: that keeps what it found when it was imported, which
    /// start-up files of the interpreter's packages may have done.
    pub(super) fn install(py: Python<'_>, attribution: &Attribution) -> PyResult<()> {
        let threads = py.import("_thread")?;
        let original = threads.getattr("start_new_thread")?.unbind();
        let attribution = attribution.clone_ref(py);
        let ours = Self { original, attribution }.into_pyobject(py)?;
        threads.setattr("start_new_thread", &ours)?;
        let loaded = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
        match loaded.get_item("threading")? {
            Some(threading) if threading.hasattr("_start_new_thread")? => {
                threading.setattr("_start_new_thread", &ours)
            }
            _ => Ok(()),
        }
    }
}

#[pymethods]
impl ThreadStart {
    #[pyo3(signature = (function, *others, **keywords))]
    fn __call__<'py>(
        &self,
        function: Bound<'py, PyAny>,
        others: &Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = function.py();
        let function = match self.attribution.current(py) {
            Some(id) if function.is_callable() => {
                helpers(py)?.call_method1("attribute", (&self.attribution.variable, id, function))?
            }
            _ => function,
        };
        let arguments = PyTuple::new(py, [function])?.as_sequence().concat(others.as_sequence())?;
        self.original.bind(py).call(arguments.to_tuple()?, keywords)
    }
}

/// Gives a thread that is about to start its starter's invocation. `arguments` are those of the audit event
/// `_thread.start_joinable_thread`, which `threading` makes from 3.13 on; the first is the function.
pub(super) fn follow_thread(attribution: &Attribution, arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
    let py = arguments.py();
    let Some(id) = attribution.current(py) else { return Ok(()) };
    let thread = arguments.get_item(0)?.getattr("__self__")?;
    helpers(py)?.call_method1("follow_thread", (thread, &attribution.variable, id))?;
    Ok(())
}
