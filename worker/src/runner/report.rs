//! How an invocation ended, and how that is told.

use std::fmt::{Display, Formatter, Result, Write};
use std::time::Duration;

use farcall_protocol::frame::{Done, Outcome};

use crate::job::describe_exit;
use crate::process::Exit;

/// How an invocation ended.
#[derive(Debug)]
pub struct Report {
    /// The end.
    pub ending: Ending,
    /// What was printed.
    pub output: String,
}

/// The ends of an invocation.
#[derive(Debug)]
pub enum Ending {
    /// The runner answered: it succeeded, raised, or was refused. The bytes are the encoded result.
    Answered(Done, Vec<u8>),
    /// It was ended from outside.
    Interrupted(Interruption),
    /// The runner died under it.
    Died(Death),
}

/// Why an invocation was ended from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// It ran longer than it might.
    TimedOut {
        /// How long it might run.
        timeout: Duration,
        /// The Python stacks of where it was then; empty if they could not be had.
        stacks: String,
    },
    /// Somebody cancelled it.
    Cancelled,
}

impl Interruption {
    /// Notes where the call's task waited: it comes before the stacks of threads, which show an event loop.
    pub(super) fn waited(&mut self, stack: &[u8]) {
        if let Self::TimedOut { stacks, .. } = self {
            stacks.insert_str(0, &String::from_utf8_lossy(stack));
        }
    }
}

/// A runner that died under an invocation.
#[derive(Debug)]
pub struct Death {
    /// How the process ended; `None` if the system does not tell.
    pub exit: Option<Exit>,
    /// The kernel killed it, or something it started, for lack of memory.
    pub out_of_memory: bool,
    /// Its memory limit in bytes, 0 for none.
    pub memory_limit_bytes: u64,
    /// The Python stacks at a crash.
    pub stacks: String,
    /// It was killed because of another call that shared it.
    pub for_another: bool,
}

impl Ending {
    /// One word for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answered(done, _) => match done.outcome {
                Outcome::Succeeded => "succeeded",
                Outcome::Raised => "raised",
                Outcome::Rejected => "rejected",
                Outcome::Unserializable => "unserializable",
                Outcome::Cancelled => "cancelled",
            },
            Self::Interrupted(Interruption::TimedOut { .. }) => "timed out",
            Self::Interrupted(Interruption::Cancelled) => "cancelled",
            Self::Died(_) => "runner died",
        }
    }
}

impl Report {
    /// For runners that are gone with all that was known about them.
    pub fn unknown_death() -> Self {
        let death = Death {
            exit: None,
            out_of_memory: false,
            memory_limit_bytes: 0,
            stacks: String::new(),
            for_another: false,
        };
        Self { ending: Ending::Died(death), output: String::new() }
    }
}

impl Display for Death {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
        formatter.write_str("the process that ran this call died: ")?;
        match &self.exit {
            _ if self.for_another => formatter.write_str(
                "it was killed because another call that shared it did not end when it was interrupted",
            )?,
            _ if self.out_of_memory => formatter.write_str("out of memory")?,
            Some(exit) => formatter.write_str(&describe_exit(exit.status))?,
            None => formatter.write_str("it is not known how")?,
        }
        if let Some(exit) = &self.exit {
            write!(formatter, "\npeak memory: {} MiB", megabytes(exit.peak_memory_bytes))?;
        }
        if self.memory_limit_bytes > 0 {
            write!(formatter, " of {} MiB allowed", megabytes(self.memory_limit_bytes))?;
        }
        if !self.stacks.is_empty() {
            write!(formatter, "\n{}", self.stacks.trim_end())?;
        }
        match (self.out_of_memory, self.memory_limit_bytes) {
            (true, 0) => formatter.write_str(
                "\nhint: a machine with more memory, or fewer calls at a time (FARCALL_CONCURRENCY)",
            ),
            (true, _) => formatter.write_str("\nhint: FARCALL_RUNNER_MEMORY_MB raises what it may have"),
            _ => Ok(()),
        }
    }
}

impl Display for Interruption {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Cancelled => formatter.write_str("the call was cancelled"),
            Self::TimedOut { timeout, stacks } => {
                write!(formatter, "the call timed out after {} s", timeout.as_secs_f64())?;
                if stacks.is_empty() {
                    return Ok(());
                }
                formatter.write_char('\n')?;
                formatter.write_str(stacks.trim_end())
            }
        }
    }
}
