//! Running `apt-get`: when its lists have to be fetched, what of its failures can be cured, and how.
//!
//! Nothing here asks a question: answers come from debconf's defaults, changed configuration files stay as they
//! are. Another program that holds one of dpkg's locks is waited for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, warn};

use super::name::PackageName;
use crate::interpreter::on_path;
use crate::subprocess::{LineObserver, Subprocess, SubprocessError};

/// Lists of packages older than this are fetched again before anything is installed.
const LISTS_AGE: Duration = Duration::from_hours(24);

/// Lists younger than this are not fetched again because a package is not in them.
const LISTS_FRESH: Duration = Duration::from_mins(10);

/// How long to wait before trying again for a lock that apt-get itself does not wait for.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// Where maintainer scripts find their programs, for a worker whose `PATH` leaves them out.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What apt-get says when its lists are older than the archive, or were never fetched.
const STALE: [&str; 4] =
    ["Unable to locate package", "has no installation candidate", "was not found", "404  Not Found"];

/// What it says when an installation before it was killed half-way.
const INTERRUPTED: [&str; 2] = ["dpkg was interrupted", "Unmet dependencies"];

/// What it says when another program holds a lock.
const LOCKED: [&str; 2] = ["Could not get lock", "Unable to lock directory"];

/// The programs, and the time they have.
#[derive(Debug)]
pub(super) struct Apt {
    program: PathBuf,
    nala: Option<PathBuf>,
    dpkg: Option<PathBuf>,
    /// `PATH` for them.
    path: std::ffi::OsString,
    /// Where the lists of packages are.
    lists: PathBuf,
    ends: Instant,
}

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Refresh,
    Repair,
}

impl Apt {
    /// The programs on `path`, to end within `deadline` from now. None without apt-get.
    pub(super) fn find(path: &str, root: &Path, deadline: Duration) -> Option<Self> {
        let find = |name: &str| on_path(path, Path::new(name));
        let directories = std::env::split_paths(path).chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
        Some(Self {
            program: find("apt-get")?,
            nala: find("nala"),
            dpkg: find("dpkg"),
            path: std::env::join_paths(directories).unwrap_or_else(|_| path.into()),
            lists: root.join("var/lib/apt/lists"),
            ends: Instant::now() + deadline,
        })
    }

