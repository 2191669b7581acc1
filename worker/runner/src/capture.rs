//! Python's standard streams over descriptors 1 and 2, which the supervisor reads.
//!
//! Both descriptors are the same pipe, so what Python, C and subprocesses write arrives in the order it was
//! written. A line of Python's goes straight to the pipe, as on a terminal; only a tight burst of them is
//! gathered, and handed on within 2 ms by a thread that needs no GIL, or before anything else could write: a
//! fork, a subprocess, the end of the call.
//!
//! What Python code prints while it does not have the pipe to itself (it shares its runner, or it runs on
//! after its answer) goes over the channel instead, labelled with its invocation: see [`attribution`].

mod attribution;
mod burst;
mod hooks;
mod stream;
mod text;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::fstat;

use crate::channel::{Sender, out_of_the_way};
use crate::python::SYS;
use attribution::{Attribution, ThreadStart};
use burst::{Burst, Target};
use hooks::{AuditHook, FlushHook, ResetHook};
use stream::{RawStream, Stream};
use text::TextWriter;

/// Set by C's `fork` in this process, whoever calls it.
static HAS_FORKED: AtomicBool = AtomicBool::new(false);

/// The output of this process. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Capture(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Replaced in forked children, where the old one's lock may be held for ever. The outer lock is only
    /// taken with the GIL held and never across a blocking call.
    burst: RwLock<Arc<Burst>>,
    attribution: Attribution,
    /// The invocation that has the pipe to itself; 0 when there is none.
    owner: AtomicU64,
    has_spawned: AtomicBool,
    /// The pipe, out of user code's sight.
    pipe: Mutex<OwnedFd>,
}

impl Capture {
    /// Replaces `sys.stdout` and `sys.stderr` and keeps the gathered output in order with everybody else's.
    pub(crate) fn install(py: Python<'_>, sender: Sender) -> PyResult<Self> {
        line_buffer_c_stdout();
        watch_c_forks();
        let capture = Self(Arc::new(Shared {
            burst: RwLock::new(Burst::new(sender.clone())),
            attribution: Attribution::new(py)?,
            owner: AtomicU64::new(0),
            has_spawned: AtomicBool::new(false),
            pipe: Mutex::new(out_of_the_way(rustix::stdio::stdout())?),
        }));
        for stream in Stream::BOTH {
            capture.replace(py, stream)?;
        }
        ThreadStart::install(py, &capture.0.attribution)?;
        let hooks = PyDict::new(py);
        hooks.set_item("before", FlushHook(capture.clone()).into_pyobject(py)?)?;
        hooks.set_item("after_in_child", ResetHook(capture.clone(), sender).into_pyobject(py)?)?;
        py.import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
        SYS.get(py)?.call_method1("addaudithook", (AuditHook(capture.clone()).into_pyobject(py)?,))?;
        Ok(capture)
    }

    /// An invocation begins on this thread, with the pipe to itself if it is `exclusive`.
    pub(crate) fn begin(&self, py: Python<'_>, id: u64, exclusive: bool) -> PyResult<()> {
        self.0.attribution.enter(py, id)?;
        self.0.owner.store(if exclusive { id } else { 0 }, Ordering::Relaxed);
        self.restore(py)
    }

    /// For a runner whose invocations print side by side: without it, half a line of one would wait for the end
    /// of another's.
    pub(crate) fn share(py: Python<'_>) -> PyResult<()> {
        let options = PyDict::new(py);
        options.set_item("write_through", true)?;
        options.set_item("line_buffering", false)?;
        let sys = SYS.get(py)?;
        for stream in Stream::BOTH {
            sys.getattr(stream.name)?.call_method("reconfigure", (), Some(&options))?;
        }
        Ok(())
    }

    /// The invocation that had the pipe to itself is over: what its threads still print is not the next one's.
    pub(crate) fn end(&self, py: Python<'_>) {
        self.0.owner.store(0, Ordering::Relaxed);
        self.flush_burst(py); // what they have gathered until now
    }

    /// The invocation that the calling code runs for.
    pub(crate) fn invocation(&self, py: Python<'_>) -> Option<u64> {
        self.0.attribution.current(py)
    }

    /// Hands on everything printed so far, through whatever streams user code has put in place.
    pub(crate) fn flush(&self, py: Python<'_>) {
        self.flush_python(py);
        py.detach(flush_c_streams);
    }

