//! The binary layer below `sys.stdout` and `sys.stderr`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::Capture;

/// One of the two standard streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    /// Its name in `sys`.
    pub(super) name: &'static str,
    /// The name of the original in `sys`.
    pub(super) original: &'static str,
    bracketed: &'static str,
    pub(super) descriptor: i32,
}

impl Stream {
    pub(super) const BOTH: [Self; 2] = [
        Self { name: "stdout", original: "__stdout__", bracketed: "<stdout>", descriptor: 1 },
        Self { name: "stderr", original: "__stderr__", bracketed: "<stderr>", descriptor: 2 },
    ];
}

#[pyclass(module = "farcall", frozen)]
pub(super) struct RawStream {
    capture: Capture,
    stream: Stream,
}

impl RawStream {
    pub(super) fn new(capture: Capture, stream: Stream) -> Self {
        Self { capture, stream }
    }
}

#[pymethods]
impl RawStream {
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let converted;
        let bytes = if let Ok(bytes) = data.cast::<PyBytes>() {
            bytes
        } else {
            // The buffer protocol is not in the stable ABI of 3.10; a memoryview takes anything that has it.
            let view = py.import("builtins")?.getattr("memoryview")?.call1((data,))?;
            converted = view.call_method0("tobytes")?;
            converted.cast::<PyBytes>()?
        };
        self.capture.write(py, self.stream.descriptor, bytes.as_bytes());
        Ok(bytes.as_bytes().len())
    }

    /// Python calls this after every line. What a burst has gathered is on its way within 2 ms without it.
    #[staticmethod]
    fn flush() {}

    /// Closing a standard stream ends the Python object, never the descriptor.
    fn close(&self, py: Python<'_>) {
        self.capture.flush_burst(py);
    }

    fn fileno(&self) -> i32 {
        self.stream.descriptor
    }

    #[getter(name)]
    fn bracketed_name(&self) -> &'static str {
        self.stream.bracketed
    }

    #[staticmethod]
    fn isatty() -> bool {
        false
    }

    #[staticmethod]
    fn readable() -> bool {
        false
    }

    #[staticmethod]
    fn writable() -> bool {
        true
    }

    #[staticmethod]
    fn seekable() -> bool {
        false
    }

    #[classattr]
    fn closed() -> bool {
        false
    }

    #[classattr]
    fn mode() -> &'static str {
        "wb"
    }

    /// `sys.stdout.buffer.raw`, which some programs write to.
    #[getter]
    fn raw(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
}
