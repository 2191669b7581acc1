//! A runner template: forked instead of starting a new interpreter.

use farcall_protocol::frame::{FromRunner, ToRunner};
use rustix::process::Pid;

use super::factory::TheirEnds;
use super::output::CallOutput;
use super::{Received, Runner, StartError};
use crate::process::Process;

/// Output of a template that is kept, in bytes: only a fault prints there.
const KEPT_OUTPUT: usize = 64 << 10;

/// A process that waits, with its imports done, to be forked.
#[derive(Debug)]
pub struct Template {
    runner: Runner,
}

impl Template {
    pub(super) fn new(runner: Runner) -> Self {
        Self { runner }
    }

    /// Forks it. The new process has the given ends of a connection, and is ready for asynchronous code if it is
    /// to be.
    pub(super) async fn fork(
        &mut self,
        theirs: &TheirEnds,
        asynchronous: bool,
    ) -> Result<Process, StartError> {
        let descriptors = [&theirs.socket, &theirs.output];
        let message = ToRunner::Fork { asynchronous };
        let sent = self.runner.channel.send_with(&message, &[], &descriptors).await;
        sent.map_err(|_| StartError::NoFork)?;
        let mut printed = CallOutput::new(KEPT_OUTPUT, None, None);
        match self.runner.receive(&mut printed).await {
            Received::Frame(FromRunner::Forked { pid: Some(pid) }, _) => {
                let pid = Pid::from_raw(pid.cast_signed()).ok_or(StartError::NoFork)?;
                Process::adopt(pid)
                    .map_err(|source| StartError::System { doing: "adopt the process", source })
            }
            Received::Frame(..) | Received::Ended => Err(StartError::NoFork),
        }
    }

    /// Ends it.
    pub async fn stop(self) {
        self.runner.stop().await;
    }
}
