//! uv: found, asked what it would install, and told to install it.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug;

use super::InstallError;
use super::flight::Announcer;
use super::index::IndexSettings;
use super::requirement::redact;
use crate::interpreter::on_path;
use crate::subprocess::{CommandOutput, Subprocess, SubprocessError};

/// The first version whose scripts find their environment after it was moved (`relocatable` in `pyvenv.cfg`).
const OLDEST: (u32, u32) = (0, 4);

/// uv, with the settings of this worker.
#[derive(Debug)]
pub(super) struct Uv {
    program: PathBuf,
    settings: IndexSettings,
    /// Where it is to keep its cache, if not where it does by itself.
    cache: Option<PathBuf>,
}

/// How a set of packages is to be installed, and who is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode<'a> {
    /// Several downloads at a time, and uv's own order of indexes. Otherwise one connection, and pip's.
    pub(super) accelerate: bool,
    /// When all of it has to be done.
    pub(super) end: Instant,
    pub(super) announcer: &'a Announcer,
}

/// What is installed into, or asked about.
#[derive(Debug)]
pub(super) struct Target {
    /// Its interpreter.
    pub(super) python: PathBuf,
    /// A lock that uv keeps for as long as it writes.
    pub(super) lock: Option<Arc<File>>,
}

/// Where uv is: on `path`, beside the interpreter, or beside this program.
pub fn program(path: &str, interpreter: Option<&Path>) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside =
        [interpreter, own.as_deref()].into_iter().flatten().map(|program| program.with_file_name("uv"));
    on_path(path, Path::new("uv")).or_else(|| beside.into_iter().find(|program| program.is_file()))
}

impl Uv {
    /// Finds uv, which will install into directories below `target`.
    pub(super) async fn find(
        path: &str,
        interpreter: &Path,
        settings: IndexSettings,
        target: &Path,
    ) -> Result<Self, InstallError> {
        let program = program(path, Some(interpreter)).ok_or(InstallError::NoUv)?;
        let answer = Subprocess::new(&program).arguments(["--version"]).run().await;
        let version = answer.map_err(InstallError::Uv)?.stdout;
        let numbers = version.split_whitespace().nth(1).unwrap_or_default();
        let mut numbers = numbers.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
            return Err(InstallError::OldUv { program, version: version.trim().to_owned() });
        }
        debug!(program = %program.display(), version = version.trim(), "uv found");
        Ok(Self { program, settings, cache: cache_beside(target) })
    }

    /// What uv says would have to be installed into `python` for `requirements`, with `constraints` (a file) kept.
    pub(super) async fn plan(
        &self,
        python: &Path,
        requirements: &[String],
        constraints: Option<&Path>,
        mode: Mode<'_>,
    ) -> Result<String, InstallError> {
        // Nothing is installed by this, so a system's interpreter may be asked as well.
        let mut arguments: Vec<OsString> = vec!["--dry-run".into(), "--break-system-packages".into()];
        // Given here, uv does not look at its variable for them any more.
        for file in self.settings.constraints.iter().map(PathBuf::as_path).chain(constraints) {
            arguments.extend(["--constraint".into(), file.into()]);
        }
        let target = Target { python: python.to_owned(), lock: None };
        let output = self.install(&target, arguments, requirements, mode).await?;
        Ok(output.stderr)
    }

    /// Installs exactly `pins`. Returns how many of them were not in uv's cache.
    pub(super) async fn install_pins(
        &self,
        target: &Target,
        pins: &[String],
        mode: Mode<'_>,
    ) -> Result<usize, InstallError> {
        let arguments = vec!["--no-deps".into()];
        let output = self.install(target, arguments, pins, mode).await?;
        let prepared = output.stderr.lines().find_map(|line| line.strip_prefix("Prepared "));
        Ok(prepared.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0))
    }

    async fn install(
        &self,
        target: &Target,
        arguments: Vec<OsString>,
        requirements: &[String],
        mode: Mode<'_>,
    ) -> Result<CommandOutput, InstallError> {
        let left = mode.end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let shown = format!("uv pip install {}", redact(&requirements.join(" ")));
        let mut command = Subprocess::new(&self.program)
            .arguments(["pip", "install", "--color", "never", "--no-progress", "--python"])
            .arguments([&target.python])
            .arguments(&self.settings.arguments)
            .arguments(arguments)
            .deadline(left)
            .shown_as(&shown)
            // The interpreter is ours to choose, and to keep.
            .without_variable("UV_SYSTEM_PYTHON")
            .without_variable("UV_PYTHON")
            .variable("UV_PYTHON_DOWNLOADS", "never")
            // Builds of packages run code of theirs.
            .without_variable("FARCALL_API_KEY");
        if let Some(lock) = &target.lock {
            command = command.holding(Arc::clone(lock));
        }
        for (name, value) in self.settings.variables() {
            command = command.variable(name, value);
        }
        if let Some(cache) = &self.cache {
            command = command.variable("UV_CACHE_DIR", cache);
        }
        if !mode.accelerate {
            command = command
                .variable("UV_CONCURRENT_DOWNLOADS", "1")
                .variable("UV_INDEX_STRATEGY", "unsafe-best-match");
        }
        let command = command.arguments(["--"]).arguments(requirements);
        let told = |line: &str| mode.announcer.say_at_debug(format!("uv: {}", redact(line)));
        command.run_telling(&told).await.map_err(|error| match error {
            SubprocessError::Failed { output, .. } => InstallError::Refused {
                requirements: requirements.iter().map(|one| redact(one)).collect(),
                output: redact(&output.stderr),
            },
            SubprocessError::TimedOut { .. } => InstallError::TimedOut { command: shown },
            error @ SubprocessError::Start { .. } => InstallError::Uv(error),
        })
    }
}

/// A directory for uv's cache beside `target`, where its own cannot be written, or is on another file system: hard
/// links, which take neither time nor space, do not reach across.
fn cache_beside(target: &Path) -> Option<PathBuf> {
    let directory = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if directory("UV_CACHE_DIR").is_some() {
        return None; // whoever set it knows why
    }
    let home = || directory("HOME").map(|home| home.join(".cache"));
    let own = directory("XDG_CACHE_HOME").or_else(home).map(|caches| caches.join("uv"));
    let beside = target.join("uv");
    let fits = own.is_some_and(|own| device(&own) == device(&beside) && is_writable(&own));
    (!fits).then_some(beside)
}

/// The file system that a path is on, or will be.
fn device(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;

    path.ancestors().find_map(|ancestor| Some(ancestor.metadata().ok()?.dev()))
}

/// Whether a path can be written to, or made.
fn is_writable(path: &Path) -> bool {
    let there = path.ancestors().find(|ancestor| ancestor.exists());
    there.is_some_and(|there| rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_ok())
}
