//! Payloads too large for the database: a file each, complete or not there at all.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tracing::debug;

/// Payloads up to this size lie in the database: reading and writing a file costs more than copying so much.
pub(super) const LARGEST_INLINE: usize = 64 << 10;

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Input,
    Output,
    Events,
}

/// Where a payload is kept.
#[derive(Debug, Clone)]
pub(super) enum Stored {
    /// In the database.
    Inline(Bytes),
    /// In a file, of this size.
    File(usize),
}

impl Stored {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::File(length) => *length,
        }
    }

    /// What goes into the database's column.
    pub(super) fn inline(&self) -> Option<&[u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }
}

/// The directory of payload files; without one, everything stays in the database, which is in memory then.
#[derive(Debug, Clone)]
pub(super) struct Files(Option<PathBuf>);

impl Files {
    pub(super) fn in_memory() -> Self {
        Self(None)
    }

    /// Makes the directory where it is missing.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self(Some(directory)))
    }

    /// Keeps a payload. When this returns it is on the disk, if it is too large for the database.
    pub(super) async fn keep(&self, id: &str, kind: Kind, payload: Bytes) -> io::Result<Stored> {
        let Some(path) = self.path(id, kind).filter(|_| payload.len() > LARGEST_INLINE) else {
            return Ok(Stored::Inline(payload));
        };
        let length = payload.len();
        tokio::task::spawn_blocking(move || write(&path, &payload)).await??;
        Ok(Stored::File(length))
    }

    /// Reads a payload that is in a file.
    pub(super) async fn read(&self, id: &str, kind: Kind) -> io::Result<Bytes> {
        let path = self.path(id, kind).ok_or(io::ErrorKind::NotFound)?;
        Ok(tokio::task::spawn_blocking(move || fs::read(path)).await??.into())
    }

    /// Removes all that a job may have.
    pub(super) fn remove(&self, id: &str) {
        for kind in [Kind::Input, Kind::Output, Kind::Events] {
            self.remove_one(id, kind);
        }
    }

    fn remove_one(&self, id: &str, kind: Kind) {
        if let Some(path) = self.path(id, kind) {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes files of jobs that are not in the database: a killed process leaves those it was about to add.
    pub(super) fn remove_strays(&self, known: &HashSet<String>) -> io::Result<()> {
        let Some(directory) = &self.0 else { return Ok(()) };
        for entry in fs::read_dir(directory)?.flatten() {
            let path = entry.path();
            let id = path.file_stem().and_then(|stem| stem.to_str());
            if id.is_none_or(|id| !known.contains(id)) {
                debug!(file = %path.display(), "a stray payload is removed");
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn path(&self, id: &str, kind: Kind) -> Option<PathBuf> {
        let extension = match kind {
            Kind::Input => "input",
            Kind::Output => "output",
            Kind::Events => "events",
        };
        // Ids are of our own making: they hold nothing that a file name must not.
        Some(self.0.as_ref()?.join(format!("{id}.{extension}")))
    }
}

fn write(path: &Path, payload: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(payload)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The name, too, has to be on the disk.
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_payloads_are_files_until_their_job_goes() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path().join("payloads")).unwrap();
        let small = files.keep("a", Kind::Input, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(small.inline(), Some(&b"x"[..]));
        let large = Bytes::from(vec![b'y'; LARGEST_INLINE + 1]);
        let stored = files.keep("a", Kind::Output, large.clone()).await.unwrap();
        assert!(stored.inline().is_none() && stored.len() == large.len());
        assert_eq!(files.read("a", Kind::Output).await.unwrap(), large);
        files.keep("b", Kind::Input, large.clone()).await.unwrap();
        files.remove_strays(&HashSet::from(["b".to_owned()])).unwrap();
        assert!(files.read("a", Kind::Output).await.is_err());
        files.remove("b");
        assert!(files.read("b", Kind::Input).await.is_err());
    }
}
