//! A runner, seen from the supervisor: a child process that embeds CPython and runs user code.
//!
//! ```text
//! start ──▶ Runner ──ready──▶ Runner ──invoke──▶ (Runner, Answer)
//!              └──▶ StartError    └──▶ Death      stop: channel closed, grace, SIGKILL
//! ```
//!
//! `invoke` consumes the runner and gives it back only alive, so a dead one cannot be used. Death is what
//! `wait` says, raced with the channel: the end of the channel alone proves nothing, a grandchild may hold it.

mod channel;
mod output;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use farcall_protocol::frame::{Done, FromRunner, Invoke, Setup, ToRunner};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tracing::debug;

use crate::config::Config;
use crate::interpreter::Interpreter;
use crate::job::describe_exit;
use channel::{Channel, ChannelError};
use output::{OutputBuffer, OutputPipe};

/// How long a runner may take to run its exit handlers when it is stopped.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What is needed to start a runner.
#[derive(Debug, Clone)]
pub struct RunnerSpec {
    interpreter: Interpreter,
    max_instances: usize,
    max_output_bytes: usize,
    start_timeout: Duration,
}

/// A living runner.
#[derive(Debug)]
pub struct Runner {
    child: Child,
    group: Option<Pid>,
    channel: Channel,
    output: OutputPipe,
    scratch: TempDir,
    max_output_bytes: usize,
    start_timeout: Duration,
    is_ready: bool,
}

/// The end of an invocation that its runner survived.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub done: Done,
    /// The encoded result.
    pub body: Vec<u8>,
    /// What the call printed.
    pub output: String,
}

/// A runner that died under an invocation.
#[derive(Debug)]
pub struct Death {
    /// How the process ended; `None` if the system does not tell.
    pub status: Option<ExitStatus>,
    /// What the call had printed.
    pub output: String,
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
}

impl RunnerSpec {
    /// Runners of `interpreter`, with the limits of `config`.
    pub fn new(config: &Config, interpreter: Interpreter) -> Self {
        Self {
            interpreter,
            max_instances: config.max_instances,
            max_output_bytes: config.max_output_bytes,
            start_timeout: config.start_timeout,
        }
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("runner").arg("--python").arg(&self.interpreter.executable);
        if let Some(libpython) = &self.interpreter.libpython {
            command.arg("--libpython").arg(libpython);
        }
        command
            .process_group(0)
            .kill_on_drop(true)
            // Python programs that user code starts print as they go. The runner's own streams are ours.
            .env("PYTHONUNBUFFERED", "1")
            // Byte code is worth keeping: without it every cold start compiles the user's packages again.
            .env_remove("PYTHONDONTWRITEBYTECODE");
        Ok(command)
    }
}

