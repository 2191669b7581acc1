//! Every Python on this machine.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// An interpreter that answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installed {
    /// Major and minor version.
    pub version: (u8, u8),
    /// Its executable.
    pub path: PathBuf,
}

impl Installed {
    /// Whether farcall supports it.
    pub fn is_supported(&self) -> bool {
        self.version >= (3, 10)
    }
}

/// Debian's, pyenv's, and every `python3.N` on PATH; those that answer, once each, oldest first.
pub fn installed() -> Vec<Installed> {
    let mut candidates = vec![PathBuf::from("/usr/bin/python3")];
    if let Some(home) = std::env::home_dir() {
        let versions = std::fs::read_dir(home.join(".pyenv/versions"));
        candidates
            .extend(versions.into_iter().flatten().flatten().map(|entry| entry.path().join("bin/python3")));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for directory in std::env::split_paths(&path) {
        candidates.extend((0..=20).map(|minor| directory.join(format!("python3.{minor}"))));
    }
    let mut seen = BTreeSet::new();
    let mut found: Vec<_> = candidates.into_iter().filter_map(ask).collect();
    found.retain(|(identity, _)| seen.insert(identity.clone()));
    let mut found: Vec<_> = found.into_iter().map(|(_, installed)| installed).collect();
    found.sort();
    found
}

/// The real executable, which shims and links share, and what it is.
fn ask(path: PathBuf) -> Option<(String, Installed)> {
    let program =
        "import os, sys\nprint(sys.version_info[0], sys.version_info[1], os.path.realpath(sys.executable))";
    let output = Command::new(&path).args(["-c", program]).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    let mut words = answer.trim().splitn(3, ' ');
    let version = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((words.next()?.to_owned(), Installed { version, path }))
}
