//! The directory that environments are kept in.
//!
//! ```text
//! environments/<key>/            an environment: complete, never changed, as it was renamed into place
//! environments/<key>.lock        exclusive: it is built or removed; shared: it is in use
//! environments/.building/<slot>  where one is built; what a killed worker left is overwritten
//! ```
//!
//! Locks are `flock`s: they end with the process that holds them, however it ends.

mod files;
mod lock;
mod slot;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::{Environment, InstallError};
pub(super) use files::{disk_space, storing};
use files::{names_in, remove};
pub(super) use lock::Lock;
use lock::take;
pub(super) use slot::Slot;

/// The file in an environment that says what it is. It is written last.
const RECORD: &str = "farcall.json";

/// Pause between two looks at a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What an environment is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The requirements it was built for.
    pub requirements: Vec<String>,
    /// What it holds, as `name==version`.
    pub installed: Vec<String>,
    /// Packages of the interpreter's own that it hides behind other versions of them, as `name==version`.
    pub shadowed: Vec<String>,
    /// The interpreter's version.
    pub python: String,
    /// The interpreter.
    pub executable: PathBuf,
    /// Where its packages are, relative to its directory.
    pub site_packages: PathBuf,
    /// How long it took to build, in seconds.
    pub build_s: f64,
    /// Disk space it takes, in bytes: files that uv's cache shares with it are counted.
    pub bytes: u64,
}

/// A kept environment, for listing.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its key.
    pub key: String,
    /// What it is.
    pub record: Record,
    /// When it was last entered.
    pub used: SystemTime,
    /// Whether a worker has it in use.
    pub in_use: bool,
}

/// The environments of this machine.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

/// What there is under a key.
#[derive(Debug)]
pub(super) enum Entry {
    /// An environment, for which this process may have waited until another one had built it.
    Environment { environment: Arc<Environment>, waited: bool },
    /// Nothing: the lock is for building it.
    Vacant(Lock),
}

impl Store {
    /// The environments below a cache directory, which need not exist yet.
    pub fn new(cache_directory: &Path) -> Self {
        Self { directory: cache_directory.join("environments") }
    }

    /// The environment of `key`, held so that it is not removed. `None` if it has not been built.
    pub(super) fn open(&self, key: &str) -> Result<Option<Environment>, InstallError> {
        let path = self.directory.join(key);
        if !path.join(RECORD).exists() {
            return Ok(None);
        }
        let lock = self.take_lock(key, FlockOperation::NonBlockingLockShared)?;
        // Removed in between, or about to be: whoever builds it anew waits for that.
        let Some(lock) = lock else { return Ok(None) };
        Ok(self.read(key).map(|record| self.environment(key, record, lock)))
    }

    /// Waits until the environment of `key` is there or this process alone may build it. Cancel-safe.
    pub(super) async fn open_or_lock(&self, key: &str) -> Result<Entry, InstallError> {
        let mut waited = false;
        loop {
            if let Some(environment) = self.open(key)? {
                return Ok(Entry::Environment { environment: Arc::new(environment), waited });
            }
            if let Some(lock) = self.take_lock(key, FlockOperation::NonBlockingLockExclusive)? {
                // It may have been built between the two looks.
                return Ok(match self.read(key) {
                    Some(record) => {
                        let environment = Arc::new(self.share(key, record, lock)?);
                        Entry::Environment { environment, waited }
                    }
                    None => Entry::Vacant(lock),
                });
            }
            waited = true;
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    /// A place to build in. `interpreter` names it: uv remembers by its path what Python is there.
    pub(super) fn slot(&self, interpreter: &str) -> Result<Slot, InstallError> {
        Slot::find(&self.directory.join(".building"), interpreter)
    }

    /// Makes what was built in `slot` the environment of `key`, for everybody, at once.
    pub(super) fn publish(
        &self,
        key: &str,
        slot: Slot,
        record: Record,
        lock: Lock,
    ) -> Result<Environment, InstallError> {
        let file = slot.directory.join(RECORD);
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        fs::write(&file, text).map_err(storing("write", &file))?;
        let path = self.directory.join(key);
        // Nothing complete was there when the lock was taken, but perhaps something else.
        remove(&path).map_err(storing("clear", &path))?;
        fs::rename(&slot.directory, &path).map_err(storing("rename to", &path))?;
        drop(slot); // not before: it is free for another build then
        self.share(key, record, lock)
    }

    /// The record of an environment in a directory, if it is whole.
    pub(super) fn record_in(directory: &Path) -> Option<Record> {
        serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()
    }

    /// All environments, the most recently used first.
    pub fn list(&self) -> Vec<Kept> {
        let mut kept: Vec<Kept> = names_in(&self.directory).filter_map(|key| self.kept(key)).collect();
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.used));
        kept
    }

