//! A `farcall serve` that takes its jobs from a [`Platform`].

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::platform::Platform;
use crate::{Python, binary, wait_until};

/// The id under which the worker is known to the platform.
pub const WORKER: &str = "pod1";

/// A running queue worker. Killed, with all it has started, when dropped.
#[derive(Debug)]
pub struct QueueWorker {
    directory: TempDir,
    process: Child,
    variables: Vec<(String, String)>,
}

impl QueueWorker {
    /// Starts a worker of `platform`, with more variables.
    pub fn start(platform: &Platform, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let mut all = platform.env(WORKER);
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = spawn(directory.path(), &all);
        Self { directory, process, variables: all }
    }

    /// Sends a signal, by the name `kill` knows.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([format!("-{name}"), id]).status().expect("there is a kill");
        assert!(sent.success(), "the worker is gone");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let process = std::cell::RefCell::new(&mut self.process);
        let ended = || process.borrow_mut().try_wait().expect("it is our child").is_some();
        assert!(wait_until(ended), "the worker goes on: {}", self.log());
        self.process.wait().expect("it is our child")
    }

    /// Kills it as a full machine would, and starts it again under the same id and with the same disk.
    pub fn kill_and_restart(&mut self, platform: &Platform) {
        self.process.kill().expect("it is our child");
        self.process.wait().expect("it is our child");
        platform.worker_was_killed(WORKER);
        self.process = spawn(self.directory.path(), &self.variables);
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("it is our child").is_none()
    }

    /// The process ids of its runners and templates.
    pub fn children(&self) -> Vec<u32> {
        let id = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    }

    /// What it has written so far, both streams.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A file of its working directory, which user code shares.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for QueueWorker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(directory: &Path, variables: &[(String, String)]) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).expect("it is writable");
    let second = log.try_clone().expect("a descriptor is left");
    let mut command = Command::new(binary());
    command.arg("serve").current_dir(directory).env_clear();
    for name in ["PATH", "HOME", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("FARCALL_PYTHON", Python::under_test().path())
        .env("FARCALL_CACHE_DIR", directory.join("cache"))
        .env("FARCALL_CANCEL_GRACE_S", "1")
        .env("RUNPOD_SKIP_FITNESS_CHECKS", "true")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(second)
        .process_group(0);
    command.spawn().expect("farcall can be started")
}
