//! Moments at which output has to be handed on: Python calls these.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::Capture;
use super::attribution::follow_thread;
use super::burst::Burst;
use crate::channel::Sender;

/// Audit events after which another process may write to the descriptors.
const PROCESS_EVENTS: [&str; 5] =
    ["subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.forkpty"];

/// Before a fork: the child must not write what the parent has gathered.
#[pyclass(frozen)]
pub(super) struct FlushHook(pub(super) Capture);

#[pymethods]
impl FlushHook {
    fn __call__(&self, py: Python<'_>) {
        self.0.flush_python(py);
    }
}

#[pyclass(frozen)]
pub(super) struct ResetHook(pub(super) Capture, pub(super) Sender);

#[pymethods]
impl ResetHook {
    fn __call__(&self) {
        *self.0.0.burst.write().expect("no holder of the lock panics") = Burst::new(self.1.clone());
    }
}

#[pyclass(frozen)]
pub(super) struct AuditHook(pub(super) Capture);

#[pymethods]
impl AuditHook {
    /// Must not raise: that would stop what is being audited.
    fn __call__(&self, py: Python<'_>, event: &str, arguments: &Bound<'_, PyTuple>) {
        if PROCESS_EVENTS.contains(&event) {
            self.0.0.has_spawned.store(true, Ordering::Relaxed);
            self.0.flush_python(py);
        } else if event == "_thread.start_joinable_thread" {
            let _ = follow_thread(&self.0.0.attribution, arguments);
        }
    }
}
