//! One installed distribution, and what its own files say, read when a check first reaches it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::OnceLock;

use pep508_rs::PackageName;
use pep508_rs::pep440_rs::Version;
use serde::Deserialize;

use super::metadata::{Metadata, read_headers};
use super::specifiers::admit;
use super::tags;
use super::verdict::Reason;
use crate::interpreter::Markers;

/// A distribution that is recorded in a `.dist-info` directory.
#[derive(Debug)]
pub(super) struct Distribution {
    version: Version,
    version_text: String,
    path: PathBuf,
    /// Once it has been found to be an ordinary one.
    metadata: OnceLock<Metadata>,
}

/// `direct_url.json`: where it came from, if not from an index.
#[derive(Debug, Deserialize)]
struct Origin {
    dir_info: Option<Directory>,
}

#[derive(Debug, Deserialize)]
struct Directory {
    #[serde(default)]
    editable: bool,
}

impl Distribution {
    pub(super) fn new(version: Version, path: PathBuf) -> Self {
        Self { version_text: version.to_string(), version, path, metadata: OnceLock::new() }
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    pub(super) fn version_text(&self) -> &str {
        &self.version_text
    }

    /// What it requires, if it is an ordinary distribution of `name` for the interpreter.
    pub(super) fn metadata(&self, name: &PackageName, markers: &Markers) -> Result<&Metadata, Reason> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let metadata = Metadata::read(&self.path.join("METADATA")).map_err(|_| Reason::Unreadable)?;
        let is_its_own = metadata.name.parse().is_ok_and(|own: PackageName| own == *name)
            && metadata.version.parse().is_ok_and(|version: Version| version == self.version);
        if !is_its_own {
            return Err(Reason::Unreadable);
        }
        let versions = metadata.python_versions().ok_or(Reason::Unreadable)?;
        if !admit(&versions, &markers.environment.python_full_version().version) {
            return Err(Reason::Python(metadata.requires_python.unwrap_or_default()));
        }
        self.check_origin()?;
        self.check_tags(markers)?;
        Ok(self.metadata.get_or_init(|| metadata))
    }

    /// Whether it was installed as it is distributed.
    fn check_origin(&self) -> Result<(), Reason> {
        if let Some(text) = present(fs::read_to_string(self.path.join("direct_url.json")))? {
            let origin: Origin = serde_json::from_str(&text).map_err(|_| Reason::Unreadable)?;
            if origin.dir_info.is_some_and(|directory| directory.editable) {
                return Err(Reason::Editable);
            }
        }
        // Written by uv when it builds; it installs anew what was built with other settings than its own now.
        match present(fs::read_to_string(self.path.join("uv_build.json")))?.as_deref().map(str::trim) {
            None | Some("" | "{}") => Ok(()),
            Some(_) => Err(Reason::Built),
        }
    }

    /// Whether it was built for the interpreter, as far as it says.
    fn check_tags(&self, markers: &Markers) -> Result<(), Reason> {
        let Some(text) = present(read_headers(&self.path.join("WHEEL")))? else { return Ok(()) };
        let tag = |line: &str| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case("tag").then(|| value.trim().to_owned())
        };
        let tags: Vec<String> = text.lines().filter_map(tag).collect();
        if tags.is_empty() || tags.iter().any(|tag| tags::fits(tag, markers)) {
            return Ok(());
        }
        Err(Reason::Platform(tags.join(" ")))
    }
}

/// The text of a file that need not exist.
fn present(text: io::Result<String>) -> Result<Option<String>, Reason> {
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(_) => Err(Reason::Unreadable),
    }
}
