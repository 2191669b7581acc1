//! A template: a process that has done its imports and waits, single-threaded, to be forked.
//!
//! It is itself forked from the first runner, before that has done anything: the two share what an interpreter
//! is made of.
//!
//! A forked runner is ready in a tenth of the time a new interpreter takes, and shares the template's memory.
//! It is forked twice: the process between ends at once, so that the supervisor adopts the runner and sees its
//! end itself, and the template keeps no children.

use std::{fs, io};

use farcall_protocol::frame::FromRunner;
use pyo3::prelude::*;
use pyo3::types::PySlice;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::capture::Capture;
use crate::channel::Channel;

/// What most calls import sooner or later. Nothing here starts a thread.
const IMPORTS: [&str; 7] =
    ["pickle", "json", "inspect", "traceback", "threading", "logging", "concurrent.futures.thread"];

/// What asynchronous calls import. With OpenSSL, which comes with it, it is as much memory as all the others.
const ASYNCHRONOUS_IMPORTS: [&str; 1] = ["asyncio"];

/// Imports what any call may need.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    crate::python::helpers(py)?;
    // Not part of Python: without it, results that need it fail with a text that says so.
    import(py, &IMPORTS, &["cloudpickle"])
}

/// Imports what asynchronous calls need, too, unless that was done before.
pub(crate) fn prepare_asynchronous(py: Python<'_>) -> PyResult<()> {
    let loaded = py.import("sys")?.getattr("modules")?;
    if loaded.contains(ASYNCHRONOUS_IMPORTS[0])? { Ok(()) } else { import(py, &ASYNCHRONOUS_IMPORTS, &[]) }
}

/// Imports, and moves everything that exists out of the garbage collector's sight: a collection in a forked
/// runner would otherwise copy every page it looks at.
fn import(py: Python<'_>, modules: &[&str], optional: &[&str]) -> PyResult<()> {
    // Not from the working directory: a `queue.py` there would take the place of Python's.
    let path = py.import("sys")?.getattr("path")?;
    let whole = path.call_method0("copy")?;
    while path.contains("")? {
        path.call_method1("remove", ("",))?;
    }
    for module in modules {
        py.import(*module)?;
    }
    for module in optional {
        let _ = py.import(*module);
    }
    path.set_item(PySlice::full(py), whole)?;
    let gc = py.import("gc")?;
    gc.call_method0("collect")?;
    gc.call_method0("freeze")?;
    Ok(())
}

/// Which of the two processes this is after [`fork`].
pub(crate) enum Forked {
    /// The one that was there.
    Parent,
    /// The new one, which has a channel of its own now.
    Child,
}

/// Forks a process with the channel and the output pipe that came with the request.
pub(crate) fn fork(
    py: Python<'_>,
    channel: &mut Channel,
    capture: &Capture,
    descriptors: Vec<OwnedFd>,
) -> PyResult<Forked> {
    let refuse = |channel: &Channel| {
        channel.sender().send(&FromRunner::Forked { pid: None }, &[])?;
        Ok(Forked::Parent)
    };
    let Ok([socket, output]) = <[OwnedFd; 2]>::try_from(descriptors) else { return refuse(channel) };
    if !is_single_threaded() {
        return refuse(channel);
    }
    match fork_twice()? {
        Fork::Child => {
            channel.replace(socket.as_fd())?;
            rustix::process::setpgid(None, None).map_err(io::Error::from)?;
            capture.use_pipe(output.as_fd())?;
            Ok(Forked::Child)
        }
        Fork::Parent(pid) => {
            let pid = pid.map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
            capture.forget_processes(); // the new one has an output of its own
            py.detach(|| channel.sender().send(&FromRunner::Forked { pid }, &[]))?;
            Ok(Forked::Parent)
        }
    }
}

/// A forked process has the forking thread only: locks that other threads hold would stay locked in it.
fn is_single_threaded() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// The two processes after forking.
enum Fork {
    /// The new one.
    Child,
    /// This one, with the new one's process id if it could be made.
    Parent(Option<Pid>),
}

#[expect(unsafe_code, reason = "fork has no safe binding")]
fn fork_twice() -> io::Result<Fork> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: the GIL is held; the three `PyOS_` calls are what CPython's own `os.fork` does around it.
    unsafe { pyo3::ffi::PyOS_BeforeFork() };
    // SAFETY: this process is single-threaded, so the child may do anything.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above; this process runs no Python code.
        let grandchild = unsafe { libc::fork() };
        if grandchild == 0 {
            // SAFETY: this is the forked process, on the thread that forked.
            unsafe { pyo3::ffi::PyOS_AfterFork_Child() };
            return Ok(Fork::Child);
        }
        let _ = rustix::io::write(&writer, &grandchild.to_le_bytes());
        // SAFETY: ends this process without running exit handlers, which belong to the template.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: the counterpart of `PyOS_BeforeFork` in the forking process.
    unsafe { pyo3::ffi::PyOS_AfterFork_Parent() };
    drop(writer);
    let mut grandchild = [0; 4];
    let read = rustix::io::read(&reader, &mut grandchild).unwrap_or(0);
    if let Some(child) = Pid::from_raw(child) {
        while waitpid(Some(child), WaitOptions::empty()).is_err_and(|error| error == Errno::INTR) {}
    }
    // A failed fork wrote -1, or nothing.
    Ok(Fork::Parent(Pid::from_raw(i32::from_le_bytes(grandchild).max(0)).filter(|_| read == 4)))
}
