//! Why system packages are not there, in words for whoever asked for them.

use std::path::Path;

use super::apt::unknown_packages;
use crate::subprocess::SubprocessError;

/// Why system packages could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// It is no package's name.
    #[error(
        "`{name}` in system_dependencies is not the name of a Debian package\nhint: write `name`, `name=version`, `name/release` or `name:architecture`; Python packages go to dependencies"
    )]
    BadName {
        /// What was asked for, with control characters escaped.
        name: String,
    },
    /// The image is not Debian's or Ubuntu's. 2.x clients know the sentence.
    #[error(
        "system dependencies {names:?} requested but apt-get is not available in this image\nhint: use an image made from Debian or Ubuntu, or one that has them"
    )]
    NoApt {
        /// What is missing.
        names: Vec<String>,
    },
    /// The worker is not root.
    #[error(
        "system dependencies {names:?} requested but the worker is not root\nhint: run it as root, or use an image that has them"
    )]
    NotRoot {
        /// What is missing.
        names: Vec<String>,
    },
    /// The distribution has no such package.
    #[error(
        "system dependencies {names:?} are not in this image's package sources\nhint: names differ between releases, and this is {release}"
    )]
    Unknown {
        /// What there is none of.
        names: Vec<String>,
        /// The image's distribution.
        release: String,
        /// What apt-get said.
        #[source]
        source: SubprocessError,
    },
    /// It took too long.
    #[error(
        "system dependencies {names:?} could not be installed in time\nhint: allow more with FARCALL_INSTALL_TIMEOUT_S, or use an image that has them"
    )]
    TimedOut {
        /// What was to be installed.
        names: Vec<String>,
        /// The command that did not end.
        #[source]
        source: SubprocessError,
    },
    /// There is no room for them.
    #[error(
        "system dependencies {names:?} could not be installed\nhint: the disk is full: give the worker a larger one"
    )]
    DiskFull {
        /// What was to be installed.
        names: Vec<String>,
        /// What was said of it.
        #[source]
        source: SubprocessError,
    },
    /// It failed for another reason.
    #[error("system dependencies {names:?} could not be installed")]
    Install {
        /// What was to be installed.
        names: Vec<String>,
        /// The reason.
        #[source]
        source: SubprocessError,
    },
    /// Nobody knows what is installed.
    #[error("the installed system packages cannot be listed")]
    Query(#[source] SubprocessError),
}

impl SystemError {
    /// Sorts the failure of an installation; `root` is where the image's `etc` is.
    pub(super) fn of_installation(names: Vec<String>, source: SubprocessError, root: &Path) -> Self {
        let unknown = unknown_packages(&source);
        if matches!(source, SubprocessError::TimedOut { .. }) {
            Self::TimedOut { names, source }
        } else if source.is_disk_full() {
            Self::DiskFull { names, source }
        } else if !unknown.is_empty() {
            Self::Unknown { names: unknown, release: release(root), source }
        } else {
            Self::Install { names, source }
        }
    }
}

/// `Debian GNU/Linux 12 (bookworm)`
fn release(root: &Path) -> String {
    let text = std::fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "an unnamed release".to_owned(), |name| name.trim_matches('"').to_owned())
}
