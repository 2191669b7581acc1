//! Making runners: a fresh process, or a fork of a template.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use farcall_protocol::frame::{FromRunner, Role, Setup, ToRunner};
use tempfile::TempDir;
use tracing::debug;

use super::channel::Channel;
use super::evidence::Evidence;
use super::limits::{LimitSettings, Limits};
use super::output::{CallOutput, OutputPipe};
use super::template::Template;
use super::{Received, Runner, Settings};
use crate::config::Config;
use crate::interpreter::Interpreter;
use crate::job::describe_exit;
use crate::process::Process;

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

/// What the supervisor keeps of a runner besides its process.
struct Parts {
    channel: Channel,
    output: OutputPipe,
    scratch: TempDir,
}

/// Both ends of what connects a runner to the supervisor.
struct Connection {
    parts: Parts,
    their_socket: OwnedFd,
    their_output: OwnedFd,
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
            },
        }
    }

    /// Starts a process of its own; it becomes ready while the caller does something else.
    pub fn start(&self, role: Role) -> Result<Starting, StartError> {
        let Connection { parts, their_socket, their_output } = Connection::new()?;
        let system = |doing| move |source: io::Error| StartError::System { doing, source };
        let second = their_output.try_clone().map_err(system("make its output pipe"))?;
        let mut command = self.command().map_err(system("find this program's own file"))?;
        command
            // Standard input is the one descriptor that can be handed over without a race or `unsafe`.
            .stdin(Stdio::from(their_socket))
            .stdout(Stdio::from(their_output))
            .stderr(Stdio::from(second));
        let process = Process::spawn(&mut command).map_err(system("start the process"))?;
        drop(command); // it holds copies of the runner's descriptors
        self.set_up(role, process, parts)
    }

    /// Forks a template.
    pub async fn fork(&self, template: &mut Template, role: Role) -> Result<Starting, StartError> {
        let connection = Connection::new()?;
        let process = template.fork(&connection.their_socket, &connection.their_output).await?;
        let Connection { parts, .. } = connection;
        self.set_up(role, process, parts)
    }

    /// Starts a template and waits until it can be forked.
    pub async fn start_template(&self) -> Result<Template, StartError> {
        self.start(Role::Template)?.ready().await.map(Template::new)
    }

    fn set_up(&self, role: Role, process: Process, parts: Parts) -> Result<Starting, StartError> {
        let Parts { channel, output, scratch } = parts;
        let own = process.own(scratch.path());
        own.map_err(|source| StartError::System { doing: "wait for it", source })?;
        let limits = if role == Role::Template { LimitSettings::default() } else { self.limits };
        let mut runner = Runner {
            limits: Limits::apply(limits, process.pid()),
            evidence: Evidence::new(scratch.path()),
            process,
            channel,
            output,
            scratch,
            settings: self.settings.clone(),
            was_interrupted: false,
            packages: None,
            needs_new_output: false,
        };
        let scratch = runner.scratch.path().to_string_lossy().into_owned();
        let setup = Setup { role, scratch, max_instances: self.max_instances };
        // Far smaller than a socket buffer: it goes at once, and is there when the runner looks.
        match runner.channel.send_now(&ToRunner::Setup(setup)) {
            // It has died already: `ready` tells how, and what it said.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            sent => sent.map_err(|source| StartError::System { doing: "use its channel", source })?,
        }
        Ok(Starting { runner, timeout: self.start_timeout })
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
            .env_remove("FARCALL_API_KEY");
        Ok(command)
    }
}

impl Connection {
    fn new() -> Result<Self, StartError> {
        let system = |doing| move |source: io::Error| StartError::System { doing, source };
        let scratch = tempfile::Builder::new().prefix("farcall-").tempdir();
        let (ours, theirs) = UnixStream::pair().map_err(system("make its channel"))?;
        let (output, their_output) = OutputPipe::new().map_err(system("make its output pipe"))?;
        let parts = Parts {
            scratch: scratch.map_err(system("make a directory for it"))?,
            channel: Channel::new(ours).map_err(system("use its channel"))?,
            output,
        };
        Ok(Self { parts, their_socket: theirs.into(), their_output })
    }
}

/// A runner that is not ready yet.
#[derive(Debug)]
pub struct Starting {
    runner: Runner,
    timeout: Duration,
}

impl Starting {
    /// Waits until the runner is ready.
    pub async fn ready(mut self) -> Result<Runner, StartError> {
        let mut output = CallOutput::new(self.runner.settings.max_output_bytes, None, None);
        let received = tokio::time::timeout(self.timeout, self.runner.receive(&mut output)).await;
        let failure = match received {
            Ok(Received::Frame(FromRunner::Ready(ready), _)) => {
                debug!(python = ready.python_version, "runner is ready");
                return Ok(self.runner);
            }
            Ok(Received::Frame(..)) => {
                StartError::Ended { status: "it spoke out of turn".to_owned(), output: output.into_text() }
            }
            Ok(Received::Ended) => {
                let exit = self.runner.process.ended();
                let status = exit.map_or_else(|| "unknown".to_owned(), |exit| describe_exit(exit.status));
                StartError::Ended { status, output: output.into_text() }
            }
            Err(_) => StartError::TimedOut { timeout: self.timeout, output: output.into_text() },
        };
        self.runner.kill().await;
        Err(failure)
    }
}
