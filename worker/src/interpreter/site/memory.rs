//! The answers of interpreters, kept between starts of the worker.
//!
//! An answer counts only while the interpreter, the variables it reads, the kernel, and every file and directory
//! that had a part in it are what they were, and none of them had just changed when it was asked.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::memory::{fingerprint, load, store};
use super::super::stamp::Stamp;
use super::{Answer, Site};

/// Raised whenever [`Site`] or the way of finding out changes.
const FORMAT: u32 = 1;

const FILE: &str = "sites.json";

/// What the kernel is, which markers may ask for.
const KERNEL: [&str; 2] = ["/proc/sys/kernel/osrelease", "/proc/sys/kernel/version"];

#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    format: u32,
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    circumstances: String,
    /// What each input looked like; nothing where it did not exist.
    inputs: Vec<(PathBuf, Option<Stamp>)>,
    site: Site,
}

/// The site of the interpreter at `path`, if nothing it came from has changed.
pub(super) fn recall(cache: &Path, path: &Path) -> Option<Site> {
    let entry = load::<Memory>(cache, FILE).filter(|memory| memory.format == FORMAT)?.entries.remove(path)?;
    let is_same = |(input, stamp): &(PathBuf, Option<Stamp>)| Stamp::of(input) == *stamp;
    let is_current = entry.circumstances == circumstances(path)? && entry.inputs.iter().all(is_same);
    is_current.then_some(entry.site)
}

/// Keeps an answer to what was asked at the time `asked`. Best effort.
pub(super) fn remember(cache: &Path, path: &Path, answer: &Answer, asked: SystemTime) {
    let Some(circumstances) = circumstances(path) else { return };
    let inputs: Vec<_> = answer.inputs.iter().map(|input| (input.clone(), Stamp::of(input))).collect();
    if inputs.iter().any(|(_, stamp)| stamp.is_some_and(|stamp| !stamp.is_settled(asked))) {
        return; // they may have been others when it was asked
    }
    let known = load::<Memory>(cache, FILE).filter(|memory| memory.format == FORMAT);
    let mut memory = Memory { format: FORMAT, ..known.unwrap_or_default() };
    memory.entries.insert(path.to_owned(), Entry { circumstances, inputs, site: answer.site.clone() });
    store(cache, FILE, &memory);
}

/// All but files that an answer depends on. `None` for scripts, which may choose by anything.
fn circumstances(path: &Path) -> Option<String> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| {
            name.as_bytes().starts_with(b"PYTHON") || name == "HOME" || name == "LD_LIBRARY_PATH"
        })
        .collect();
    variables.sort();
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    };
    add(fingerprint(path)?.as_bytes());
    for (name, value) in &variables {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    // Relative directories of `PYTHONPATH` begin here; another user's site is not searched.
    add(std::env::current_dir().ok()?.as_os_str().as_bytes());
    add(&rustix::process::geteuid().as_raw().to_le_bytes());
    for file in KERNEL {
        add(&fs::read(file).ok()?);
    }
    Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
