//! The one way to run a command: a deadline, a process group of its own, bounded output, killed and reaped
//! on every way out.
//!
//! It ends early when its future is dropped. Whoever wants to see what it says meanwhile gives a
//! [`LineObserver`]. The command line is part of every error and of the log: where an argument is secret,
//! [`Subprocess::shown_as`] has to say what is told in its place.

mod error;
mod output;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use error::SubprocessError;
pub use output::CommandOutput;

use crate::process::Process;

/// The deadline of a command that was given none: those answer at once or hang.
const DEADLINE: Duration = Duration::from_secs(30);

/// Is told every line of a command's output as it arrives, from both streams, without its end.
pub type LineObserver<'a> = &'a (dyn Fn(&str) + Sync);

/// A command to run to its end.
///
/// ```no_run
/// # use farcall::subprocess::*;
/// # async fn example() -> Result<(), SubprocessError> {
/// let output = Subprocess::new("dpkg-query").arguments(["--show", "bash"]).run().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Subprocess {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Changes to the environment it inherits, in order; without a value, a variable is removed.
    variables: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    deadline: Duration,
    shown: Option<String>,
    held: Option<Arc<File>>,
}

impl Subprocess {
    /// A command without arguments; the program is looked up on `PATH` if it has no slash.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            directory: None,
            deadline: DEADLINE,
            shown: None,
            held: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment, which is otherwise ours.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), Some(value.into())));
        self
    }

    /// Removes a variable from its environment.
    #[must_use]
    pub fn without_variable(mut self, name: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), None));
        self
    }

    /// Sets the directory it runs in, which is otherwise ours.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets when to give up on it; 30 s otherwise.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets what errors and the log show in place of the command line.
    #[must_use]
    pub fn shown_as(mut self, text: impl Into<String>) -> Self {
        self.shown = Some(text.into());
        self
    }

    /// Keeps the lock on `file` for as long as the command runs, even if this process is killed before it ends.
    /// The command has the file, which it must not expect anything of, as its standard input: a descriptor that
    /// is handed over without a race, and with it the lock.
    #[must_use]
    pub fn holding(mut self, file: Arc<File>) -> Self {
        self.held = Some(file);
        self
    }

    /// Runs the command and waits for its end. Dropping the future kills its whole process group.
    pub async fn run(&self) -> Result<CommandOutput, SubprocessError> {
        self.run_telling(&|_| {}).await
    }

    /// The same; `told` gets every line of its output as it arrives.
    pub async fn run_telling(&self, told: LineObserver<'_>) -> Result<CommandOutput, SubprocessError> {
        let started =
            self.start().map_err(|source| SubprocessError::Start { command: self.to_string(), source });
        let Started { mut process, stdout, stderr } = started?;
        let ended = CancellationToken::new();
        let end = async {
            let exit = tokio::time::timeout(self.deadline, process.wait()).await;
            // What is left of its group is killed: at its end by whoever reaps it, at the deadline here.
            drop(process);
            ended.cancel();
            exit
        };
        let (stdout, stderr, exit) =
            tokio::join!(output::read(stdout, &ended, told), output::read(stderr, &ended, told), end);
        let (command, output) = (self.to_string(), CommandOutput { stdout, stderr });
        let Ok(exit) = exit else {
            let deadline = self.deadline;
            return Err(SubprocessError::TimedOut { command, deadline, output: output.into() });
        };
        let Some(exit) = exit else {
            let source = io::Error::other("it was not waited for");
            return Err(SubprocessError::Start { command, source });
        };
        let status = exit.status;
        debug!(command, %status, "command ended");
        if status.success() {
            return Ok(output);
        }
        Err(SubprocessError::Failed { command, status, output: output.into() })
    }

    fn start(&self) -> io::Result<Started> {
        let pipe = || -> io::Result<(Receiver, Stdio)> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            Ok((Receiver::from_owned_fd(read)?, Stdio::from(write)))
        };
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        // Dropped at the end of this function: it holds our copies of the command's ends of the pipes.
        let mut command = Command::new(&self.program);
        let stdin =
            self.held.as_ref().map_or_else(|| Ok(Stdio::null()), |file| file.try_clone().map(Stdio::from))?;
        command.args(&self.arguments).stdin(stdin).stdout(stdout_end).stderr(stderr_end);
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        Ok(Started { process: Process::spawn(&mut command)?, stdout, stderr })
    }
}

