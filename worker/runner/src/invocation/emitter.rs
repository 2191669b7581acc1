//! Sends what a generator yields, one frame an item.

use std::sync::Mutex;

use farcall_protocol::SerializationFormat;
use farcall_protocol::frame::{Chunk, FromRunner, Invoke};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use crate::capture::Capture;
use crate::channel::Sender;
use crate::failure::NotSent;
use crate::payload;

/// The chunks of one invocation.
#[derive(Debug)]
pub(crate) struct Emitter {
    sender: Sender,
    capture: Capture,
    format: SerializationFormat,
    limit: u64,
    id: u64,
    next: u64,
}

impl Emitter {
    pub(super) fn new(
        sender: Sender,
        capture: Capture,
        format: SerializationFormat,
        invoke: &Invoke,
    ) -> Self {
        Self { sender, capture, format, limit: invoke.max_result_bytes, id: invoke.id, next: 0 }
    }

    /// Sends an item, after everything printed before it. Waits while the supervisor does not take it.
    pub(super) fn emit(&mut self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let encoded = payload::encode(item, &self.format, self.limit);
        let (encoding, body) = encoded.map_err(|failure| NotSent::new_err(failure.error))?;
        let py = item.py();
        self.capture.flush_python(py);
        let chunk = FromRunner::Chunk(Chunk { id: self.id, index: self.next, encoding });
        self.next += 1;
        py.detach(|| self.sender.send(&chunk, &body))?;
        Ok(())
    }

    /// The emitter as a Python function of one argument.
    pub(crate) fn into_function(self, py: Python<'_>) -> PyResult<Bound<'_, PyCFunction>> {
        let emitter = Mutex::new(self);
        let emit = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            // One task calls it; the lock is never waited for.
            emitter.lock().expect("emit does not panic").emit(&arguments.get_item(0)?)
        };
        PyCFunction::new_closure(py, None, None, emit)
    }
}
