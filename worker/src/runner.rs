//! A runner, seen from the supervisor: a process that embeds CPython and runs user code.
//!
//! ```text
//!            ┌─ fresh process ─┐
//! Factory ───┤                 ├──▶ Starting ──ready──▶ Runner ──invoke──▶ Report, and the Runner if it lives
//!            └─ fork of a ─────┘        └──▶ StartError                    stop: channel closed, grace, SIGKILL
//!               template
//! ```
//!
//! `invoke` consumes the runner and gives it back only alive, so a dead one cannot be used. Death is what
//! `wait` says, raced with the channel: the end of the channel alone proves nothing, a grandchild may hold it.

mod channel;
mod evidence;
mod factory;
mod gpus;
mod invoke;
mod limits;
mod output;
pub mod pool;
mod report;
mod shared;
mod template;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use farcall_protocol::frame::{Chunk, FromRunner, ToRunner};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tracing::debug;

use crate::environment::Packages;
use crate::process::Process;
use channel::Channel;
use evidence::Evidence;
pub use factory::{Factory, Sprout, StartError};
pub(crate) use gpus::count_gpus;
use gpus::{Gpus, OwnGpus};
pub use invoke::Assignment;
use limits::Limits;
#[doc(hidden)] // for `bench/micro`
pub use output::OutputBuffer;
use output::{CallOutput, OutputPipe};
pub use report::{Death, Ending, Interruption, Report};

/// How long a runner may take to run its exit handlers when it is stopped.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A living runner, ready for an invocation.
#[derive(Debug)]
pub struct Runner {
    process: Process,
    channel: Channel,
    output: OutputPipe,
    scratch: TempDir,
    evidence: Evidence,
    limits: Limits,
    settings: Settings,
    /// The last invocation was interrupted: the interrupt may reach the runner after its end.
    was_interrupted: bool,
    /// What its Python imports from; `None` until its first call.
    packages: Option<Packages>,
    /// The GPUs it sees, from its first call on; `None` for all.
    gpus: Option<OwnGpus>,
    /// Something the runner has started may hold its output pipe.
    needs_new_output: bool,
}

/// Limits of every invocation.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) max_output_bytes: usize,
    pub(crate) cancel_grace: Duration,
    gpus: Option<Arc<Gpus>>,
}

/// What happens during an invocation, for whoever follows it.
#[derive(Debug, Clone)]
pub enum Event {
    /// It printed.
    Output(String),
    /// Its generator yielded.
    Chunk(Chunk, Vec<u8>),
    /// It told how far it is: a JSON value.
    Progress(Vec<u8>),
    /// A line about what is being installed for it, before it begins.
    Notice(String),
}

/// Follows an invocation: a bounded queue, so that a slow reader slows the call down instead of filling memory.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Where events go.
    pub events: mpsc::Sender<Event>,
    /// Whether it wants to be told what is printed.
    pub wants_output: bool,
}

/// The next thing that concerns a runner.
enum Received {
    Frame(FromRunner, Vec<u8>),
    /// The process has ended, or speaks nonsense and was killed.
    Ended,
}

impl Runner {
    /// Ends the runner: its exit handlers may run for a moment, then it and what it started are killed.
    pub async fn stop(mut self) {
        self.channel.close();
        let _ = tokio::time::timeout(STOP_GRACE, self.process.wait()).await;
        self.kill().await;
    }

    /// Whether its process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.process.ended().is_some()
    }

    /// Whether it has not been given any packages yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.packages.is_none()
    }

    /// Whether a call that wants `packages` can run on it.
    pub(crate) fn fits(&self, packages: &Packages) -> bool {
        self.packages.as_ref().is_none_or(|own| own == packages)
    }

    /// Gives a fresh runner its packages.
    async fn enter(&mut self, packages: &Packages) {
        if !self.is_fresh() {
            return;
        }
        self.packages = Some(packages.clone());
        let Packages::Environment(environment) = packages else { return };
        let enter = ToRunner::Enter(environment.layout());
        if let Err(error) = self.channel.send(&enter, &[]).await {
            debug!(%error, "cannot write to the runner"); // whoever waits for it sees its end
        }
    }

    /// Gives it GPUs of its own, if it is to have some.
    async fn take_gpus(&mut self) {
        if let (Some(all), None) = (&self.settings.gpus, &self.gpus) {
            let own = all.take();
            let message = ToRunner::UseGpus { names: own.names() };
            self.gpus = Some(own);
            if let Err(error) = self.channel.send(&message, &[]).await {
                debug!(%error, "cannot write to the runner"); // as above
            }
        }
    }

    /// The process's resident memory now, in bytes, by the kernel's count.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid().as_raw_nonzero()));
        let line =
            |status: String| status.lines().find_map(|line| line.strip_prefix("VmRSS:").map(str::to_owned));
        let kilobytes =
            status.ok().and_then(line).and_then(|line| line.split_whitespace().next()?.parse().ok());
        kilobytes.unwrap_or(0_u64) << 10
    }

    /// The next frame or the process's end, whichever comes first; output is gathered meanwhile.
    async fn receive(&mut self, output: &mut CallOutput) -> Received {
        loop {
            // All three branches can be dropped at any await without losing anything.
            tokio::select! {
                biased;
                frame = self.channel.receive() => match frame {
                    Ok((message, body)) => return Received::Frame(message, body),
                    Err(error) => {
                        debug!(%error, "channel to the runner broke");
                        // A closed channel is followed by the process's end; else it cannot be used any more.
                        let _ = tokio::time::timeout(Duration::from_secs(1), self.process.wait()).await;
                        self.kill().await;
                        self.output.drain(output).await;
                        return Received::Ended;
                    }
                },
                () = self.output.read_into(output) => {}
                _ = self.process.wait() => {
                    // It may have answered with its last breath.
                    if let Some((message, body)) = self.channel.receive_waiting().await {
                        return Received::Frame(message, body);
                    }
                    self.output.drain(output).await;
                    return Received::Ended;
                }
            }
        }
    }

    /// Kills the process and its group and waits for its end.
    async fn kill(&mut self) {
        self.process.signal_group(Signal::KILL);
        self.process.wait().await;
    }

    /// Gives the runner a new output pipe with its next invocation: returns the runner's end of it. What still
    /// holds the old one is read until it lets go, and belongs to no call.
    fn renew_output(&mut self) -> io::Result<OwnedFd> {
        let (output, end) = OutputPipe::new()?;
        std::mem::replace(&mut self.output, output).abandon();
        self.needs_new_output = false;
        Ok(end)
    }
}