impl std::fmt::Display for Subprocess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(shown) = &self.shown {
            return formatter.write_str(shown);
        }
        let words =
            std::iter::once(self.program.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str));
        let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
        formatter.write_str(&words.join(" "))
    }
}

/// A command that runs, and our ends of its pipes.
#[derive(Debug)]
struct Started {
    process: Process,
    stdout: Receiver,
    stderr: Receiver,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Subprocess {
        Subprocess::new("sh").arguments(["-c", script])
    }

    #[tokio::test]
    async fn a_failure_carries_the_command_its_end_and_its_last_lines() {
        let error = shell("echo out; echo why >&2; exit 3").run().await.unwrap_err();
        insta::assert_snapshot!(error, @"`sh -c echo out; echo why >&2; exit 3` failed (exit status: 3): why");
        let error = shell("exit 3").shown_as("sh ***").run().await.unwrap_err();
        insta::assert_snapshot!(error, @"`sh ***` failed (exit status: 3)");
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_named() {
        let error = Subprocess::new("no-such-program").run().await.unwrap_err();
        insta::assert_snapshot!(error, @"cannot run `no-such-program`");
        assert!(error.output().is_none() && !error.is_disk_full());
    }

    #[tokio::test]
    async fn at_the_deadline_the_whole_group_is_killed_and_what_it_said_is_kept() {
        let command = shell("sleep 60 & echo $!; wait").shown_as("it").deadline(Duration::from_secs(1));
        let error = command.run().await.unwrap_err();
        let said = error.output().unwrap().stdout.trim().to_owned();
        assert_eq!(error.to_string(), format!("`it` did not end within 1 s: {said}"));
        let background = PathBuf::from(format!("/proc/{said}"));
        let started = Instant::now();
        while background.exists() {
            assert!(started.elapsed() < Duration::from_secs(10), "`sleep` lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn output_over_the_limit_neither_blocks_nor_is_kept() {
        let output = shell("head -c 5000000 /dev/zero; echo end").run().await.unwrap();
        assert!(output.stdout.len() < 2 << 20 && output.stdout.ends_with("\0end\n"));
    }

    #[tokio::test]
    async fn lines_are_told_while_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let seen = Mutex::new(Vec::new());
        let told = |line: &str| {
            seen.lock().unwrap().push(line.to_owned());
            std::fs::write(directory.path().join("told"), "").unwrap();
        };
        // It goes on only when the first line has been told.
        let script = "echo one; until [ -e told ]; do sleep 0.01; done; echo two >&2";
        shell(script).directory(directory.path()).run_telling(&told).await.unwrap();
        assert_eq!(seen.into_inner().unwrap(), ["one", "two"]);
    }

    #[tokio::test]
    async fn variables_are_set_and_removed() {
        // Cargo sets the second one for its tests.
        let command = shell("echo \"$ADDED ${CARGO_MANIFEST_DIR-removed}\"; pwd");
        let command = command.variable("ADDED", "yes").without_variable("CARGO_MANIFEST_DIR").directory("/");
        assert_eq!(command.run().await.unwrap().stdout, "yes removed\n/\n");
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_the_pipes_open_is_not_waited_for() {
        let output =
            shell("setsid sleep 30 & echo started").deadline(Duration::from_secs(20)).run().await.unwrap();
        assert_eq!(output.stdout, "started\n");
    }

    #[tokio::test]
    async fn a_lock_is_kept_until_the_last_process_of_the_command_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let file = File::create(&path).unwrap();
        file.lock().unwrap();
        let is_locked = || File::open(&path).unwrap().try_lock().is_err();
        // It outlives its command as uv outlives a worker that is killed.
        let daemon = "setsid sh -c 'touch ready; until [ -e go ]; do sleep 0.01; done' >/dev/null 2>&1 &";
        let script = format!("exec 3<&0; {daemon} until [ -e ready ]; do sleep 0.01; done");
        shell(&script).directory(directory.path()).holding(Arc::new(file)).run().await.unwrap();
        assert!(is_locked());
        std::fs::write(directory.path().join("go"), "").unwrap();
        let started = Instant::now();
        while is_locked() {
            assert!(started.elapsed() < Duration::from_secs(10), "still locked");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_recognised() {
        let error = shell("head -c 1 /dev/zero > /dev/full").variable("LC_ALL", "C").run().await.unwrap_err();
        assert!(error.is_disk_full(), "{error}");
    }
}
