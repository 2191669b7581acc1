//! Files that requests ship along, kept by their content: a client sends a set of them once.
//!
//! ```text
//! modules/<sha256>/            a set, as it was renamed into place; runners copy it, and check what they copy
//! modules/.<name>/             one that is being written
//! ```
//!
//! All workers that share a cache directory share them. A set that nobody has used for [`KEPT_FOR`] goes when
//! another one comes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use farcall_protocol::ModulesKey;
use farcall_protocol::frame::KeptModules;
use tracing::debug;

/// How long a set is kept after its last use.
const KEPT_FOR: Duration = Duration::from_hours(30 * 24);
/// A use is written down if the last one is longer ago: sets are used for every call.
const USED_GRANULARITY: Duration = Duration::from_hours(24);

/// The sets below a cache directory.
#[derive(Debug, Clone)]
pub struct ShippedModules {
    directory: PathBuf,
}

impl ShippedModules {
    /// The sets below a cache directory, which need not exist yet.
    pub fn new(cache_directory: &Path) -> Self {
        Self { directory: cache_directory.join("modules") }
    }

    /// The set of `key`, if it is there.
    pub fn find(&self, key: ModulesKey) -> Option<KeptModules> {
        let directory = self.path(key);
        let used = fs::metadata(&directory).and_then(|found| found.modified()).ok()?;
        if used.elapsed().is_ok_and(|unused| unused > USED_GRANULARITY) {
            let touched = File::open(&directory).and_then(|set| set.set_modified(SystemTime::now()));
            touched.unwrap_or_else(|error| debug!(%error, "the use of shipped files is not written down"));
        }
        Some(KeptModules { key, directory: directory.to_string_lossy().into_owned() })
    }

    /// Keeps a set whose paths stay inside it. Does nothing if `files` are not what `key` names.
    pub fn keep(&self, key: ModulesKey, files: &BTreeMap<String, String>) -> io::Result<()> {
        if ModulesKey::of(files) != key || self.path(key).exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        self.remove_unused();
        // Removed when it is dropped: there is nothing to remove where it has been renamed.
        let new = tempfile::Builder::new().prefix(".").tempdir_in(&self.directory)?;
        write(new.path(), files)?;
        match fs::rename(new.path(), self.path(key)) {
            Err(_) if self.path(key).exists() => Ok(()), // another worker was first
            renamed => renamed,
        }
    }

    fn path(&self, key: ModulesKey) -> PathBuf {
        self.directory.join(key.to_string())
    }

    /// Removes what nobody uses any more, and what killed workers left half written.
    fn remove_unused(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let used = entry.metadata().and_then(|metadata| metadata.modified());
            if used.is_ok_and(|used| used.elapsed().is_ok_and(|unused| unused > KEPT_FOR)) {
                debug!(set = ?entry.file_name(), "shipped files that were not used are removed");
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn write(directory: &Path, files: &BTreeMap<String, String>) -> io::Result<()> {
    for (path, source) in files {
        let file = directory.join(path);
        fs::create_dir_all(file.parent().unwrap_or(directory))?;
        fs::write(file, source)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(source: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("a.py".to_owned(), source.to_owned()), ("p/b.py".to_owned(), "y = 2".to_owned())])
    }

    #[test]
    fn a_set_is_found_by_its_content_and_by_nothing_else() {
        let cache = tempfile::tempdir().unwrap();
        let kept = ShippedModules::new(cache.path());
        let (key, other) = (ModulesKey::of(&files("x = 1")), ModulesKey::of(&files("x = 2")));
        assert_eq!(kept.find(key), None);
        kept.keep(key, &files("x = 1")).unwrap();
        kept.keep(other, &files("x = 1")).unwrap();
        let found = kept.find(key).unwrap();
        assert_eq!(fs::read_to_string(Path::new(&found.directory).join("p/b.py")).unwrap(), "y = 2");
        assert_eq!(kept.find(other), None);
    }

    #[test]
    fn what_nobody_used_goes_when_another_one_comes() {
        let cache = tempfile::tempdir().unwrap();
        let kept = ShippedModules::new(cache.path());
        let (old, new) = (files("x = 1"), files("x = 2"));
        kept.keep(ModulesKey::of(&old), &old).unwrap();
        let directory = kept.find(ModulesKey::of(&old)).unwrap().directory;
        let long_ago = SystemTime::now() - KEPT_FOR - Duration::from_hours(1);
        File::open(directory).unwrap().set_modified(long_ago).unwrap();
        kept.keep(ModulesKey::of(&new), &new).unwrap();
        assert_eq!(kept.find(ModulesKey::of(&old)), None);
        assert!(kept.find(ModulesKey::of(&new)).is_some());
    }

    #[test]
    fn a_set_that_cannot_be_written_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let kept = ShippedModules::new(cache.path());
        // A file where another one needs a directory.
        let impossible = BTreeMap::from([("a".to_owned(), String::new()), ("a/b".to_owned(), String::new())]);
        assert!(kept.keep(ModulesKey::of(&impossible), &impossible).is_err());
        assert_eq!(fs::read_dir(cache.path().join("modules")).unwrap().count(), 0);
    }
}
