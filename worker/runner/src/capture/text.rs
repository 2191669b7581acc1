//! The short way of printed text: from `write` of a standard stream to the pipe.
//!
//! `sys.stdout` is a `TextIOWrapper`, as user code expects, but `print` finds this `write` on it instead of
//! the class's. That saves encoding each line to an object of its own and two calls to hand it on, half the
//! time of printing it. Whatever is not plain text to be written in UTF-8 goes the class's way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::memchr2;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::Capture;

/// Text without a line's end that is kept waiting for it: as much as `TextIOWrapper` keeps. In bytes.
const LONGEST_PENDING: usize = 8192;

/// Writes the text of one stream.
#[pyclass(frozen)]
pub(super) struct TextWriter {
    capture: Capture,
    descriptor: i32,
    /// The stream, and its class's own methods.
    text: Py<PyAny>,
    write_text: Py<PyAny>,
    flush_text: Py<PyAny>,
    reconfigure_text: Py<PyAny>,
    /// The beginning of a line. Locked only with the GIL held, and not while it is written.
    pending: Mutex<Vec<u8>>,
}

impl TextWriter {
    /// Puts a writer, a flush and a `reconfigure` on a stream.
    pub(super) fn install(text: &Bound<'_, PyAny>, capture: Capture, descriptor: i32) -> PyResult<()> {
        let class = text.get_type();
        let writer = Self {
            capture,
            descriptor,
            text: text.clone().unbind(),
            write_text: class.getattr("write")?.unbind(),
            flush_text: class.getattr("flush")?.unbind(),
            reconfigure_text: class.getattr("reconfigure")?.unbind(),
            pending: Mutex::default(),
        };
        let writer = Bound::new(text.py(), writer)?;
        for method in ["write", "flush", "reconfigure"] {
            text.setattr(method, writer.getattr(method)?)?;
        }
        Ok(())
    }

    fn pending(&self) -> MutexGuard<'_, Vec<u8>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on what waits for a line's end.
    fn write_pending(&self, py: Python<'_>) {
        let mut line = std::mem::take(&mut *self.pending());
        if !line.is_empty() {
            self.capture.write(py, self.descriptor, &line);
            line.clear();
        }
        let mut pending = self.pending();
        if pending.capacity() == 0 {
            *pending = line; // its memory serves for the next line
        }
    }

    /// The class's way: for what is no text, or none that UTF-8 has.
    fn write_as_class(&self, text: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = text.py();
        self.write_pending(py);
        let written = self.write_text.call1(py, (&self.text, text))?;
        self.flush_text.call1(py, (&self.text,))?;
        written.extract(py)
    }
}

#[pymethods]
impl TextWriter {
    fn write(&self, text: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = text.py();
        let Ok(string) = text.cast::<PyString>() else { return self.write_as_class(text) };
        let Ok(characters) = string.to_str() else { return self.write_as_class(text) };
        let bytes = characters.as_bytes();
        let ends = memchr2(b'\n', b'\r', bytes).is_some();
        let mut pending = self.pending();
        if ends && pending.is_empty() {
            drop(pending);
            self.capture.write(py, self.descriptor, bytes);
        } else {
            pending.extend_from_slice(bytes);
            let is_due = ends || pending.len() > LONGEST_PENDING;
            drop(pending);
            if is_due {
                self.write_pending(py);
            }
        }
        string.len()
    }

    /// Called by somebody who means it: it ends a burst.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.write_pending(py);
        self.flush_text.call1(py, (&self.text,))?;
        self.capture.flush_burst(py);
        Ok(())
    }

    /// Another encoding, or other line ends: from here on the class writes.
    #[pyo3(signature = (*arguments, **options))]
    fn reconfigure(
        &self,
        py: Python<'_>,
        arguments: &Bound<'_, PyTuple>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        self.write_pending(py);
        let text = self.text.bind(py);
        let all = PyTuple::new(py, [text])?.as_sequence().concat(arguments.as_sequence())?;
        self.reconfigure_text.call(py, all.to_tuple()?, options)?;
        let own = text.getattr("__dict__")?;
        own.call_method1("pop", ("write", py.None()))?;
        Ok(())
    }
}
