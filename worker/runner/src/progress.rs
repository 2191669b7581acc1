//! `farcall_worker.progress(value)`: user code tells how far it is.

use farcall_protocol::SerializationFormat;
use farcall_protocol::frame::FromRunner;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::capture::Capture;
use crate::channel::Sender;
use crate::payload;

/// Makes the module `farcall_worker` importable.
pub(crate) fn install(py: Python<'_>, capture: Capture, sender: Sender) -> PyResult<()> {
    let module = PyModule::new(py, "farcall_worker")?;
    module.setattr("progress", Progress { capture, sender }.into_pyobject(py)?)?;
    py.import("sys")?.getattr("modules")?.set_item("farcall_worker", module)
}

#[pyclass(frozen)]
struct Progress {
    capture: Capture,
    sender: Sender,
}

#[pymethods]
impl Progress {
    /// Sends a JSON-serialisable value to whoever follows the call, after everything printed so far. Sent in
    /// order; what comes after the call's answer is dropped.
    fn __call__(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(id) = self.capture.invocation(py) else {
            return Err(PyRuntimeError::new_err("progress can only be told by code that a call runs"));
        };
        let encoded = payload::encode(value, &SerializationFormat::Json, u64::MAX);
        let (_, body) = encoded.map_err(|failure| PyValueError::new_err(failure.error))?;
        self.capture.flush_python(py);
        py.detach(|| self.sender.send(&FromRunner::Progress { id }, &body))?;
        Ok(())
    }
}
