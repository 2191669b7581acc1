//! uv as a test sees it: a program on `PATH` that writes down how it was run and hands over to the real one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::Python;

/// A `uv` in a directory of its own.
#[derive(Debug)]
pub struct WatchedUv {
    directory: TempDir,
}

impl WatchedUv {
    /// Hands over to the uv beside the interpreter under test, after the shell commands `first`.
    pub fn new(first: &str) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let real = Python::under_test().path().with_file_name("uv");
        let log = directory.path().join("log");
        let script =
            format!("#!/bin/sh\necho \"$*\" >> {}\n{first}\nexec {} \"$@\"\n", log.display(), real.display());
        let path = directory.path().join("uv");
        fs::write(&path, script).expect("the directory is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self { directory }
    }

    /// A `PATH` on which it comes first.
    pub fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.directory.path().display())
    }

    /// How often it has asked what would be installed.
    pub fn plans(&self) -> usize {
        self.runs(|line| line.contains("--dry-run"))
    }

    /// How often it has installed.
    pub fn installations(&self) -> usize {
        self.runs(|line| line.starts_with("pip install") && !line.contains("--dry-run"))
    }

    fn runs(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        fs::read_to_string(self.directory.path().join("log"))
            .unwrap_or_default()
            .lines()
            .filter(|line| is_meant(line))
            .count()
    }
}
