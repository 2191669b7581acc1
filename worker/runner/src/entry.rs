//! From the loaded library to the loop that serves invocations.

use std::ffi::{c_char, c_int};
use std::path::Path;

use farcall_protocol::frame::{FromRunner, Ready, Setup, ToRunner};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::capture::Capture;
use crate::channel::Channel;
use crate::invocation::Executor;

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
    let mut channel = Channel::take_standard_input()?;
    channel.watch_for_orphanhood()?;
    make_interruptible(py)?;
    py.import("sys")?.setattr("argv", PyList::new(py, ["farcall"])?)?;
    let capture = Capture::install(py)?;
    let Some((ToRunner::Setup(setup), _)) = channel.receive(py)? else {
        return Err(PyRuntimeError::new_err("the supervisor did not begin with a setup frame"));
    };
    let Setup { scratch, max_instances } = setup;
    let mut executor = Executor::new(Path::new(&scratch), max_instances, capture);
    channel.send(py, &FromRunner::Ready(Ready { python_version: version(py)? }), &[])?;
    while let Some((message, body)) = channel.receive(py)? {
        match message {
            ToRunner::Invoke(invoke) => {
                let (done, result) = executor.invoke(py, &invoke, &body);
                channel.send(py, &FromRunner::Done(done), &result)?;
            }
            ToRunner::Setup(_) => return Err(PyRuntimeError::new_err("a runner is set up only once")),
        }
    }
    Ok(())
}

/// Installs Python's SIGINT handler explicitly: an interpreter started where SIGINT is ignored would stay
/// deaf to it, and an interrupt is how a call is cancelled.
fn make_interruptible(py: Python<'_>) -> PyResult<()> {
    let signal = py.import("_signal")?;
    signal.call_method1("signal", (signal.getattr("SIGINT")?, signal.getattr("default_int_handler")?))?;
    Ok(())
}

fn version(py: Python<'_>) -> PyResult<String> {
    let info = py.import("sys")?.getattr("version_info")?;
    let part = |name: &str| info.getattr(name)?.extract::<u8>();
    Ok(format!("{}.{}.{}", part("major")?, part("minor")?, part("micro")?))
}
