//! The interpreter's own packages, and whether requirements are satisfied by them.
//!
//! ```text
//!  names of directories ──▶ Installed (names, versions) ── check ──▶ METADATA of what is reached ──▶ Verdict
//! ```
//!
//! "Satisfied" means that pip would install nothing, and nor would uv. Whatever is unusual (direct references,
//! eggs, editable installs, two distributions of one name, metadata that cannot be understood, wheels for other
//! platforms) is not decided here: the verdict is no, and uv is asked. Nothing is ever run or changed.
//!
//! Looked at is what the interpreter would import from: all its directories of packages, like pip does. uv sees
//! only the first where there are more: what Debian's Python has by apt, or a virtual environment from behind it,
//! is there all the same.

mod check;
mod directory;
mod distribution;
mod metadata;
mod specifiers;
mod tags;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use pep508_rs::PackageName;
use sha2::{Digest, Sha256};

use super::requirement::Requirement;
use crate::interpreter::{Markers, Stamp};
use directory::Kind;
use distribution::Distribution;
pub use verdict::{Lack, Reason, Verdict};

/// The distributions in an interpreter's directories at one time.
#[derive(Debug)]
pub struct Installed {
    markers: Markers,
    looks: Vec<Look>,
    found: BTreeMap<PackageName, Found>,
}

/// What one directory looked like when it was read.
#[derive(Debug)]
struct Look {
    directory: PathBuf,
    time: SystemTime,
    /// Nothing if it did not exist.
    stamp: Option<Stamp>,
}

/// What there is under one name.
#[derive(Debug)]
enum Found {
    One(Distribution),
    /// Something that is not judged here, with the version that is imported, where that can be told.
    Unusual(Reason, Option<String>),
}

impl Installed {
    /// Reads the names in `directories`, an interpreter's in their order. Those that do not exist, or are no
    /// directories (`sys.path` may name archives), count as empty.
    pub fn read(directories: &[PathBuf], markers: &Markers) -> Self {
        let mut installed = Self { markers: markers.clone(), looks: Vec::new(), found: BTreeMap::new() };
        for directory in directories {
            // Before it is read: what changes meanwhile shows later.
            let (time, stamp) = (SystemTime::now(), Stamp::of(directory));
            let is_the_same =
                |look: &Look| look.stamp.zip(stamp).is_some_and(|(one, other)| one.is_same_file(&other));
            let is_known = installed.looks.iter().any(is_the_same); // `lib64` is a link to `lib`
            installed.looks.push(Look { directory: directory.clone(), time, stamp });
            if !is_known {
                installed.add(directory::list(directory));
            }
        }
        installed
    }

    /// Whether all of `requirements` are there, with all that they require.
    pub fn check(&self, requirements: &[Requirement]) -> Verdict {
        check::check(self, requirements)
    }

    /// Whether no distribution came or went since. Costs a microsecond for each directory.
    ///
    /// It says no for a second after a change, when another one might not show.
    pub fn is_current(&self) -> bool {
        self.looks.iter().all(|look| {
            Stamp::of(&look.directory) == look.stamp
                && look.stamp.is_none_or(|stamp| stamp.is_settled(look.time))
        })
    }

    /// Says which distributions there are, in which versions: the same on every worker of an image.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (name, found) in &self.found {
            let (kind, version) = match found {
                Found::One(distribution) => ("", Some(distribution.version_text())),
                Found::Unusual(reason, version) => (reason.word(), version.as_deref()),
            };
            hash.update(format!("{name}=={} {kind}\n", version.unwrap_or("?")));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Normalised names and versions, by name. What is installed twice has the version that is imported.
    pub fn versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.found.iter().filter_map(|(name, found)| {
            let version = match found {
                Found::One(distribution) => distribution.version_text(),
                Found::Unusual(_, version) => version.as_deref()?,
            };
            Some((name.as_ref(), version))
        })
    }

    fn add(&mut self, listed: Vec<directory::Listed>) {
        // Of two in one directory, nobody knows which files are whose.
        let mut here: BTreeMap<PackageName, Found> = BTreeMap::new();
        for directory::Listed { name, version, kind } in listed {
            let new = match (kind, version) {
                (Kind::DistInfo(path), Some(version)) => Found::One(Distribution::new(version, path)),
                (Kind::DistInfo(_), None) => Found::Unusual(Reason::Unreadable, None),
                (Kind::Egg, version) => {
                    Found::Unusual(Reason::Egg, version.map(|version| version.to_string()))
                }
            };
            let found = if here.contains_key(&name) { Found::Unusual(Reason::Twice, None) } else { new };
            here.insert(name, found);
        }
        for (name, new) in here {
            let found = match self.found.remove(&name) {
                None => new,
                Some(Found::One(first)) => {
                    Found::Unusual(Reason::Twice, Some(first.version_text().to_owned()))
                }
                Some(Found::Unusual(_, version)) => Found::Unusual(Reason::Twice, version),
            };
            self.found.insert(name, found);
        }
    }
}

#[cfg(test)]
mod tests;
