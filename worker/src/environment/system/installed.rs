//! Which packages are installed: one run of `dpkg-query`, which takes 8 ms for 700 packages.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::Package;
use super::name::{PackageName, Selection};
use crate::subprocess::{Subprocess, SubprocessError};

/// A line for each package. The status is three letters: what is wanted, what it is, and whether it is broken.
const FORMAT: &str =
    "--showformat=${Package}\\t${Architecture}\\t${db:Status-Abbrev}\\t${Version}\\t${Provides}\\n";

/// The packages that are installed and whole.
#[derive(Debug, Default)]
pub(super) struct InstalledPackages {
    /// Versions and architectures by name: there can be several of one name.
    packages: HashMap<String, Vec<Installed>>,
    /// Names under which installed packages are known as well, such as `libglib2.0-0` for `libglib2.0-0t64`.
    provided: HashSet<String>,
    native_architecture: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Installed {
    architecture: String,
    version: String,
}

impl InstalledPackages {
    /// Asks `dpkg-query`.
    pub(super) async fn query(dpkg_query: &Path) -> Result<Self, SubprocessError> {
        let output = Subprocess::new(dpkg_query).arguments(["--show", FORMAT]).run().await?;
        Ok(Self::parse(&output.stdout))
    }

    fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, architecture, status, version, provides] = fields[..] else { continue };
            if status.as_bytes().get(1..) != Some(b"i ") {
                continue; // removed, or left half-way by an installation that was killed
            }
            if name == "dpkg" {
                architecture.clone_into(&mut all.native_architecture);
            }
            // `name (= version), name, ...`
            let provided = provides.split(',').filter_map(|one| one.split_whitespace().next());
            all.provided.extend(provided.map(str::to_owned));
            let installed = Installed { architecture: architecture.to_owned(), version: version.to_owned() };
            all.packages.entry(name.to_owned()).or_default().push(installed);
        }
        all
    }

    /// Whether apt-get would have nothing to do for `wanted`. False where only apt can tell: which release a
    /// version is from, what a pattern matches.
    pub(super) fn satisfies(&self, wanted: &PackageName) -> bool {
        let version = match &wanted.selection {
            Selection::Any => None,
            Selection::Version(version) if !version.contains('*') => Some(version),
            Selection::Version(_) | Selection::Release(_) => return false,
        };
        let architecture = wanted.architecture.as_ref().unwrap_or(&self.native_architecture);
        let is_it = |installed: &Installed| {
            (installed.architecture == *architecture || installed.architecture == "all")
                && version.is_none_or(|version| installed.version == *version)
        };
        let is_plain = version.is_none() && wanted.architecture.is_none();
        self.packages.get(&wanted.name).is_some_and(|installed| installed.iter().any(is_it))
            || is_plain && self.provided.contains(&wanted.name)
    }

    /// What is in here but not in `before`, sorted by name.
    pub(super) fn since(&self, before: &Self) -> Vec<Package> {
        let is_new = |name: &str, installed: &Installed| {
            !before.packages.get(name).is_some_and(|versions| versions.contains(installed))
        };
        let all =
            self.packages.iter().flat_map(|(name, versions)| versions.iter().map(move |one| (name, one)));
        let mut new: Vec<Package> = all
            .filter(|(name, installed)| is_new(name, installed))
            .map(|(name, installed)| Package { name: name.clone(), version: installed.version.clone() })
            .collect();
        new.sort();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
dpkg\tamd64\tii \t1.22.6ubuntu6\t
libc6\tamd64\tii \t2.39-0ubuntu8\tlibc6-2.39
libc6\ti386\tii \t2.39-0ubuntu8\t
tzdata\tall\tii \t2024a-3ubuntu1\ttzdata-legacy-compat
libglib2.0-0t64\tamd64\tii \t2.80.0-6ubuntu3\tlibglib2.0-0 (= 2.80.0-6ubuntu3), glib-runtime
git\tamd64\thi \t1:2.43.0-1ubuntu7\t
removed\tamd64\trc \t1.0\t
unpacked\tamd64\tiU \t1.0\t
broken\tamd64\tiiR\t1.0\t
foreign\ti386\tii \t1.0\t
";

    fn is_satisfied(name: &str) -> bool {
        InstalledPackages::parse(LISTED).satisfies(&PackageName::parse(name).unwrap())
    }

    #[test]
    fn what_is_installed_satisfies_in_its_version_and_architecture() {
        for name in [
            "git",
            "git=1:2.43.0-1ubuntu7",
            "libc6:i386",
            "libc6:amd64=2.39-0ubuntu8",
            "tzdata",
            "tzdata:amd64",
            "foreign:i386",
            "libglib2.0-0t64",
        ] {
            assert!(is_satisfied(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_an_installed_package_provides_satisfies() {
        assert!(is_satisfied("libglib2.0-0") && is_satisfied("glib-runtime"));
        assert!(
            !is_satisfied("libglib2.0-0=2.80.0-6ubuntu3"),
            "versions of provided names are apt's business"
        );
    }

    #[test]
    fn what_is_not_whole_or_not_this_does_not_satisfy() {
        for name in [
            "removed",
            "unpacked",
            "broken",
            "unknown",
            "foreign",
            "git=1:2.43.0",
            "git=1:2.*",
            "git/noble",
            "libc6:arm64",
        ] {
            assert!(!is_satisfied(name), "{name}");
        }
    }

    #[test]
    fn the_difference_is_what_was_installed_or_changed() {
        let before = InstalledPackages::parse(LISTED);
        let after = LISTED.replace("2024a-3ubuntu1", "2024b-1").replace("\trc ", "\tii ");
        let new = InstalledPackages::parse(&after).since(&before);
        assert_eq!(
            new.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["removed 1.0", "tzdata 2024b-1"]
        );
        assert_eq!(before.since(&before), []);
    }
}
