//! Names of system packages, parsed before anything is run with them.
//!
//! The form is that of `apt-get install`, `name[:architecture][=version]` or `name[:architecture][/release]`, with
//! names as Debian's policy has them (section 5.6.7). What apt-get would take for something else is refused: an
//! option, a pattern, or a name that ends in `-`, which would *remove* that package.

use std::fmt;

use super::SystemError;

/// A package as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PackageName {
    pub(super) name: String,
    pub(super) architecture: Option<String>,
    pub(super) selection: Selection,
}

/// Which version of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Selection {
    /// Whichever apt prefers, or is there.
    Any,
    /// This one; a `*` stands for anything.
    Version(String),
    /// That of a release, such as `bookworm-backports`.
    Release(String),
}

impl PackageName {
    pub(super) fn parse(text: &str) -> Result<Self, SystemError> {
        Self::split(text.trim()).ok_or_else(|| SystemError::BadName { name: text.escape_debug().to_string() })
    }

    fn split(text: &str) -> Option<Self> {
        if text.ends_with('-') {
            return None;
        }
        let (name, selection) = if let Some((name, version)) = text.split_once('=') {
            (name, Selection::Version(word(version, ".+~:-*")?))
        } else if let Some((name, release)) = text.split_once('/') {
            (name, Selection::Release(word(release, ".+~-_")?))
        } else {
            (text, Selection::Any)
        };
        let (name, architecture) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(word(architecture, "-")?)),
            None => (name, None),
        };
        let is_lower = |text: &str| !text.contains(|character: char| character.is_ascii_uppercase());
        if name.len() < 2 || !is_lower(name) || !architecture.as_deref().is_none_or(is_lower) {
            return None;
        }
        Some(Self { name: word(name, "+.-")?, architecture, selection })
    }
}

/// `text`, if it begins with a letter or digit and holds only those and the given marks.
fn word(text: &str, marks: &str) -> Option<String> {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || marks.contains(character);
    let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    (begins_well && text.chars().all(is_allowed)).then(|| text.to_owned())
}

impl fmt::Display for PackageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if let Some(architecture) = &self.architecture {
            write!(formatter, ":{architecture}")?;
        }
        match &self.selection {
            Selection::Any => Ok(()),
            Selection::Version(version) => write!(formatter, "={version}"),
            Selection::Release(release) => write!(formatter, "/{release}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_get_takes_as_a_package_is_accepted_as_it_is() {
        for text in [
            "ffmpeg",
            "libgl1",
            "g++",
            "libstdc++6",
            "7zip",
            "python3.11-dev",
            "libc6:i386",
            "git=1:2.39.2-1.1",
            "cuda-toolkit-12-4=12.4.*",
            "libc6:amd64=2.36-9+deb12u10",
            "curl/bookworm-backports",
        ] {
            assert_eq!(PackageName::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(PackageName::parse(" ffmpeg\n").unwrap().to_string(), "ffmpeg");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "a",
            "-y",
            "--allow-downgrades",
            "-oDpkg::Pre-Invoke::=id",
            "libc6-",
            "libc6=2.36-",
            "libc6:amd64-",
            "FFmpeg",
            "ffmpeg;id",
            "ffmpeg git",
            "$(id)",
            "`id`",
            "ffmpeg\ngit",
            "lib*",
            "^lib",
            "task^",
            "?essential",
            "~i",
            "./local.deb",
            "/tmp/local.deb",
            "numpy>=1.0",
            "numpy==1.26",
            "ffmpeg=",
            "ffmpeg/",
            "ffmpeg=1/stable",
            "ffmpeg:",
            "ffmpég",
        ] {
            assert!(PackageName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_names_the_name() {
        insta::assert_snapshot!(PackageName::parse("-y\u{7}").unwrap_err(), @r"
        `-y\u{7}` in system_dependencies is not the name of a Debian package
        hint: write `name`, `name=version`, `name/release` or `name:architecture`; Python packages go to dependencies
        ");
    }
}
