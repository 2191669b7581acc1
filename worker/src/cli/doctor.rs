//! `farcall doctor`: what the worker finds on this machine, each fact tried rather than looked up.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::CommandError;
use super::case::plain_result;
use super::ready;
use super::terminal::{Terminal, Tone, indent};
use crate::config::Config;
use crate::environment;
use crate::fitness::check_fitness;
use crate::interpreter::{Interpreter, on_path};
use crate::job::{Job, with_causes};
use crate::runner::pool::PoolSize;
use crate::subprocess::Subprocess;
use crate::supervisor::Supervisor;

/// For commands that answer at once or hang.
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Ask only whether the worker that runs here is ready: exit code 0 if it is, 1 if not
    #[arg(long)]
    ready: bool,
    /// Write one JSON object to standard output, and nothing else
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// The worker runs, with something missing.
    Missing,
    /// The worker cannot run.
    Failed,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into() }
    }

    fn missing(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Missing, found: found.into() }
    }

    fn failed(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, found: found.into() }
    }
}

pub(super) async fn run(
    options: &Options,
    config: &Config,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    if options.ready {
        return ready::run(options.json, *terminal);
    }
    let (mut checks, mut executable) = (Vec::new(), None);
    match Interpreter::find(config).await {
        Err(error) => checks.push(Check::failed("interpreter", with_causes(&error))),
        Ok(interpreter) => {
            executable = Some(interpreter.executable.clone());
            let found = format!("CPython {} at {}", interpreter.version, interpreter.executable.display());
            checks.push(Check::ok("interpreter", found));
            checks.push(libpython(&interpreter));
            checks.extend(runner(config, interpreter).await);
        }
    }
    checks.push(uv(config, executable.as_deref()).await);
    checks.push(apt(config));
    checks.extend(check_fitness(config).await.into_iter().map(|check| match check.result {
        Ok(found) => Check::ok(check.name, found),
        // Only a queue worker refuses to start for it.
        Err(reason) => {
            let (reason, more) = reason.split_at(reason.find('\n').unwrap_or(reason.len()));
            Check::missing(check.name, format!("{reason}: a queue worker would take no jobs{more}"))
        }
    }));
    if checks.iter().all(|check| check.name != "gpu") {
        checks.push(Check::missing("gpu", "none found"));
    }
    checks.push(cache(config));

    let can_run = checks.iter().all(|check| check.verdict != Verdict::Failed);
    if options.json {
        terminal.line(&serde_json::to_string(&json!({"ok": can_run, "checks": checks}))?);
    } else {
        checks.iter().for_each(|check| show(check, *terminal));
        let summary = if can_run { "the worker can run" } else { "the worker cannot run" };
        terminal.line(&terminal.paint(if can_run { Tone::Good } else { Tone::Bad }, summary));
    }
    Ok(u8::from(!can_run).into())
}

fn show(check: &Check, terminal: Terminal) {
    let (mark, tone) = match check.verdict {
        Verdict::Ok => ("✓", Tone::Good),
        Verdict::Missing => ("-", Tone::Warning),
        Verdict::Failed => ("✗", Tone::Bad),
    };
    let (first, rest) = check.found.split_once('\n').unwrap_or((&check.found, ""));
    terminal.line(&format!("{} {:12} {first}", terminal.paint(tone, mark), check.name));
    if !rest.is_empty() {
        terminal.line(&indent(rest, 15));
    }
}

fn libpython(interpreter: &Interpreter) -> Check {
    match &interpreter.libpython {
        Some(library) => Check::ok("libpython", library.display().to_string()),
        None => Check::ok("libpython", "no shared library: runners start as the interpreter itself"),
    }
}

/// Runs a real function, and asks it for cloudpickle.
async fn runner(config: &Config, interpreter: Interpreter) -> Vec<Check> {
    const CODE: &str = "def version():\n    import cloudpickle\n    return cloudpickle.__version__\n";
    let call = |code: &str| {
        let request =
            json!({"function_name": "version", "function_code": code, "serialization_format": "json"});
        request.to_string()
    };
    let version = interpreter.version.clone();
    let size = PoolSize { concurrency: 1, spare: 0, kept: config.idle_runners, template: false };
    let supervisor = Supervisor::start(config, interpreter, size, None);
    let started = Instant::now();
    let response = supervisor.execute(Job::new("doctor", call("def version(): return 1"))).await;
    let response = response.into_response();
    if !response.success {
        let mut text = response.error.unwrap_or_default();
        let minor: Vec<&str> = version.splitn(3, '.').take(2).collect();
        text.push_str(&format!(
            "\nhint: does the interpreter's library match it? Debian has it in libpython{}",
            minor.join(".")
        ));
        return vec![Check::failed("runner", text)];
    }
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    let mut checks =
        vec![Check::ok("runner", format!("ran a function {milliseconds:.0} ms after its start"))];
    let response = supervisor.execute(Job::new("doctor", call(CODE))).await.into_response();
    checks.push(match plain_result(&response).and_then(|version| version.as_str().map(str::to_owned)) {
        Some(version) => Check::ok("cloudpickle", version),
        None => Check::missing(
            "cloudpickle",
            "not installed in the interpreter: only plain data can be sent back\nhint: pip install cloudpickle",
        ),
    });
    supervisor.stop().await;
    checks
}

async fn uv(config: &Config, interpreter: Option<&Path>) -> Check {
    let hint = "hint: pip install uv";
    let Some(path) = environment::uv::program(&config.path, interpreter) else {
        return Check::missing("uv", format!("not found: Python packages cannot be installed\n{hint}"));
    };
    match ask(&path, &["--version"]).await {
        Ok(version) => Check::ok("uv", format!("{} at {}", version.trim(), path.display())),
        Err(error) => Check::missing("uv", error),
    }
}

fn apt(config: &Config) -> Check {
    let is_root = rustix::process::geteuid().is_root();
    match on_path(&config.path, Path::new("apt-get")) {
        Some(path) if is_root => Check::ok("apt", path.display().to_string()),
        Some(_) => Check::missing("apt", "not root: system packages cannot be installed"),
        None => Check::missing("apt", "not found: system packages cannot be installed"),
    }
}

fn cache(config: &Config) -> Check {
    let directory = &config.cache_directory;
    let written = std::fs::create_dir_all(directory).and_then(|()| tempfile::tempfile_in(directory));
    match written {
        Ok(_) => Check::ok("cache", directory.display().to_string()),
        Err(error) => Check::missing(
            "cache",
            format!("`{}` cannot be written: {error}\nhint: set FARCALL_CACHE_DIR", directory.display()),
        ),
    }
}

async fn ask(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let command = Subprocess::new(program).arguments(arguments).deadline(DEADLINE);
    command.run().await.map(|output| output.stdout).map_err(|error| with_causes(&error))
}
