//! What a runner leaves behind for the case that it dies: the Python stacks of its threads.
//!
//! `faulthandler` writes them into a file of the scratch directory on a fatal signal, and whenever the
//! supervisor asks for them by [`DUMP`]; in neither case does it need the GIL.

use std::path::Path;

use farcall_protocol::frame::STACKS_FILE;
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;
use rustix::fd::{AsFd, IntoRawFd};
use rustix::fs::{Mode, OFlags};

use crate::channel::out_of_the_way;

/// The signal that asks for the stacks. Linux defines it and nothing sends it.
const DUMP: i32 = libc::SIGSTKFLT;

/// Opens the file and arms `faulthandler`. The file stays open for the life of the process.
pub(crate) fn prepare(py: Python<'_>, scratch: &Path) -> PyResult<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    let file = rustix::fs::open(scratch.join(STACKS_FILE), flags, Mode::RUSR | Mode::WUSR);
    let file = file.map_err(std::io::Error::from)?;
    let file = out_of_the_way(file.as_fd())?.into_raw_fd();
    // `faulthandler` leaves the end to whatever was there before it. Rust's handlers, which look for stack overflows,
    // would return for the instruction to fail once more: a signal that a process has sent would be survived.
    let signal = py.import("_signal")?;
    for fatal in [libc::SIGSEGV, libc::SIGBUS] {
        signal.call_method1("signal", (fatal, libc::SIG_DFL))?;
    }
    let faulthandler = py.import("faulthandler")?;
    let options = [("all_threads", true)].into_py_dict(py)?;
    options.set_item("file", file)?;
    faulthandler.call_method("enable", (), Some(&options))?;
    faulthandler.call_method("register", (DUMP,), Some(&options))?;
    Ok(())
}
