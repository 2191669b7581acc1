//! System packages: a request's `system_dependencies`, installed by apt where they are not there already.
//!
//! What is satisfied costs one `stat`: lists of names that were seen installed are remembered until dpkg's
//! database changes. Otherwise `dpkg-query` is asked, and only then apt-get, one installation at a time.
//!
//! ```text
//!  names ─ parse ─▶ remembered? ─no─▶ dpkg-query ─missing─▶ lock ─▶ [update] nala or apt-get ─▶ report
//!                      │ yes             │ all there                     └─ stale lists, interrupted dpkg: once more
//!                      ▼                 ▼
//!                    nothing to do: nothing is said
//! ```

mod apt;
mod compiler;
mod error;
mod installed;
mod name;
mod tool;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::info;

use crate::interpreter::on_path;
use crate::subprocess::LineObserver;
use apt::Apt;
pub use compiler::is_missing_python_header;
pub use error::SystemError;
use installed::InstalledPackages;
use name::PackageName;
pub use tool::Tool;

/// Names in a report before it counts the rest.
const NAMED_PACKAGES: usize = 3;

/// The system packages of this machine: one for the whole worker.
#[derive(Debug)]
pub struct SystemPackages {
    path: String,
    root: PathBuf,
    is_root: bool,
    deadline: Duration,
    satisfied: Mutex<Satisfied>,
    /// Held by whoever installs.
    installing: tokio::sync::Mutex<()>,
}

/// Names that were seen installed, for as long as dpkg's database stays as it was.
#[derive(Debug, Default)]
struct Satisfied {
    database: Option<SystemTime>,
    names: HashSet<Names>,
}

type Names = BTreeSet<PackageName>;

/// A package with its version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name, without architecture.
    pub name: String,
    /// Its version as Debian writes it, such as `7:5.1.6-0+deb12u1`.
    pub version: String,
}

/// An installation that was made. As text: what a person wants to know of it.
#[derive(Debug, Clone)]
pub struct Installation {
    /// What is there now that was not before: first what was asked for, then the rest by name.
    pub packages: Vec<Package>,
    /// `apt` or `nala`.
    pub program: &'static str,
    /// How long it took, waiting for others included.
    pub elapsed: Duration,
}

impl SystemPackages {
    /// `path` is the `PATH` to find apt-get on; `deadline` holds for one installation.
    pub fn new(path: impl Into<String>, deadline: Duration) -> Self {
        Self {
            path: path.into(),
            root: PathBuf::from("/"),
            is_root: rustix::process::geteuid().is_root(),
            deadline,
            satisfied: Mutex::default(),
            installing: tokio::sync::Mutex::default(),
        }
    }

    /// Makes sure that all of `names` are installed; `None` if they were. `report` is told what a person may
    /// want to know, as it happens. Dropping the future kills apt-get; what it leaves half-way is finished by the
    /// next installation.
    pub async fn ensure(
        &self,
        names: &[String],
        accelerate: bool,
        report: LineObserver<'_>,
    ) -> Result<Option<Installation>, SystemError> {
        let wanted = names.iter().map(|name| PackageName::parse(name)).collect::<Result<Names, _>>()?;
        let database = self.database();
        if wanted.is_empty() || self.is_remembered(&wanted, database) {
            return Ok(None);
        }
        if self.installed().await?.lacks(&wanted).is_empty() {
            self.remember(wanted, database);
            return Ok(None);
        }
        let started = Instant::now();
        let _alone = self.installing.lock().await;
        // Whoever had the lock before may have installed it.
        let (before, database) = (self.installed().await?, self.database());
        let missing = before.lacks(&wanted);
        if missing.is_empty() {
            self.remember(wanted, database);
            return Ok(None);
        }
        let program = self.install(&missing, accelerate, report).await?;
        let mut packages = self.installed().await?.since(&before);
        packages.sort_by_key(|package| !missing.iter().any(|name| name.name == package.name));
        let installation = Installation { packages, program, elapsed: started.elapsed() };
        let milliseconds = u64::try_from(installation.elapsed.as_millis()).unwrap_or(u64::MAX);
        info!(
            packages = installation.packages.len(),
            program,
            elapsed_ms = milliseconds,
            "system packages installed"
        );
        report(&installation.to_string());
        self.remember(wanted, self.database());
        Ok(Some(installation))
    }

    /// Makes sure that a tool is there that something was found to need. `None` means that it was there, so that
    /// trying again is of no use.
    pub async fn ensure_tool(
        &self,
        tool: Tool,
        report: LineObserver<'_>,
    ) -> Result<Option<Installation>, SystemError> {
        self.ensure(&[tool.package().to_owned()], false, report).await
    }

    async fn install(
        &self,
        names: &[&PackageName],
        accelerate: bool,
        report: LineObserver<'_>,
    ) -> Result<&'static str, SystemError> {
        let listed = || names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let Some(apt) = Apt::find(&self.path, &self.root, self.deadline) else {
            return Err(SystemError::NoApt { names: listed() });
        };
        if !self.is_root {
            return Err(SystemError::NotRoot { names: listed() });
        }
        apt.install(names, accelerate, report)
            .await
            .map_err(|source| SystemError::of_installation(listed(), source, &self.root))
    }

    /// Without dpkg-query, nothing is.
    async fn installed(&self) -> Result<InstalledPackages, SystemError> {
        match on_path(&self.path, Path::new("dpkg-query")) {
            Some(program) => InstalledPackages::query(&program).await.map_err(SystemError::Query),
            None => Ok(InstalledPackages::default()),
        }
    }

    /// When dpkg's database was last written.
    fn database(&self) -> Option<SystemTime> {
        self.root.join("var/lib/dpkg/status").metadata().and_then(|metadata| metadata.modified()).ok()
    }

    fn is_remembered(&self, names: &Names, database: Option<SystemTime>) -> bool {
        let satisfied = self.satisfied.lock().unwrap_or_else(PoisonError::into_inner);
        database.is_some() && satisfied.database == database && satisfied.names.contains(names)
    }

    /// `database` is from before the names were seen: what changed since then is looked at again.
    fn remember(&self, names: Names, database: Option<SystemTime>) {
        let mut satisfied = self.satisfied.lock().unwrap_or_else(PoisonError::into_inner);
        if satisfied.database != database {
            *satisfied = Satisfied { database, names: HashSet::new() };
        }
        satisfied.names.insert(names);
    }
}

impl InstalledPackages {
    fn lacks<'n>(&self, names: &'n Names) -> Vec<&'n PackageName> {
        names.iter().filter(|name| !self.satisfies(name)).collect()
    }
}

impl fmt::Display for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)
    }
}

impl fmt::Display for Installation {
    /// `installed libsndfile1 1.2.0-1 and 3 more by apt in 4.1 s`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = self.packages.iter().take(NAMED_PACKAGES).map(ToString::to_string).collect();
        write!(formatter, "installed {}", named.join(", "))?;
        if let more @ 1.. = self.packages.len() - named.len() {
            write!(formatter, " and {more} more")?;
        }
        write!(formatter, " by {} in {:.1} s", self.program, self.elapsed.as_secs_f32())
    }
}

#[cfg(test)]
mod tests;