impl Runner {
    /// Starts the process and tells it what to do first; does not wait for it.
    pub fn start(spec: &RunnerSpec) -> Result<Self, StartError> {
        let system = |doing| move |source: io::Error| StartError::System { doing, source };
        let scratch = tempfile::Builder::new().prefix("farcall-").tempdir();
        let scratch = scratch.map_err(system("make a directory for it"))?;
        let (ours, theirs) = UnixStream::pair().map_err(system("make its channel"))?;
        let (output, pipe) = OutputPipe::new().map_err(system("make its output pipe"))?;
        let second = pipe.try_clone().map_err(system("make its output pipe"))?;
        let child = spec
            .command()
            .map_err(system("find this program's own file"))?
            // Standard input is the one descriptor that can be handed over without a race or `unsafe`.
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(pipe))
            .stderr(Stdio::from(second))
            .spawn()
            .map_err(system("start the process"))?;
        let mut runner = Self {
            group: child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
            child,
            channel: Channel::new(ours).map_err(system("use its channel"))?,
            output,
            scratch,
            max_output_bytes: spec.max_output_bytes,
            start_timeout: spec.start_timeout,
            is_ready: false,
        };
        let setup = Setup {
            scratch: runner.scratch.path().to_string_lossy().into_owned(),
            max_instances: spec.max_instances,
        };
        // Far smaller than a socket buffer: it goes at once, and is there when the runner looks.
        match runner.channel.send_now(&ToRunner::Setup(setup)) {
            // It has died already: `ready` tells how, and what it said.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(runner),
            sent => sent.map(|()| runner).map_err(system("use its channel")),
        }
    }

    /// Waits until the runner is ready.
    pub async fn ready(mut self) -> Result<Self, StartError> {
        if self.is_ready {
            return Ok(self);
        }
        let mut output = OutputBuffer::new(self.max_output_bytes);
        let timeout = self.start_timeout;
        match tokio::time::timeout(timeout, self.receive(&mut output)).await {
            Ok(Received::Frame(FromRunner::Ready(ready), _)) => {
                debug!(python = ready.python_version, "runner is ready");
                self.is_ready = true;
                Ok(self)
            }
            Ok(Received::Frame(FromRunner::Done(_), _)) => {
                self.kill().await;
                let status = "it answered before it was asked".to_owned();
                Err(StartError::Ended { status, output: output.into_text() })
            }
            Ok(Received::Death(status)) => {
                let status = status.map_or_else(|| "unknown".to_owned(), describe_exit);
                Err(StartError::Ended { status, output: output.into_text() })
            }
            Err(_) => {
                self.kill().await;
                Err(StartError::TimedOut { timeout, output: output.into_text() })
            }
        }
    }

    /// Runs a request on the runner.
    pub async fn invoke(mut self, invoke: &Invoke, request: &[u8]) -> Result<(Self, Answer), Death> {
        let stale = self.output.discard();
        if stale > 0 {
            debug!(bytes = stale, "output between calls dropped");
        }
        let mut output = OutputBuffer::new(self.max_output_bytes);
        let message = ToRunner::Invoke(invoke.clone());
        // A runner that dies while it is written to is noticed below.
        let _ = self.channel.send(&message, request).await;
        loop {
            match self.receive(&mut output).await {
                Received::Frame(FromRunner::Done(done), body) if done.id == invoke.id => {
                    self.output.drain(&mut output);
                    return Ok((self, Answer { done, body, output: output.into_text() }));
                }
                Received::Frame(unexpected, _) => debug!(?unexpected, "unexpected frame"),
                Received::Death(status) => return Err(Death { status, output: output.into_text() }),
            }
        }
    }

    /// Ends the runner: its exit handlers may run for a moment, then it and what it started are killed.
    pub async fn stop(mut self) {
        self.channel.close();
        let _ = tokio::time::timeout(STOP_GRACE, self.child.wait()).await;
        self.kill().await;
    }

    /// The next frame or the process's end, whichever comes first; output is gathered meanwhile.
    async fn receive(&mut self, output: &mut OutputBuffer) -> Received {
        loop {
            // All three branches can be dropped at any await without losing anything.
            tokio::select! {
                biased;
                frame = self.channel.receive() => match frame {
                    Ok((message, body)) => return Received::Frame(message, body),
                    // Gone or speaking nonsense: what matters is how the process ends.
                    Err(error) => return Received::Death(self.await_end(&error, output).await),
                },
                () = self.output.read_into(output) => {}
                status = self.child.wait() => {
                    // It may have answered with its last breath.
                    if let Some((message, body)) = self.channel.receive_waiting().await {
                        return Received::Frame(message, body);
                    }
                    self.output.drain(output);
                    self.kill_group();
                    return Received::Death(status.ok());
                }
            }
        }
    }

    async fn await_end(&mut self, error: &ChannelError, output: &mut OutputBuffer) -> Option<ExitStatus> {
        debug!(%error, "channel to the runner broke");
        // A closed channel is followed by the process's end; the rest is a runner that can no longer be used.
        let status = tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await;
        let status = match status {
            Ok(status) => status.ok(),
            Err(_) => self.kill().await,
        };
        self.output.drain(output);
        self.kill_group();
        status
    }

    async fn kill(&mut self) -> Option<ExitStatus> {
        self.kill_group();
        self.child.wait().await.ok()
    }

    fn kill_group(&self) {
        let _ = self.group.map(|group| kill_process_group(group, Signal::KILL));
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.kill_group();
    }
}

enum Received {
    Frame(FromRunner, Vec<u8>),
    Death(Option<ExitStatus>),
}

impl std::fmt::Display for Death {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.status.map_or_else(|| "for an unknown reason".to_owned(), describe_exit);
        write!(formatter, "the process that ran this call ended: {status}")
    }
}
