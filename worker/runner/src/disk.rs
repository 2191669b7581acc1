//! Files and directories of the runner's own, with errors that name them.

use std::path::Path;
use std::{fs, io};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Writes a file whole, or leaves none: half of one would keep a full disk full.
pub(crate) fn write(file: &Path, content: impl AsRef<[u8]>) -> PyResult<()> {
    let written = fs::write(file, content).inspect_err(|_| drop(fs::remove_file(file)));
    written.map_err(|error| cannot_write(file, &error))
}

/// Makes a directory, and those it lies in.
pub(crate) fn make_directory(directory: &Path) -> PyResult<()> {
    fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> PyErr {
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let hint = if is_full {
        "\nhint: its disk is full: free space there, or start the worker with TMPDIR on another one"
    } else {
        ""
    };
    PyOSError::new_err(format!("cannot write `{}`: {error}{hint}", path.display()))
}
