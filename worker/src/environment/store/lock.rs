//! Locks between workers of a machine: `flock`s on files, which end with the processes that hold them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::files::storing;
use crate::environment::InstallError;

/// A held lock; it is released when the last one who has its file drops it.
#[derive(Debug)]
pub(in crate::environment) struct Lock {
    pub(super) file: Arc<File>,
}

/// Takes a lock if it is free.
pub(super) fn take(path: &Path, operation: FlockOperation) -> Result<Option<Lock>, InstallError> {
    loop {
        let opened = File::options().read(true).append(true).create(true).open(path);
        let file = opened.map_err(storing("open", path))?;
        match flock(&file, operation) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(storing("lock", path)(error.into())),
        }
        // Whoever removes an environment removes its lock as well: this may be one that is not there any more.
        let inode = file.metadata().map(|metadata| metadata.ino()).ok();
        if fs::metadata(path).map(|metadata| metadata.ino()).ok() == inode {
            return Ok(Some(Lock { file: Arc::new(file) }));
        }
    }
}
