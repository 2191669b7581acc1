//! One invocation on an exclusive runner: from the request to its end, interruptions included.

use std::time::Duration;

use farcall_protocol::frame::{FromRunner, Invoke, ToRunner};
use rustix::process::Signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::output::CallOutput;
use super::report::{Death, Ending, Interruption, Report};
use super::{Event, Follower, Received, Runner};
use crate::environment::Packages;
use crate::output_log::OutputLog;

/// What a runner is to do.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Header of the message to the runner.
    pub invoke: Invoke,
    /// The `FunctionRequest` as JSON.
    pub request: bytes::Bytes,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Ends it early.
    pub cancelled: CancellationToken,
    /// Told what happens meanwhile.
    pub follower: Option<Follower>,
    /// Where the worker's log gets its output.
    pub log: Option<OutputLog>,
    /// What comes before its output in the answer.
    pub preface: String,
}

impl Runner {
    /// Runs an assignment. The runner comes back if it is alive. There is no report if it was dead before it
    /// took the assignment: nothing of it has run then.
    pub async fn invoke(
        mut self,
        assignment: Assignment,
        packages: &Packages,
    ) -> (Option<Self>, Option<Report>) {
        let Assignment { mut invoke, request, timeout, cancelled, follower, log, preface } = assignment;
        let stale = self.output.discard();
        if stale > 0 {
            debug!(bytes = stale, "output between calls dropped");
        }
        let mut output = CallOutput::new(self.settings.max_output_bytes, log, follower);
        output.begin_with(&preface);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        invoke.settle = std::mem::take(&mut self.was_interrupted);
        self.enter(packages).await;
        self.take_gpus().await;
        self.send(&mut invoke, &request).await;
        let mut may_interrupt = !invoke.settle;
        let mut interruption: Option<(Interruption, Instant)> = None;
        loop {
            let kill_at = interruption.as_ref().map(|(_, kill_at)| *kill_at);
            tokio::select! {
                received = self.receive(&mut output) => match received {
                    Received::Frame(FromRunner::Done(done), body) if done.id == invoke.id => {
                        self.output.drain(&mut output).await;
                        self.needs_new_output = done.has_spawned;
                        self.was_interrupted = interruption.is_some();
                        let ending = match interruption {
                            Some((interruption, _)) => Ending::Interrupted(interruption),
                            None => Ending::Answered(done, body),
                        };
                        return (Some(self), Some(Report { ending, output: output.into_text() }));
                    }
                    Received::Frame(FromRunner::Chunk(chunk), body) => {
                        self.output.drain(&mut output).await;
                        output.tell(Event::Chunk(chunk, body)).await;
                    }
                    Received::Frame(FromRunner::Progress { id }, body) if id == invoke.id => {
                        self.output.drain(&mut output).await;
                        output.tell(Event::Progress(body)).await;
                    }
                    Received::Frame(FromRunner::Output { id }, _) => debug!(id, "output after the answer dropped"),
                    Received::Frame(FromRunner::Waits { id }, body) if id == invoke.id => {
                        interruption.as_mut().into_iter().for_each(|(interruption, _)| interruption.waited(&body));
                    }
                    Received::Frame(FromRunner::Settled { id }, _) => may_interrupt |= id == invoke.id,
                    Received::Frame(unexpected, _) => debug!(?unexpected, "unexpected frame"),
                    Received::Ended => {
                        let ending = match interruption {
                            Some((interruption, _)) => Ending::Interrupted(interruption),
                            None if self.channel.left_unread() => return (None, None),
                            None => Ending::Died(self.death()),
                        };
                        return (None, Some(Report { ending, output: output.into_text() }));
                    }
                },
                () = until(deadline), if may_interrupt && interruption.is_none() => {
                    let stacks = self.evidence.ask(&self.process).await;
                    let timeout = timeout.unwrap_or_default();
                    interruption = Some((Interruption::TimedOut { timeout, stacks }, self.interrupt()));
                }
                () = cancelled.cancelled(), if may_interrupt && interruption.is_none() => {
                    interruption = Some((Interruption::Cancelled, self.interrupt()));
                }
                () = until(kill_at) => self.kill().await,
            }
        }
    }

    async fn send(&mut self, invoke: &mut Invoke, request: &[u8]) {
        let message = ToRunner::Invoke(invoke.clone());
        // A runner that dies while it is written to is noticed by whoever waits for it.
        let sent = if self.needs_new_output {
            match self.renew_output() {
                Ok(end) => self.channel.send_with(&message, request, &[&end]).await,
                Err(error) => {
                    debug!(%error, "cannot renew the runner's output pipe");
                    self.channel.send(&message, request).await
                }
            }
        } else {
            self.channel.send(&message, request).await
        };
        if let Err(error) = sent {
            debug!(%error, "cannot write to the runner");
        }
    }

    /// Asks the call to end. Returns when to stop asking.
    fn interrupt(&self) -> Instant {
        self.process.signal_group(Signal::INT);
        Instant::now() + self.settings.cancel_grace
    }

    pub(super) fn death(&mut self) -> Death {
        Death {
            exit: self.process.ended(),
            out_of_memory: self.limits.ran_out_of_memory(),
            memory_limit_bytes: self.limits.memory_bytes(),
            stacks: self.evidence.take(),
            for_another: false,
        }
    }
}

/// Waits for a moment that may never come.
pub(super) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
