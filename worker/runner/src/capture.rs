//! Python's standard streams over descriptors 1 and 2, which the supervisor reads.
//!
//! Both descriptors are the same pipe, so what Python, C and subprocesses write arrives in the order it was
//! written. A write of Python's goes straight to the pipe, as on a terminal; only a tight burst of them is
//! gathered, and handed on within [`PROMPT`] by a thread that needs no GIL, or before anything else could
//! write: a fork, a subprocess, the end of the call.

mod burst;

use std::sync::{Arc, RwLock};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::fstat;
use rustix::io::fcntl_dupfd_cloexec;

use crate::channel::LOWEST_PRIVATE_DESCRIPTOR;
use burst::{Burst, Descriptor};

/// Audit events after which something else than Python's streams may write to the descriptors.
const FLUSH_BEFORE: [&str; 5] =
    ["subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "ctypes.call_function"];

/// Both streams' shared state. Replaced in forked children, where the old lock may be held for ever.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    burst: Arc<RwLock<Arc<Burst>>>,
    /// The pipe, out of user code's sight.
    pipe: Arc<OwnedFd>,
}

impl Capture {
    /// Replaces `sys.stdout` and `sys.stderr` and keeps the gathered output in order with everybody else's.
    pub(crate) fn install(py: Python<'_>) -> PyResult<Self> {
        line_buffer_c_stdout();
        let pipe = fcntl_dupfd_cloexec(rustix::stdio::stdout(), LOWEST_PRIVATE_DESCRIPTOR)
            .map_err(std::io::Error::from)?;
        let capture = Self { burst: Arc::new(RwLock::new(Burst::new())), pipe: Arc::new(pipe) };
        for stream in [Stream::STDOUT, Stream::STDERR] {
            capture.replace(py, stream)?;
        }
        let hooks = PyDict::new(py);
        hooks.set_item("before", FlushHook(capture.clone()).into_pyobject(py)?)?;
        hooks.set_item("after_in_child", ResetHook(capture.clone()).into_pyobject(py)?)?;
        py.import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
        py.import("sys")?.call_method1("addaudithook", (AuditHook(capture.clone()).into_pyobject(py)?,))?;
        Ok(capture)
    }

    /// Undoes what earlier user code has done to the streams and their descriptors: closed, replaced, or
    /// redirected, they would swallow what the next call prints.
    pub(crate) fn restore(&self, py: Python<'_>) -> PyResult<()> {
        if !self.is_pipe(rustix::stdio::stdout()) {
            rustix::stdio::dup2_stdout(&self.pipe).map_err(std::io::Error::from)?;
        }
        if !self.is_pipe(rustix::stdio::stderr()) {
            rustix::stdio::dup2_stderr(&self.pipe).map_err(std::io::Error::from)?;
        }
        let sys = py.import("sys")?;
        for stream in [Stream::STDOUT, Stream::STDERR] {
            let is_ours = sys.getattr(stream.name).is_ok_and(|stream| Self::is_ours(&stream));
            if !is_ours {
                self.replace(py, stream)?;
            }
        }
        Ok(())
    }

    /// Whether a stream is one of ours, and was not taken apart by `detach`.
    fn is_ours(stream: &Bound<'_, PyAny>) -> bool {
        stream.getattr("buffer").is_ok_and(|buffer| buffer.is_instance_of::<RawStream>())
    }

    fn is_pipe(&self, descriptor: BorrowedFd<'_>) -> bool {
        match (fstat(descriptor), fstat(&self.pipe)) {
            (Ok(current), Ok(pipe)) => (current.st_dev, current.st_ino) == (pipe.st_dev, pipe.st_ino),
            _ => false,
        }
    }

    /// Hands on everything printed so far, through whatever streams user code has put in place.
    pub(crate) fn flush(&self, py: Python<'_>) {
        if let Ok(sys) = py.import("sys") {
            for stream in [Stream::STDOUT, Stream::STDERR] {
                // A stream of the user's may be closed or broken: then there is nothing to hand on.
                let _ = sys.getattr(stream.name).and_then(|stream| stream.call_method0("flush"));
            }
        }
        let burst = self.burst();
        py.detach(|| {
            burst.flush();
            flush_c_streams();
        });
    }

    fn replace(&self, py: Python<'_>, stream: Stream) -> PyResult<()> {
        let raw = RawStream { capture: self.clone(), descriptor: stream.descriptor, name: stream.bracketed };
        let options = PyDict::new(py);
        options.set_item("encoding", "utf-8")?;
        options.set_item("errors", "backslashreplace")?;
        options.set_item("write_through", true)?;
        let wrapper = py.import("_io")?.getattr("TextIOWrapper")?;
        let text = wrapper.call((raw.into_pyobject(py)?,), Some(&options))?;
        text.setattr("mode", "w")?;
        let sys = py.import("sys")?;
        sys.setattr(stream.name, &text)?;
        sys.setattr(stream.original, &text)
    }