    /// Where an environment is.
    pub fn path(&self, key: &str) -> PathBuf {
        self.directory.join(key)
    }

    /// Removes environments that nobody uses, the least recently used first, until all take at most `most_bytes`,
    /// and what killed workers left. Returns the environments removed.
    pub fn prune(&self, most_bytes: u64) -> Vec<Kept> {
        self.remove_debris();
        let (in_use, idle): (Vec<Kept>, Vec<Kept>) = self.list().into_iter().partition(|kept| kept.in_use);
        let mut total: u64 = in_use.iter().map(|kept| kept.record.bytes).sum();
        let mut removed = Vec::new();
        for kept in idle {
            let with_this = total.saturating_add(kept.record.bytes);
            if with_this <= most_bytes {
                total = with_this;
            } else if self.discard(&kept.key) {
                removed.push(kept);
            }
        }
        removed
    }

    /// Removes one environment unless it is in use. Returns whether it did.
    pub fn discard(&self, key: &str) -> bool {
        let Ok(Some(lock)) = self.take_lock(key, FlockOperation::NonBlockingLockExclusive) else {
            return false;
        };
        let path = self.directory.join(key);
        // The record first: without it the rest is no environment any more.
        let _ = fs::remove_file(path.join(RECORD));
        let removed = remove(&path);
        let _ = fs::remove_file(self.lock_path(key));
        drop(lock);
        if let Err(error) = &removed {
            warn!(%error, path = %path.display(), "cannot remove an environment");
        }
        debug!(key, "environment removed");
        removed.is_ok()
    }

    /// Removes what is no environment and is not becoming one.
    fn remove_debris(&self) {
        for key in names_in(&self.directory).filter(|name| !name.starts_with('.') && !is_lock(name)) {
            if self.read(&key).is_none() {
                self.discard(&key);
            }
        }
        let building = self.directory.join(".building");
        for slot in names_in(&building).filter(|name| !is_lock(name)) {
            if let Ok(Some(_lock)) =
                take(&building.join(format!("{slot}.lock")), FlockOperation::NonBlockingLockExclusive)
            {
                let _ = remove(&building.join(slot));
            }
        }
    }

    fn kept(&self, key: String) -> Option<Kept> {
        let record = self.read(&key)?;
        let used = fs::metadata(self.lock_path(&key)).and_then(|metadata| metadata.modified());
        let probe = self.take_lock(&key, FlockOperation::NonBlockingLockExclusive);
        let in_use = !matches!(probe, Ok(Some(_)));
        Some(Kept { key, record, used: used.unwrap_or(SystemTime::UNIX_EPOCH), in_use })
    }

    fn read(&self, key: &str) -> Option<Record> {
        Self::record_in(&self.directory.join(key))
    }

    /// Turns the right to build into the right to use.
    fn share(&self, key: &str, record: Record, lock: Lock) -> Result<Environment, InstallError> {
        let locked = flock(&*lock.file, FlockOperation::LockShared);
        locked.map_err(|error| storing("lock", &self.lock_path(key))(error.into()))?;
        Ok(self.environment(key, record, lock))
    }

    fn environment(&self, key: &str, record: Record, lock: Lock) -> Environment {
        // The time of its last use.
        let _ = lock.file.set_modified(SystemTime::now());
        Environment { key: key.to_owned(), directory: self.directory.join(key), record, _in_use: lock }
    }

    fn lock_path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.lock"))
    }

    fn take_lock(&self, key: &str, operation: FlockOperation) -> Result<Option<Lock>, InstallError> {
        fs::create_dir_all(&self.directory).map_err(storing("make", &self.directory))?;
        take(&self.lock_path(key), operation)
    }
}

/// Whether it is the name of a lock's file.
fn is_lock(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "lock")
}

#[cfg(test)]
mod tests;
