//! What was found out about interpreters, kept between starts of the worker.
//!
//! An entry counts only while the executable, and the virtual environment it belongs to, are the same files as
//! then. Shims that choose an interpreter by circumstances (pyenv's are shell scripts) are asked every time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::Interpreter;

/// Raised whenever [`Interpreter`] or the way of finding out changes.
const FORMAT: u32 = 1;

const FILE: &str = "interpreters.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    format: u32,
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    fingerprint: String,
    interpreter: Interpreter,
}

/// What is known of the interpreter at `path`, if it has not changed.
pub(super) fn recall(cache: &Path, path: &Path) -> Option<Interpreter> {
    let fingerprint = fingerprint(path)?;
    let entry = recall_all(cache)?.entries.remove(path)?;
    let library_is_there = entry.interpreter.libpython.as_ref().is_none_or(|library| library.is_file());
    (entry.fingerprint == fingerprint && library_is_there).then_some(entry.interpreter)
}

/// Keeps what was found out. Best effort: without a writable cache every start asks again.
pub(super) fn remember(cache: &Path, path: &Path, interpreter: &Interpreter) {
    let Some(fingerprint) = fingerprint(path) else { return };
    let mut memory = recall_all(cache).unwrap_or_default();
    memory.format = FORMAT;
    memory.entries.insert(path.to_owned(), Entry { fingerprint, interpreter: interpreter.clone() });
    store(cache, FILE, &memory);
}

fn recall_all(cache: &Path) -> Option<Memory> {
    load(cache, FILE).filter(|memory: &Memory| memory.format == FORMAT)
}

/// What the file `name` of the cache holds, if it can be understood.
pub(super) fn load<T: DeserializeOwned>(cache: &Path, name: &str) -> Option<T> {
    serde_json::from_slice(&fs::read(cache.join(name)).ok()?).ok()
}

/// Replaces the file `name` of the cache, if it can be written.
pub(super) fn store(cache: &Path, name: &str, memory: &impl Serialize) {
    let replace = || -> std::io::Result<()> {
        fs::create_dir_all(cache)?;
        let mut file = tempfile::NamedTempFile::new_in(cache)?;
        serde_json::to_writer(&mut file, memory)?;
        file.persist(cache.join(name))?;
        Ok(())
    };
    if let Err(error) = replace() {
        debug!(%error, cache = %cache.display(), name, "cannot remember");
    }
}

/// Identity of the executable and of its virtual environment; `None` for scripts.
pub(super) fn fingerprint(path: &Path) -> Option<String> {
    let mut magic = [0; 4];
    fs::File::open(path).ok()?.read_exact(&mut magic).ok()?;
    if magic != *b"\x7fELF" {
        return None;
    }
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        Some(format!("{}:{}:{}:{seconds}.{nanoseconds}", metadata.dev(), metadata.ino(), metadata.size()))
    };
    let environment = path.parent()?.parent().and_then(|prefix| identity(&prefix.join("pyvenv.cfg")));
    Some(format!("{} {}", identity(path)?, environment.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter() -> Interpreter {
        Interpreter {
            executable: "/usr/bin/python3".into(),
            version: "3.11.2".into(),
            libpython: None,
            cache_directory: None,
        }
    }

    #[test]
    fn a_changed_executable_is_asked_again() {
        let cache = tempfile::tempdir().unwrap();
        let python = cache.path().join("python");
        fs::write(&python, b"\x7fELF one").unwrap();
        assert_eq!(recall(cache.path(), &python), None);
        remember(cache.path(), &python, &interpreter());
        assert_eq!(recall(cache.path(), &python), Some(interpreter()));
        fs::write(&python, b"\x7fELF another").unwrap();
        assert_eq!(recall(cache.path(), &python), None);
    }

    #[test]
    fn shims_are_asked_every_time() {
        let cache = tempfile::tempdir().unwrap();
        let shim = cache.path().join("python");
        fs::write(&shim, "#!/bin/sh\n").unwrap();
        remember(cache.path(), &shim, &interpreter());
        assert_eq!(recall(cache.path(), &shim), None);
    }

    #[test]
    fn a_damaged_cache_is_ignored() {
        let cache = tempfile::tempdir().unwrap();
        let python = cache.path().join("python");
        fs::write(&python, b"\x7fELF").unwrap();
        fs::write(cache.path().join(FILE), b"{ nonsense").unwrap();
        assert_eq!(recall(cache.path(), &python), None);
        remember(cache.path(), &python, &interpreter());
        assert_eq!(recall(cache.path(), &python), Some(interpreter()));
    }
}
