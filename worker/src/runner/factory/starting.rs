//! From a connection to a process that is ready.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use farcall_protocol::frame::FromRunner;
use rustix::process::Pid;
use tracing::debug;

use super::StartError;
use crate::job::describe_exit;
use crate::process::Process;
use crate::runner::channel::Channel;
use crate::runner::limits::{LimitSettings, Limits};
use crate::runner::output::{CallOutput, OutputPipe};
use crate::runner::{Received, Runner};

/// What connects the supervisor to a runner.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) channel: Channel,
    pub(super) output: OutputPipe,
}

/// The runner's ends of it.
#[derive(Debug)]
pub(in crate::runner) struct TheirEnds {
    pub(in crate::runner) socket: OwnedFd,
    pub(in crate::runner) output: OwnedFd,
}

/// A process that was forked from the first runner, and waits to be told that it is to become its template.
#[derive(Debug)]
pub struct Sprout {
    pub(super) process: Process,
    pub(super) connection: Connection,
}

/// A runner that is not ready yet.
#[derive(Debug)]
pub struct Starting {
    pub(super) runner: Runner,
    pub(super) timeout: Duration,
    /// It is to fork a sprout before it is ready: the connection to that.
    pub(super) sprout: Option<Connection>,
    /// The limits it is to have then.
    pub(super) limits: LimitSettings,
}

impl Connection {
    pub(super) fn new() -> Result<(Self, TheirEnds), StartError> {
        let system = |doing| move |source: io::Error| StartError::System { doing, source };
        let (ours, theirs) = UnixStream::pair().map_err(system("make its channel"))?;
        let (output, their_output) = OutputPipe::new().map_err(system("make its output pipe"))?;
        let channel = Channel::new(ours).map_err(system("use its channel"))?;
        Ok((Self { channel, output }, TheirEnds { socket: theirs.into(), output: their_output }))
    }
}

impl Starting {
    /// Waits until the runner is ready.
    pub async fn ready(self) -> Result<Runner, StartError> {
        self.ready_with_sprout().await.map(|(runner, _)| runner)
    }

    /// Waits until the runner is ready. The second part is what it has forked, if it was to and could.
    pub async fn ready_with_sprout(mut self) -> Result<(Runner, Option<Sprout>), StartError> {
        let mut output = CallOutput::new(self.runner.settings.max_output_bytes, None, None);
        let failure = match tokio::time::timeout(self.timeout, self.await_ready(&mut output)).await {
            Ok(Ok(sprout)) => return Ok((self.runner, sprout)),
            Ok(Err(status)) => StartError::Ended { status, output: output.into_text() },
            Err(_) => StartError::TimedOut { timeout: self.timeout, output: output.into_text() },
        };
        self.runner.kill().await;
        Err(failure)
    }

    /// An error tells how it ended instead.
    async fn await_ready(&mut self, output: &mut CallOutput) -> Result<Option<Sprout>, String> {
        let mut sprout = None;
        loop {
            match self.runner.receive(output).await {
                Received::Frame(FromRunner::Ready(ready), _) => {
                    debug!(python = ready.python_version, "runner is ready");
                    return Ok(sprout);
                }
                Received::Frame(FromRunner::Forked { pid }, _) if self.sprout.is_some() => {
                    sprout = self.adopt(pid);
                    self.runner.limits = Limits::apply(self.limits, self.runner.process.pid());
                }
                Received::Frame(..) => return Err("it spoke out of turn".to_owned()),
                Received::Ended => {
                    let exit = self.runner.process.ended();
                    return Err(exit.map_or_else(|| "unknown".to_owned(), |exit| describe_exit(exit.status)));
                }
            }
        }
    }

    fn adopt(&mut self, pid: Option<u32>) -> Option<Sprout> {
        let connection = self.sprout.take()?;
        let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed()))?;
        Some(Sprout { process: Process::adopt(pid).ok()?, connection })
    }
}
