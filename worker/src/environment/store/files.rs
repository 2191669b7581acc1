//! Directories: what is in them, what they take, and removing them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::environment::InstallError;

/// The names in a directory; none if it is not there.
pub(super) fn names_in(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Removes a directory with all that is in it, if it is there.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Disk space below a directory, in bytes. Links are not followed.
pub(in crate::environment) fn disk_space(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        let below = if metadata.is_dir() { disk_space(&entry.path()) } else { 0 };
        Some(below + metadata.blocks() * 512)
    });
    sizes.sum()
}

/// What could not be done with which file.
pub(in crate::environment) fn storing(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Store { doing, path, source }
}