    /// Hands on what Python has printed.
    pub(crate) fn flush_python(&self, py: Python<'_>) {
        if let Ok(sys) = SYS.get(py) {
            for stream in Stream::BOTH {
                // A stream of the user's may be closed or broken: then there is nothing to hand on.
                let _ = sys.getattr(stream.name).and_then(|stream| stream.call_method0("flush"));
            }
        }
        self.flush_burst(py);
    }

    /// Whether processes were started that may hold the output pipe.
    pub(crate) fn has_spawned(&self) -> bool {
        self.0.has_spawned.load(Ordering::Relaxed) || HAS_FORKED.load(Ordering::Relaxed)
    }

    /// Goes on with a new output pipe, which nothing started so far can write to.
    pub(crate) fn use_pipe(&self, pipe: BorrowedFd<'_>) -> io::Result<()> {
        let mut current = self.pipe();
        *current = out_of_the_way(pipe)?;
        rustix::stdio::dup2_stdout(&*current)?;
        rustix::stdio::dup2_stderr(&*current)?;
        self.forget_processes();
        Ok(())
    }

    /// Of what was started so far, nothing holds the output pipe.
    pub(crate) fn forget_processes(&self) {
        self.0.has_spawned.store(false, Ordering::Relaxed);
        HAS_FORKED.store(false, Ordering::Relaxed);
    }

    /// Undoes what earlier user code has done to the streams and their descriptors: closed, replaced, or
    /// redirected, they would swallow what the next call prints.
    fn restore(&self, py: Python<'_>) -> PyResult<()> {
        let pipe = self.pipe();
        if !is_same_file(rustix::stdio::stdout(), pipe.as_fd()) {
            rustix::stdio::dup2_stdout(&*pipe).map_err(io::Error::from)?;
        }
        if !is_same_file(rustix::stdio::stderr(), pipe.as_fd()) {
            rustix::stdio::dup2_stderr(&*pipe).map_err(io::Error::from)?;
        }
        drop(pipe);
        let sys = SYS.get(py)?;
        for stream in Stream::BOTH {
            if !sys.getattr(stream.name).is_ok_and(|stream| is_ours(&stream)) {
                self.replace(py, stream)?;
            }
        }
        Ok(())
    }

    fn pipe(&self) -> MutexGuard<'_, OwnedFd> {
        self.0.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, py: Python<'_>, stream: Stream) -> PyResult<()> {
        let raw = RawStream::new(self.clone(), stream).into_pyobject(py)?;
        let options = PyDict::new(py);
        options.set_item("encoding", "utf-8")?;
        options.set_item("errors", "backslashreplace")?;
        options.set_item("line_buffering", true)?;
        let wrapper = py.import("_io")?.getattr("TextIOWrapper")?;
        let text = wrapper.call((raw,), Some(&options))?;
        text.setattr("mode", "w")?;
        TextWriter::install(&text, self.clone(), stream.descriptor)?;
        let sys = SYS.get(py)?;
        sys.setattr(stream.name, &text)?;
        sys.setattr(stream.original, &text)
    }

    /// Takes what Python printed to `descriptor`.
    fn write(&self, py: Python<'_>, descriptor: i32, bytes: &[u8]) {
        let owner = self.0.owner.load(Ordering::Relaxed);
        // Threads that nobody knows print for whoever has the pipe.
        let target = match self.0.attribution.current(py) {
            Some(id) if id != owner => Target::Invocation(id),
            _ => Target::Descriptor(descriptor),
        };
        let burst = self.burst();
        if !burst.gather(target, bytes) {
            py.detach(|| burst.write_through(target, bytes));
        }
    }

    fn flush_burst(&self, py: Python<'_>) {
        let burst = self.burst();
        py.detach(|| burst.flush());
    }

    fn burst(&self) -> Arc<Burst> {
        Arc::clone(&self.0.burst.read().expect("no holder of the lock panics"))
    }
}

/// Whether a stream is one of ours, and was not taken apart by `detach`.
fn is_ours(stream: &Bound<'_, PyAny>) -> bool {
    stream.getattr("buffer").is_ok_and(|buffer| buffer.is_instance_of::<RawStream>())
}

fn is_same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
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

fn watch_c_forks() {
    extern "C" fn note() {
        HAS_FORKED.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler only stores to an atomic, which is safe at any time in any thread.
    #[expect(unsafe_code, reason = "libraries fork without Python's knowledge")]
    unsafe {
        libc::pthread_atfork(Some(note), None, None);
    }
}

fn flush_c_streams() {
    // SAFETY: a null pointer means every open output stream.
    #[expect(unsafe_code, reason = "C's stdio has no safe binding")]
    unsafe {
        libc::fflush(std::ptr::null_mut());
    }
}