    fn burst(&self) -> Arc<Burst> {
        // The lock is only taken with the GIL held and never across a blocking call.
        Arc::clone(&self.burst.read().expect("no holder of the lock panics"))
    }
}

#[derive(Clone, Copy)]
struct Stream {
    name: &'static str,
    original: &'static str,
    bracketed: &'static str,
    descriptor: Descriptor,
}

impl Stream {
    const STDOUT: Self = Self {
        name: "stdout",
        original: "__stdout__",
        bracketed: "<stdout>",
        descriptor: Descriptor::Stdout,
    };
    const STDERR: Self = Self {
        name: "stderr",
        original: "__stderr__",
        bracketed: "<stderr>",
        descriptor: Descriptor::Stderr,
    };
}

/// The binary layer below `sys.stdout` and `sys.stderr`.
#[pyclass(module = "farcall", frozen)]
struct RawStream {
    capture: Capture,
    descriptor: Descriptor,
    name: &'static str,
}

#[pymethods]
impl RawStream {
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let converted;
        let bytes = if let Ok(bytes) = data.cast::<PyBytes>() {
            bytes
        } else {
            // The buffer protocol is not in the stable ABI of 3.10; `bytes()` takes anything that has it.
            converted =
                py.import("builtins")?.getattr("memoryview")?.call1((data,))?.call_method0("tobytes")?;
            converted.cast::<PyBytes>()?
        };
        let (burst, bytes) = (self.capture.burst(), bytes.as_bytes());
        if !burst.gather(self.descriptor, bytes) {
            py.detach(|| burst.write_through(self.descriptor, bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&self, py: Python<'_>) {
        let burst = self.capture.burst();
        py.detach(|| burst.flush());
    }

    /// Closing a standard stream ends the Python object, never the descriptor.
    fn close(&self, py: Python<'_>) {
        self.flush(py);
    }

    fn fileno(&self) -> i32 {
        self.descriptor.number()
    }

    #[expect(clippy::unused_self, reason = "Python calls it as a method")]
    fn isatty(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "Python calls it as a method")]
    fn readable(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "Python calls it as a method")]
    fn writable(&self) -> bool {
        true
    }

    #[expect(clippy::unused_self, reason = "Python calls it as a method")]
    fn seekable(&self) -> bool {
        false
    }

    #[getter]
    fn closed(&self) -> bool {
        false
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.name
    }

    #[getter]
    fn mode(&self) -> &'static str {
        "wb"
    }

    /// `sys.stdout.buffer.raw`, which some programs write to.
    #[getter]
    fn raw(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
}

#[pyclass(frozen)]
struct FlushHook(Capture);

#[pymethods]
impl FlushHook {
    fn __call__(&self, py: Python<'_>) {
        let burst = self.0.burst();
        py.detach(|| burst.flush());
    }
}

#[pyclass(frozen)]
struct ResetHook(Capture);

#[pymethods]
impl ResetHook {
    fn __call__(&self) {
        *self.0.burst.write().expect("no holder of the lock panics") = Burst::new();
    }
}

#[pyclass(frozen)]
struct AuditHook(Capture);

#[pymethods]
impl AuditHook {
    #[pyo3(signature = (event, _arguments))]
    fn __call__(&self, py: Python<'_>, event: &str, _arguments: &Bound<'_, PyTuple>) {
        if FLUSH_BEFORE.contains(&event) {
            let burst = self.0.burst();
            py.detach(|| burst.flush());
        }
    }
}

/// Makes C's stdout line-buffered: on a pipe it would keep what is printed until 4 KiB have come together,
/// and lose it when the process dies.
fn line_buffer_c_stdout() {
    #[expect(unsafe_code, reason = "libc has no binding for it")]
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
    }
    // SAFETY: C's stdout exists for the life of the process, and nothing has been written to it yet.
    #[expect(unsafe_code, reason = "C's stdio has no safe binding")]
    unsafe {
        libc::setvbuf(stdout, std::ptr::null_mut(), libc::_IOLBF, 64 << 10);
    }
}

fn flush_c_streams() {
    // SAFETY: a null pointer means every open output stream.
    #[expect(unsafe_code, reason = "C's stdio has no safe binding")]
    unsafe {
        libc::fflush(std::ptr::null_mut());
    }
}
