//! Answers that wait on disk: a file each, written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The spool of one worker.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
}

/// What an answer is for: the first line of its file. The body is the rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) job: String,
    pub(super) url: String,
}

impl Spool {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Writes an answer. Returns its file; `None` if the disk does not take it, which is logged.
    pub(super) async fn keep(&self, entry: Entry, body: Bytes) -> Option<PathBuf> {
        let directory = self.directory.clone();
        let written = tokio::task::spawn_blocking(move || write(&directory, &entry, &body)).await;
        match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(file) => Some(file),
            Err(error) => {
                warn!(%error, directory = %self.directory.display(), "cannot keep an answer on disk");
                None
            }
        }
    }

    /// Removes a delivered answer.
    pub(super) async fn forget(&self, file: PathBuf) {
        let _ = tokio::task::spawn_blocking(move || fs::remove_file(file)).await;
    }

    /// The answers an earlier run left, the oldest first.
    pub(super) async fn load(&self) -> Vec<(PathBuf, Entry, Bytes)> {
        let directory = self.directory.clone();
        tokio::task::spawn_blocking(move || read_all(&directory)).await.unwrap_or_default()
    }
}

fn write(directory: &Path, entry: &Entry, body: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::with_prefix_in(".answer-", directory)?;
    serde_json::to_writer(&mut file, entry)?;
    file.write_all(b"\n")?;
    file.write_all(body)?;
    file.as_file().sync_all()?;
    // Job ids are the platform's: their characters are not to be trusted in a file name.
    let name: String = entry.job.bytes().map(|byte| format!("{byte:02x}")).collect();
    let path = directory.join(format!("{}.answer", &name[..name.len().min(200)]));
    file.persist(&path)?;
    Ok(path)
}

fn read_all(directory: &Path) -> Vec<(PathBuf, Entry, Bytes)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "answer"));
    files.sort_by_key(|file| file.metadata().and_then(|metadata| metadata.modified()).ok());
    files.into_iter().filter_map(read).collect()
}

fn read(file: PathBuf) -> Option<(PathBuf, Entry, Bytes)> {
    let bytes = Bytes::from(fs::read(&file).ok()?);
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let entry = serde_json::from_slice(&bytes[..end]).ok()?;
    Some((file, entry, bytes.slice(end + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_there_after_a_restart_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().join("pod/1"));
        assert!(spool.load().await.is_empty());
        let entry = Entry { job: "../j1".into(), url: "http://host/j1".into() };
        let file = spool.keep(entry, Bytes::from_static(b"{\"output\":\n1}")).await.unwrap();
        fs::write(file.with_file_name(".answer-half"), "half written").unwrap();
        fs::write(file.with_file_name("damaged.answer"), "no header").unwrap();
        let found = Spool::new(directory.path().join("pod/1")).load().await;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1.job.as_str(), &found[0].2[..]), ("../j1", &b"{\"output\":\n1}"[..]));
        spool.forget(file).await;
        assert!(spool.load().await.is_empty());
    }
}