    /// Installs packages, by nala if `accelerate` and there is one. Returns which program did it.
    pub(super) async fn install(
        &self,
        names: &[&PackageName],
        accelerate: bool,
        report: LineObserver<'_>,
    ) -> Result<&'static str, SubprocessError> {
        let mut refreshed = self.lists_age().is_none_or(|age| age > LISTS_AGE);
        let mut refresh = if refreshed { self.refresh(report).await } else { Ok(()) };
        if accelerate && names.len() > 1 && self.by_nala(names).await {
            return Ok("nala");
        }
        let mut repaired = false;
        loop {
            let Err(error) = self.by_apt_get(names).await else { return Ok("apt") };
            match remedy(&error) {
                Some(Remedy::Refresh)
                    if !refreshed && self.lists_age().is_none_or(|age| age > LISTS_FRESH) =>
                {
                    refreshed = true;
                    refresh = self.refresh(report).await;
                }
                // That the lists could not be fetched is the reason, not that the package is not in them.
                Some(Remedy::Refresh) => return Err(refresh.err().unwrap_or(error)),
                Some(Remedy::Repair) if !repaired => {
                    repaired = true;
                    self.repair(report).await?;
                }
                Some(Remedy::Repair) | None => return Err(error),
            }
        }
    }

    /// How long ago the lists were fetched, judged by the directory that every update writes to: the lists
    /// themselves are as old as the archive says. None if there are none, as in most images.
    fn lists_age(&self) -> Option<Duration> {
        let is_list = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().contains("_Packages");
        if !std::fs::read_dir(&self.lists).ok()?.flatten().any(is_list) {
            return None;
        }
        let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
        let updated = modified(&self.lists.join("partial")).max(modified(&self.lists))?;
        Some(SystemTime::now().duration_since(updated).unwrap_or_default())
    }

    async fn refresh(&self, report: LineObserver<'_>) -> Result<(), SubprocessError> {
        report("fetching apt's lists of packages");
        // One source of many that cannot be reached counts: apt-get would only warn.
        let arguments = ["update", "-o", "APT::Update::Error-Mode=any"];
        let result = self.apt_get(arguments.map(str::to_owned)).await;
        result.inspect_err(|error| warn!(%error, "apt's lists of packages could not be fetched"))
    }

    async fn by_apt_get(&self, names: &[&PackageName]) -> Result<(), SubprocessError> {
        let options = [
            "install",
            "--yes",
            "--no-install-recommends",
            "-o",
            "Dpkg::Options::=--force-confdef",
            "-o",
            "Dpkg::Options::=--force-confold",
            // A name that does not exist is not tried as a regular expression.
            "-o",
            "APT::Cmd::Pattern-Only=true",
        ];
        let names = names.iter().map(ToString::to_string);
        self.apt_get(options.map(str::to_owned).into_iter().chain(names)).await
    }

    /// Whether nala did it. It loads in parallel, which pays for several packages; whatever its failure,
    /// apt-get tells the reason better.
    async fn by_nala(&self, names: &[&PackageName]) -> bool {
        let Some(nala) = &self.nala else { return false };
        let options = ["install", "--assume-yes", "--no-install-recommends", "--no-update", "--simple"];
        let names = names.iter().map(ToString::to_string);
        let command = self.command(nala).arguments(options).arguments(names);
        let result = command.run_telling(&|line| debug!(line, "nala")).await;
        result.inspect_err(|error| warn!(%error, "nala failed: trying apt-get")).is_ok()
    }

    /// Finishes what an installation that was killed has left.
    async fn repair(&self, report: LineObserver<'_>) -> Result<(), SubprocessError> {
        report("finishing an installation of system packages that was interrupted");
        if let Some(dpkg) = &self.dpkg {
            let command = self.command(dpkg).arguments(["--configure", "--pending", "--force-confdef"]);
            // What it could not configure may lack a package, which the next command brings.
            let _ = command.arguments(["--force-confold"]).run_telling(&|line| debug!(line, "dpkg")).await;
        }
        let options = ["install", "--fix-broken", "--yes", "--no-install-recommends"];
        self.apt_get(options.map(str::to_owned)).await
    }

    async fn apt_get(&self, arguments: impl IntoIterator<Item = String>) -> Result<(), SubprocessError> {
        let common = ["-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3", "-o"];
        let lock_timeout = format!("DPkg::Lock::Timeout={}", self.time_left().as_secs());
        let command =
            self.command(&self.program).arguments(arguments).arguments(common).arguments([lock_timeout]);
        loop {
            // It waits for dpkg's lock, but not for that of the lists.
            let result =
                command.clone().deadline(self.time_left()).run_telling(&|line| debug!(line, "apt-get")).await;
            match result {
                Err(error @ SubprocessError::Failed { .. }) if says(&error, &LOCKED) => {
                    debug!(%error, "waiting for apt's lock");
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                result => return result.map(|_| ()),
            }
        }
    }

    fn command(&self, program: &Path) -> Subprocess {
        let command = Subprocess::new(program).deadline(self.time_left()).variable("PATH", &self.path);
        // Their texts are read by `remedy`; the variables of user code's Python are not for Debian's.
        let command = command.variable("DEBIAN_FRONTEND", "noninteractive").variable("LC_ALL", "C.UTF-8");
        ["PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"].into_iter().fold(command, Subprocess::without_variable)
    }

    fn time_left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

fn remedy(error: &SubprocessError) -> Option<Remedy> {
    if says(error, &INTERRUPTED) {
        Some(Remedy::Repair)
    } else if says(error, &STALE) {
        Some(Remedy::Refresh)
    } else {
        None
    }
}

fn says(error: &SubprocessError, texts: &[&str]) -> bool {
    let Some(output) = error.output() else { return false };
    texts.iter().any(|text| output.stderr.contains(text) || output.stdout.contains(text))
}

/// The packages that apt-get says it does not know.
pub(super) fn unknown_packages(error: &SubprocessError) -> Vec<String> {
    let Some(output) = error.output() else { return Vec::new() };
    let named = |line: &str| {
        let line = line.strip_prefix("E: ")?;
        let name = line.strip_prefix("Unable to locate package ").or_else(|| {
            let (name, rest) = line.strip_prefix("Package '")?.split_once('\'')?;
            (rest == " has no installation candidate").then_some(name)
        });
        name.map(|name| name.trim().to_owned())
    };
    let mut names: Vec<String> = output.stderr.lines().filter_map(named).collect();
    names.dedup();
    names
}
