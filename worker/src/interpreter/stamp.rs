//! What a file or directory looked like at one time: the cheap way to notice that it is another one now.
//!
//! Of a directory it says which names are in it, and nothing about what lies below. Two changes within one tick of
//! the file system's clock look the same, so whoever keeps what was read asks [`Stamp::is_settled`] as well.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// The coarsest clock of a file system that packages are kept on; most tick every few milliseconds.
const TICK: Duration = Duration::from_secs(1);

/// The identity and the times of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds. Copying and unpacking set it to anything.
    modified: (i64, i64),
    /// The same; the kernel alone sets it, also when the file is renamed or its times are set.
    changed: (i64, i64),
}

impl Stamp {
    /// Of what `path` leads to; `None` if there is nothing.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether any change after `time` would show, which it may not right after another one.
    pub(crate) fn is_settled(&self, time: SystemTime) -> bool {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let settled = since_epoch.saturating_sub(TICK);
        let (seconds, nanoseconds) = self.changed;
        u64::try_from(seconds).is_ok_and(|seconds| {
            Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or_default()) < settled
        })
    }

    /// Whether both are of the same file.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_names_in_a_directory_show() {
        let directory = tempfile::tempdir().unwrap();
        let before = Stamp::of(directory.path()).unwrap();
        assert_eq!(Stamp::of(directory.path()), Some(before));
        assert_eq!(Stamp::of(&directory.path().join("none")), None);
        fs::create_dir(directory.path().join("one")).unwrap();
        let after = Stamp::of(directory.path()).unwrap();
        // Within one tick only the size can tell, and not on every file system.
        assert!(after != before || !before.is_settled(SystemTime::now()));
        assert!(after.is_same_file(&before));
    }

    #[test]
    fn what_has_just_changed_is_not_settled() {
        let directory = tempfile::tempdir().unwrap();
        let stamp = Stamp::of(directory.path()).unwrap();
        assert!(!stamp.is_settled(SystemTime::now()));
        assert!(stamp.is_settled(SystemTime::now() + 2 * TICK));
        assert!(!stamp.is_settled(SystemTime::UNIX_EPOCH));
    }
}
