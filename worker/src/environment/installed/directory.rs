//! What the names in a directory of packages say.
//!
//! A distribution is a directory `name-version.dist-info`; before wheels, it was a file or directory
//! `name-version.egg-info`, or `name.egg-link` to a source tree.

use std::path::{Path, PathBuf};

use pep508_rs::PackageName;
use pep508_rs::pep440_rs::Version;
use tracing::debug;

/// A distribution by the name of what it consists of.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: PackageName,
    /// Nothing if there is none in the name, or one that no standard knows.
    pub(super) version: Option<Version>,
    pub(super) kind: Kind,
}

/// How a distribution is recorded.
#[derive(Debug)]
pub(super) enum Kind {
    /// In this directory, after [the standard].
    ///
    /// [the standard]: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    DistInfo(PathBuf),
    /// In one of the ways of setuptools and distutils.
    Egg,
}

/// The distributions in `directory`; none if it cannot be read.
pub(super) fn list(directory: &Path) -> Vec<Listed> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            debug!(%error, directory = %directory.display(), "no packages there");
            return Vec::new();
        }
    };
    entries.flatten().filter_map(|entry| parse(directory, entry.file_name().to_str()?)).collect()
}

fn parse(directory: &Path, entry: &str) -> Option<Listed> {
    let (stem, ending) = entry.rsplit_once('.')?;
    if !matches!(ending, "dist-info" | "egg-info" | "egg-link") {
        return None;
    }
    // Neither part contains `-`; an egg's is followed by the Python version it is for.
    let mut parts = stem.split('-');
    let name = parts.next()?.parse().ok()?; // pip renames what it is about to remove to `~name`
    let rest =
        if ending == "dist-info" { stem.split_once('-').map(|(_, version)| version) } else { parts.next() };
    let version = rest.and_then(|version| version.parse().ok());
    let kind = match ending {
        "dist-info" => Kind::DistInfo(directory.join(entry)),
        _ => Kind::Egg,
    };
    Some(Listed { name, version, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(entry: &str) -> Option<String> {
        let Listed { name, version, kind } = parse(Path::new("/site"), entry)?;
        let kind = if matches!(kind, Kind::Egg) { "egg" } else { "wheel" };
        Some(format!("{name} {} {kind}", version.map_or("?".to_owned(), |version| version.to_string())))
    }

    #[test]
    fn names_and_versions_are_read_off() {
        let cases = [
            ("Jinja2-3.1.6.dist-info", Some("jinja2 3.1.6 wheel")),
            ("zope.interface-6.0.dist-info", Some("zope-interface 6.0 wheel")),
            ("torch-2.1.0+cu118.dist-info", Some("torch 2.1.0+cu118 wheel")),
            ("django-5.0a1.dist-info", Some("django 5.0a1 wheel")),
            ("odd-2004d-x.dist-info", Some("odd ? wheel")),
            ("PyJWT-2.6.0.egg-info", Some("pyjwt 2.6.0 egg")),
            ("zstandard-0.22.0-py3.12.egg-info", Some("zstandard 0.22.0 egg")),
            ("cryptography.egg-info", Some("cryptography ? egg")),
            ("mine.egg-link", Some("mine ? egg")),
            ("~umpy-1.26.4.dist-info", None),
            ("numpy", None),
            ("numpy.libs", None),
        ];
        for (entry, expected) in cases {
            assert_eq!(parsed(entry).as_deref(), expected, "{entry}");
        }
    }
}
