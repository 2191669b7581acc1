//! A `farcall serve --mode queue` at a platform.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::platform::Platform;
use crate::{binary, wait_until};

/// A running worker; killed when dropped.
#[derive(Debug)]
pub struct QueueWorker {
    child: Child,
    directory: TempDir,
}

impl QueueWorker {
    /// Starts one under the given id, with the given interpreter and more variables.
    pub fn start(platform: &Platform, id: &str, python: &Path, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let log = File::create(directory.path().join("log")).expect("the directory is writable");
        let mut command = Command::new(binary());
        command.args(["serve", "--mode", "queue"]).current_dir(directory.path());
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "LANG"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .envs(platform.env(id))
            .env("FARCALL_PYTHON", python)
            .env("FARCALL_CACHE_DIR", directory.path().join("cache"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("descriptors are plenty"))
            .stderr(log);
        Self { child: command.spawn().expect("farcall can be started"), directory }
    }

    /// What it has written so far, standard output and error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Asks it to end, and returns its exit code; -1 if a signal ended it.
    #[track_caller]
    pub fn stop(mut self) -> i32 {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::TERM).expect("it is a child of ours");
        let exited = std::cell::Cell::new(None);
        let child = std::cell::RefCell::new(&mut self.child);
        let ended = wait_until(|| {
            exited.set(child.borrow_mut().try_wait().ok().flatten());
            exited.get().is_some()
        });
        assert!(ended, "the worker does not end: {}", self.log());
        exited.get().and_then(|status| status.code()).unwrap_or(-1)
    }
}

impl Drop for QueueWorker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
