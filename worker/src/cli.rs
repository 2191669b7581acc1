//! The command line: arguments, configuration, exit codes.

mod cancel;
mod case;
mod doctor;
mod env;
mod jobs;
mod logs;
mod progress;
mod ready;
mod remote;
mod run;
mod runner;
mod serve;
mod terminal;
mod test_handler;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::job::with_causes;
use crate::telemetry;
use terminal::Terminal;

/// The input or the configuration is unusable (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// A fault of farcall itself (`EX_SOFTWARE`).
const EXIT_INTERNAL: u8 = 70;
/// Runners cannot be kept alive, or an endpoint cannot be reached; another try may help (`EX_TEMPFAIL`).
const EXIT_UNAVAILABLE: u8 = 75;

const AFTER_HELP: &str = "\
Examples:
  farcall doctor                              check that this machine can run functions
  farcall doctor --ready                      ask the worker that runs here whether it is ready
  farcall test-handler examples               run every request in a directory
  farcall test-handler request.json --json    run one, with a machine-readable answer
  farcall serve                               be an endpoint: queue, API, page
  farcall run code.py::add --args '[1, 2]'    run a function on it, and show what it prints
  farcall env list                            list the environments of installed packages

The interpreter is FARCALL_PYTHON, the active virtual environment's, or python3 on PATH.
Variables are described in docs/configuration.md.";

/// Run Python functions and classes as a serverless worker does.
#[derive(Debug, Parser)]
#[command(name = "farcall", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run requests from files and check what they answer
    TestHandler(test_handler::Options),
    /// Check what the worker finds on this machine and whether it can run functions
    Doctor(doctor::Options),
    /// List, show or remove the environments that packages were installed into
    Env(env::Options),
    /// Serve requests until told to stop
    Serve(serve::Options),
    /// Run a function or a method of a file on an endpoint
    Run(run::Options),
    /// List the jobs of an endpoint
    Jobs(jobs::Options),
    /// Show what a job has printed
    Logs(logs::Options),
    /// Cancel jobs
    Cancel(cancel::Options),
    /// Become a runner (started by the supervisor, never by hand)
    #[command(hide = true)]
    Runner(runner::Options),
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not failures.
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            let _ = error.print();
            return code.into();
        }
    };
    if let Command::Runner(options) = arguments.command {
        // Reads no configuration and starts no runtime: it is about to become a Python interpreter.
        return runner::run(options);
    }
    let terminal = Terminal::new();
    let config = match Config::from_environment() {
        Ok(config) => config,
        Err(error) => return terminal.fail(EXIT_USAGE, &error.to_string()),
    };
    let quiet = if matches!(arguments.command, Command::Serve(_)) { "info" } else { "warn" };
    let level = config.log_level.as_deref().unwrap_or(quiet);
    if let Err(error) = telemetry::start(level, config.logs_as_json) {
        let text = format!("FARCALL_LOG_LEVEL={level:?} is not a log level: {error}");
        return terminal.fail(EXIT_USAGE, &text);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return terminal.fail(EXIT_INTERNAL, &format!("cannot start: {error}")),
    };
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Serve(options) => serve::run(options, &config).await,
            Command::Run(options) => run::run(options, &config, &terminal).await,
            // Those two see to signals themselves.
            command => tokio::select! {
                result = run_command(command, &config, terminal) => result,
                code = ended_by_signal() => Ok(code),
            },
        }
    });
    result.unwrap_or_else(|error| terminal.fail(error.code, &error.text))
}

async fn run_command(
    command: Command,
    config: &Config,
    terminal: Terminal,
) -> Result<ExitCode, CommandError> {
    match command {
        Command::TestHandler(options) => test_handler::run(options, config, &terminal).await,
        Command::Doctor(options) => doctor::run(&options, config, &terminal).await,
        Command::Env(options) => env::run(&options, config, terminal),
        Command::Jobs(options) => jobs::run(&options, config, &terminal).await,
        Command::Logs(options) => logs::run(&options, config, &terminal).await,
        Command::Cancel(options) => cancel::run(&options, config, &terminal).await,
        Command::Serve(_) | Command::Run(_) | Command::Runner(_) => unreachable!("handled before"),
    }
}

/// Waits for a signal that ends a command. As process 1 of a container it has to see to that itself: the kernel
/// ignores what such a process does not handle.
async fn ended_by_signal() -> ExitCode {
    let is_first = std::process::id() == 1;
    let listen = |kind| if is_first { signal(kind).ok() } else { None };
    let (Some(mut terminate), Some(mut interrupt)) =
        (listen(SignalKind::terminate()), listen(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => (128 + 15).into(),
        _ = interrupt.recv() => (128 + 2).into(),
    }
}

/// What ends a command: an exit code and the text that explains it.
#[derive(Debug)]
struct CommandError {
    code: u8,
    text: String,
}

impl CommandError {
    fn usage(text: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, text: text.into() }
    }
}

impl<E: std::error::Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self { code: EXIT_USAGE, text: with_causes(&error) }
    }
}
