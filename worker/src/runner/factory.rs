//! Making runners: a fresh process, or a fork of a template.

mod starting;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, io};

use farcall_protocol::frame::{Role, Setup, ToRunner};
use tracing::debug;

use super::evidence::Evidence;
use super::gpus::Gpus;
use super::limits::{LimitSettings, Limits};
use super::template::Template;
use super::{Runner, Settings};
use crate::config::Config;
use crate::interpreter::Interpreter;
use crate::process::Process;
pub use starting::Sprout;
pub(super) use starting::TheirEnds;
use starting::{Connection, Starting};

/// What is needed to make runners of one interpreter.
#[derive(Debug, Clone)]
pub struct Factory {
    interpreter: Interpreter,
    max_instances: usize,
    start_timeout: Duration,
    limits: LimitSettings,
    settings: Settings,
}

/// Why there is no runner.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused the process or what it needs.
    #[error("cannot start a runner: cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// There is no directory for it.
    #[error("cannot start a runner: cannot make a directory for it in `{}`{}", parent.display(), full_disk(source))]
    Directory {
        /// Where it was to be.
        parent: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The process ended before it was ready.
    #[error("the runner ended before it was ready ({status}); it said:\n{output}")]
    Ended {
        /// How it ended.
        status: String,
        /// What it printed.
        output: String,
    },
    /// It was not ready in time.
    #[error(
        "the runner was not ready within {} s; it said:\n{output}\nhint: FARCALL_START_TIMEOUT_S gives it longer",
        timeout.as_secs()
    )]
    TimedOut {
        /// The time it had.
        timeout: Duration,
        /// What it printed.
        output: String,
    },
    /// The worker is shutting down.
    #[error("the worker is shutting down")]
    Closed,
    /// The template could not fork.
    #[error("the runner template cannot fork")]
    NoFork,
}

impl Factory {
    /// Runners of `interpreter`, with the limits of `config`.
    pub fn new(config: &Config, interpreter: Interpreter) -> Self {
        Self {
            interpreter,
            max_instances: config.max_instances,
            start_timeout: config.start_timeout,
            limits: LimitSettings {
                memory_bytes: config.runner_memory_bytes,
                open_files: config.runner_open_files,
            },
            settings: Settings {
                max_output_bytes: config.max_output_bytes,
                cancel_grace: config.cancel_grace,
                gpus: Gpus::of(config),
            },
        }
    }

    /// Starts a process of its own; it becomes ready while the caller does something else.
    pub fn start(&self, role: Role) -> Result<Starting, StartError> {
        let (process, connection) = self.spawn()?;
        self.set_up(role, process, connection, None)
    }

    /// Starts the first runner, which forks a [`Sprout`] before it does anything else.
    pub fn start_first(&self) -> Result<Starting, StartError> {
        let (process, connection) = self.spawn()?;
        let (sprouts, theirs) = Connection::new()?;
        self.set_up(Role::Exclusive, process, connection, Some((sprouts, theirs)))
    }

    /// Forks a template. `asynchronous` says what the runner is likely to run.
    pub async fn fork(
        &self,
        template: &mut Template,
        role: Role,
        asynchronous: bool,
    ) -> Result<Starting, StartError> {
        let (connection, theirs) = Connection::new()?;
        let process = template.fork(&theirs, asynchronous).await?;
        self.set_up(role, process, connection, None)
    }

    /// Makes a template, and waits until it can be forked.
    pub async fn start_template(&self, sprout: Option<Sprout>) -> Result<Template, StartError> {
        if let Some(Sprout { process, connection }) = sprout {
            match self.set_up(Role::Template, process, connection, None)?.ready().await {
                Ok(runner) => return Ok(Template::new(runner)),
                Err(error) => debug!(%error, "the template forked from the first runner is lost"),
            }
        }
        self.start(Role::Template)?.ready().await.map(Template::new)
    }

    fn spawn(&self) -> Result<(Process, Connection), StartError> {
        let (connection, TheirEnds { socket, output }) = Connection::new()?;
        let system = |doing| move |source: io::Error| StartError::System { doing, source };
        let second = output.try_clone().map_err(system("make its output pipe"))?;
        let mut command = self.command().map_err(system("find this program's own file"))?;
        command
            // Standard input is the one descriptor that can be handed over without a race or `unsafe`.
            .stdin(Stdio::from(socket))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(second));
        let process = Process::spawn(&mut command).map_err(system("start the process"))?;
        Ok((process, connection)) // and drop the command, which holds copies of the runner's descriptors
    }

    fn set_up(
        &self,
        role: Role,
        process: Process,
        connection: Connection,
        sprout: Option<(Connection, TheirEnds)>,
    ) -> Result<Starting, StartError> {
        let system = |doing| move |source: io::Error| StartError::System { doing, source };
        let scratch = tempfile::Builder::new().prefix("farcall-").tempdir();
        let scratch = scratch.map_err(|source| StartError::Directory { parent: env::temp_dir(), source })?;
        process.own(scratch.path()).map_err(system("wait for it"))?;
        let limits = if role == Role::Template { LimitSettings::default() } else { self.limits };
        // A sprout would inherit the limits of what forks it: that gets them afterwards.
        let first_limits = if sprout.is_some() { LimitSettings::default() } else { limits };
        let Connection { channel, output } = connection;
        let mut runner = Runner {
            limits: Limits::apply(first_limits, process.pid()),
            evidence: Evidence::new(scratch.path()),
            process,
            channel,
            output,
            scratch,
            settings: self.settings.clone(),
            was_interrupted: false,
            packages: None,
            gpus: None,
            needs_new_output: false,
        };
        let scratch = runner.scratch.path().to_string_lossy().into_owned();
        let setup = ToRunner::Setup(Setup { role, scratch, max_instances: self.max_instances });
        let (sprout, theirs) = sprout.unzip();
        let descriptors = theirs.as_ref().map_or(Vec::new(), |theirs| vec![&theirs.socket, &theirs.output]);
        // Far smaller than a socket buffer: it goes at once, and is there when the runner looks.
        match runner.channel.send_now(&setup, &descriptors) {
            // It has died already: `ready` tells how, and what it said.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            sent => sent.map_err(system("use its channel"))?,
        }
        Ok(Starting { runner, timeout: self.start_timeout, sprout, limits })
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("runner").arg("--python").arg(&self.interpreter.executable);
        if let Some(libpython) = &self.interpreter.libpython {
            command.arg("--libpython").arg(libpython);
        }
        command
            // Python programs that user code starts print as they go. The runner's own streams are ours.
            .env("PYTHONUNBUFFERED", "1")
            // Byte code is worth keeping: without it every cold start compiles the user's packages again.
            .env_remove("PYTHONDONTWRITEBYTECODE")
            // Done by the supervisor; `import runpod` would do them again, and print into a call.
            .env("RUNPOD_SKIP_FITNESS_CHECKS", "true")
            .env("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "true")
            .env("RUNPOD_SKIP_GPU_CHECK", "true")
            // Not for user code.
            .env_remove("FARCALL_API_KEY")
            .env_remove("FARCALL_WEBHOOK_SECRET");
        Ok(command)
    }
}

fn full_disk(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: its disk is full: free space there, or start the worker with TMPDIR on another one"
        }
        _ => "",
    }
}
