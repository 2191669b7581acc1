//! Places to build environments in.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::files::{remove, storing};
use super::lock::{Lock, take};
use crate::environment::InstallError;

/// Environments of one interpreter that can be built at a time, by all workers of a machine.
const SLOTS: usize = 64;

/// A place to build an environment in, which no other process uses. What is left in it goes with this.
#[derive(Debug)]
pub(in crate::environment) struct Slot {
    /// An empty directory.
    pub(in crate::environment) directory: PathBuf,
    lock: Lock,
}

impl Slot {
    /// A place to build in. `interpreter` names it: uv remembers by its path what Python is there.
    pub(super) fn find(building: &Path, interpreter: &str) -> Result<Self, InstallError> {
        for number in 0..SLOTS {
            let name = format!("{interpreter}-{number}");
            fs::create_dir_all(building).map_err(storing("make", building))?;
            let path = building.join(format!("{name}.lock"));
            let Some(lock) = take(&path, FlockOperation::NonBlockingLockExclusive)? else { continue };
            let directory = building.join(name);
            let slot = Self { directory, lock };
            slot.clear()?;
            return Ok(slot);
        }
        let source = io::Error::new(io::ErrorKind::ResourceBusy, "all places to build in are taken");
        Err(InstallError::Store { doing: "build in", path: building.to_owned(), source })
    }

    /// For programs that write to it: should this process be killed, the place is theirs until they have ended.
    pub(in crate::environment) fn lock_file(&self) -> Arc<File> {
        Arc::clone(&self.lock.file)
    }

    /// Removes what is in it.
    pub(in crate::environment) fn clear(&self) -> Result<(), InstallError> {
        remove(&self.directory).map_err(storing("clear", &self.directory))?;
        fs::create_dir(&self.directory).map_err(storing("make", &self.directory))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let _ = remove(&self.directory);
    }
}
