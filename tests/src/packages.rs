//! RunPod's own packages, each generation in an environment of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::repository;

/// An environment with one of the packages, unmodified.
#[derive(Debug)]
pub struct Packages {
    directory: PathBuf,
}

impl Packages {
    /// runpod-flash 1.21, the client.
    pub fn flash() -> Option<Self> {
        Self::prepare("flash")
    }

    /// runpod 1.12, the worker that ours replaces.
    pub fn runpod1() -> Option<Self> {
        Self::prepare("runpod1")
    }

    /// runpod 2.0, the client; its functions import it on the worker, too.
    pub fn runpod2() -> Option<Self> {
        Self::prepare("runpod2")
    }

    /// A program of the environment.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join("bin").join(name)
    }

    /// Its interpreter.
    pub fn python(&self) -> PathBuf {
        self.program("python")
    }

    /// Has `make` prepare it where that was not done before. None, with the reason on standard error, if it
    /// cannot be done: without a network, say.
    fn prepare(name: &str) -> Option<Self> {
        let directory = repository().join(format!(".venv-{name}"));
        // Tests are processes of their own, and several want the same environment.
        let lock = File::create(std::env::temp_dir().join(format!("farcall-test-{name}.lock")));
        lock.and_then(|lock| lock.lock().map(|()| lock)).map_or_else(
            |error| panic!("cannot lock the environment `{name}`: {error}"),
            |_lock| make(&directory).then_some(Self { directory: directory.clone() }),
        )
    }
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests shall know what was left out")]
fn make(directory: &Path) -> bool {
    let stamp = directory.join(".installed");
    let output = Command::new("make")
        .args(["--quiet", "--no-print-directory"])
        .arg(stamp.strip_prefix(repository()).expect("it lies there"))
        .current_dir(repository())
        .env_remove("MAKEFLAGS")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            eprintln!("skipped: `{}` cannot be prepared: {}", directory.display(), reason.trim());
            false
        }
        Err(error) => {
            eprintln!("skipped: no `make` to prepare `{}`: {error}", directory.display());
            false
        }
    }
}
