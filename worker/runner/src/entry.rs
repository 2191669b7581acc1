//! From the loaded library to the loop that serves invocations.

use std::ffi::{c_char, c_int};
use std::path::Path;

use farcall_protocol::frame::{FromRunner, Ready, Role, Setup, ToRunner};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use rustix::fd::AsFd;

use crate::capture::Capture;
use crate::channel::{Channel, Frame};
use crate::invocation::Executor;
use crate::template::{Forked, fork};
use crate::{disk, evidence, progress, python, shared, template};

/// Starts CPython with the given command line and `_farcall_runner` as a built-in module, and returns its
/// exit code. Called once, by `farcall runner`, after libpython was loaded globally.
///
/// # Safety
/// `argv` holds `argc` NUL-terminated strings that live as long as the call.
#[expect(unsafe_code, reason = "the entry point is looked up by name and called with C types")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_runner_main(argc: c_int, argv: *mut *mut c_char) -> c_int {
    pyo3::append_to_inittab!(_farcall_runner);
    // SAFETY: the interpreter is not initialised yet, and the caller vouches for `argv`.
    unsafe { pyo3::ffi::Py_BytesMain(argc, argv) }
}

/// The module both ways of starting go through.
#[pymodule]
mod _farcall_runner {
    #[pymodule_export]
    use super::main;
}

/// Serves the supervisor on standard input until it closes the channel.
#[pyfunction]
fn main(py: Python<'_>) -> PyResult<()> {
    farcall_heap::keep_freed();
    let mut channel = Channel::take_standard_input()?;
    make_interruptible(py)?;
    py.import("sys")?.setattr("argv", PyList::new(py, ["farcall"])?)?;
    let capture = Capture::install(py, channel.sender())?;
    let Some(mut setup) = receive_setup(py, &mut channel, &capture)? else { return Ok(()) };
    if setup.role == Role::Template {
        let served = serve_as_template(py, &mut channel, &capture);
        if !matches!(served, Ok(true)) {
            remove_if_orphaned(&channel, Path::new(&setup.scratch));
            return served.map(drop);
        }
        let Some(of_runner) = receive_setup(py, &mut channel, &capture)? else { return Ok(()) };
        setup = of_runner;
    }
    let scratch = Path::new(&setup.scratch);
    channel.watch_for_orphanhood(scratch)?;
    evidence::prepare(py, scratch)?;
    use_temporary_directory(py, scratch)?;
    progress::install(py, capture.clone(), channel.sender())?;
    let executor = Executor::new(scratch, setup.max_instances, capture, channel.sender());
    // The supervisor may have been killed while this process started.
    send_ready(py, &channel).inspect_err(|_| remove_if_orphaned(&channel, scratch))?;
    match setup.role {
        Role::Shared => shared::serve(py, channel, executor),
        Role::Exclusive | Role::Template => {
            let served = serve(py, &mut channel, executor);
            remove_if_orphaned(&channel, scratch);
            served
        }
    }
}

/// Removes the scratch directory where the supervisor cannot any more: it was killed.
fn remove_if_orphaned(channel: &Channel, scratch: &Path) {
    if channel.is_orphaned() {
        let _ = std::fs::remove_dir_all(scratch);
    }
}

/// One invocation after another.
fn serve(py: Python<'_>, channel: &mut Channel, mut executor: Executor) -> PyResult<()> {
    while let Some(Frame { message, body, descriptors }) = channel.receive(py)? {
        let invoke = match message {
            ToRunner::Invoke(invoke) => invoke,
            ToRunner::Enter(environment) => {
                python::enter(py, &environment)?;
                continue;
            }
            ToRunner::UseGpus { names } => {
                python::set_variable(py, "CUDA_VISIBLE_DEVICES", &names)?;
                continue;
            }
            _ => continue,
        };
        if let Some(output) = descriptors.first() {
            executor.use_output(output.as_fd())?;
        }
        let (done, result) = executor.invoke(py, &invoke, &body);
        py.detach(|| channel.sender().send(&FromRunner::Done(done), &result))?;
    }
    Ok(())
}

/// Forks runners until the channel closes. Returns `true` in each of them, with its own channel in place.
fn serve_as_template(py: Python<'_>, channel: &mut Channel, capture: &Capture) -> PyResult<bool> {
    template::prepare(py)?;
    send_ready(py, channel)?;
    while let Some(Frame { message, descriptors, .. }) = channel.receive(py)? {
        let ToRunner::Fork { asynchronous } = message else { continue };
        if asynchronous {
            template::prepare_asynchronous(py)?;
        }
        if matches!(fork(py, channel, capture, descriptors)?, Forked::Child) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The setup of this process, or of the one it forks; `None` where the supervisor has gone.
fn receive_setup(py: Python<'_>, channel: &mut Channel, capture: &Capture) -> PyResult<Option<Setup>> {
    loop {
        let Some(Frame { message, descriptors, .. }) = channel.receive(py)? else { return Ok(None) };
        let ToRunner::Setup(setup) = message else {
            return Err(PyRuntimeError::new_err("the supervisor did not begin with a setup frame"));
        };
        if descriptors.is_empty() || matches!(fork(py, channel, capture, descriptors)?, Forked::Parent) {
            return Ok(Some(setup));
        }
    }
}

fn send_ready(py: Python<'_>, channel: &Channel) -> PyResult<()> {
    let info = py.version_info();
    let python_version = format!("{}.{}.{}", info.major, info.minor, info.patch);
    Ok(channel.sender().send(&FromRunner::Ready(Ready { python_version }), &[])?)
}

/// Installs Python's SIGINT handler explicitly: an interpreter started where SIGINT is ignored would stay
/// deaf to it, and an interrupt is how a call is cancelled.
fn make_interruptible(py: Python<'_>) -> PyResult<()> {
    let signal = py.import("_signal")?;
    signal.call_method1("signal", (signal.getattr("SIGINT")?, signal.getattr("default_int_handler")?))?;
    Ok(())
}

/// Temporary files of user code go with the runner, and so do processes that know of its directory.
fn use_temporary_directory(py: Python<'_>, scratch: &Path) -> PyResult<()> {
    let directory = scratch.join("tmp");
    disk::make_directory(&directory)?;
    // As text: a `Path` would become a pathlib object, and import a dozen modules for it.
    python::set_variable(py, "FARCALL_RUNNER", &scratch.to_string_lossy())?;
    python::set_variable(py, "TMPDIR", &directory.to_string_lossy())
}
