//! Why a command did not succeed. Every error tells the command line, how it ended, and the last it said.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use super::CommandOutput;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SubprocessError {
    /// It could not be started.
    #[error("cannot run `{command}`")]
    Start {
        /// The command line.
        command: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("`{command}` failed ({status}){}", after_colon(output))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        output: Box<CommandOutput>,
    },
    /// It was killed at its deadline.
    #[error("`{command}` did not end within {} s{}", deadline.as_secs_f32(), after_colon(output))]
    TimedOut {
        /// The command line.
        command: String,
        /// The deadline it had.
        deadline: Duration,
        /// What it wrote until then.
        output: Box<CommandOutput>,
    },
}

impl SubprocessError {
    /// What the command wrote before it failed, if it was started.
    pub fn output(&self) -> Option<&CommandOutput> {
        match self {
            Self::Start { .. } => None,
            Self::Failed { output, .. } | Self::TimedOut { output, .. } => Some(output),
        }
    }

    /// Whether a full disk was the reason.
    pub fn is_disk_full(&self) -> bool {
        let refused = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        match self {
            Self::Start { source, .. } => refused(source),
            Self::Failed { output, .. } | Self::TimedOut { output, .. } => output.tells_of_full_disk(),
        }
    }
}

fn after_colon(output: &CommandOutput) -> String {
    let last_lines = output.last_lines();
    if last_lines.is_empty() { last_lines } else { format!(": {last_lines}") }
}
