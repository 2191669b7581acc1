//! The one way to run a command: a deadline, a process group of its own, bounded output, killed and reaped
//! on every way out.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tracing::debug;

use crate::process::Process;

/// Output kept of each stream, in bytes; the rest is read and dropped so that the command never blocks.
const KEPT_OUTPUT: usize = 1 << 20;

/// A command to run to its end.
#[derive(Debug, Clone)]
pub struct Subprocess {
    /// The program, looked up on `PATH` if it has no slash.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// When to give up on it.
    pub deadline: Duration,
}

/// A command that ended by itself with success.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SubprocessError {
    /// It could not be started.
    #[error("cannot run `{program}`")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("`{command}` failed ({status}): {last_lines}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error, or of its standard output if that is empty.
        last_lines: String,
    },
    /// It was killed at its deadline.
    #[error("`{command}` did not end within {} s", deadline.as_secs())]
    TimedOut {
        /// The command line.
        command: String,
        /// The deadline it had.
        deadline: Duration,
    },
}

impl Subprocess {
    /// Runs the command and waits for its end. Dropping the future kills its whole process group.
    pub async fn run(&self) -> Result<Finished, SubprocessError> {
        let start = |source| SubprocessError::Start { program: self.program.display().to_string(), source };
        let pipe = || -> io::Result<(Receiver, Stdio)> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            Ok((Receiver::from_owned_fd(read)?, Stdio::from(write)))
        };
        let (stdout, stdout_end) = pipe().map_err(start)?;
        let (stderr, stderr_end) = pipe().map_err(start)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(stdout_end).stderr(stderr_end);
        let mut process = Process::spawn(&mut command).map_err(start)?;
        // The command holds our copies of its ends of the pipes.
        drop(command);
        let finish = async {
            // Its group is killed when it ends, so the pipes close even if it left something running.
            tokio::join!(read_kept(stdout), read_kept(stderr), process.wait())
        };
        let Ok((stdout, stderr, exit)) = tokio::time::timeout(self.deadline, finish).await else {
            return Err(SubprocessError::TimedOut { command: self.to_string(), deadline: self.deadline });
        };
        let status = exit.ok_or_else(|| start(io::Error::other("it was not waited for")))?.status;
        debug!(command = %self, %status, "command ended");
        if status.success() {
            return Ok(Finished { stdout, stderr });
        }
        let last_lines = last_lines(if stderr.trim().is_empty() { &stdout } else { &stderr });
        Err(SubprocessError::Failed { command: self.to_string(), status, last_lines })
    }
}

impl std::fmt::Display for Subprocess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.program.display())?;
        self.arguments.iter().try_for_each(|argument| write!(formatter, " {}", argument.to_string_lossy()))
    }
}

async fn read_kept(mut stream: Receiver) -> String {
    let mut kept = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        let room = KEPT_OUTPUT.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..length.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, deadline: Duration) -> Subprocess {
        Subprocess { program: "sh".into(), arguments: vec!["-c".into(), script.into()], deadline }
    }

    #[tokio::test]
    async fn a_failure_carries_the_command_its_end_and_its_last_lines() {
        let error = shell("echo out; echo why >&2; exit 3", Duration::from_secs(10)).run().await.unwrap_err();
        insta::assert_snapshot!(error, @"`sh -c echo out; echo why >&2; exit 3` failed (exit status: 3): why");
    }

    #[tokio::test]
    async fn at_the_deadline_the_whole_group_is_killed() {
        let marker = tempfile::tempdir().unwrap();
        let script = format!("(sleep 2; touch {}/lived) & sleep 60", marker.path().display());
        let error = shell(&script, Duration::from_millis(100)).run().await.unwrap_err();
        assert!(matches!(error, SubprocessError::TimedOut { .. }));
        let started = std::time::Instant::now();
        // The grandchild would leave its mark 2 s after the start; give it until then and some.
        while started.elapsed() < Duration::from_millis(2500) {
            assert!(!marker.path().join("lived").exists());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test]
    async fn output_over_the_limit_neither_blocks_nor_is_kept() {
        let finished = shell("head -c 5000000 /dev/zero", Duration::from_secs(10)).run().await.unwrap();
        assert_eq!(finished.stdout.len(), KEPT_OUTPUT);
    }
}
