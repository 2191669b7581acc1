//! Running `farcall` and reading what it says.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use farcall_protocol::FunctionResponse;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Python, Request, binary};

/// A `farcall` to be run: its environment, and a directory of its own as working directory.
#[derive(Debug)]
pub struct Farcall {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

/// A run of `farcall` that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// One line of `farcall test-handler --json`.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The request's file.
    pub file: String,
    /// Whether it answered as expected.
    pub ok: bool,
    /// How long it took.
    pub duration_ms: f64,
    /// The answer itself.
    pub response: FunctionResponse,
}

impl Farcall {
    /// With the interpreter under test.
    pub fn new() -> Self {
        Self::with_python(Python::under_test().path())
    }

    /// With the given `FARCALL_PYTHON`.
    pub fn with_python(python: impl AsRef<Path>) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let cache = directory.path().join("cache").display().to_string();
        let python = python.as_ref().display().to_string();
        Self { directory, variables: Vec::new() }
            .with("FARCALL_PYTHON", &python)
            .with("FARCALL_CACHE_DIR", &cache)
    }

    /// Sets an environment variable; the value may be empty, which means unset.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets environment variables.
    #[must_use]
    pub fn with_all<'a>(self, variables: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        variables.into_iter().fold(self, |farcall, (name, value)| farcall.with(name, &value))
    }

    /// Its working directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file below the working directory.
    #[expect(clippy::needless_pass_by_value, reason = "calls read better without borrowing what they build")]
    pub fn write(&self, path: &str, content: impl ToString) {
        let path = self.directory().join(path);
        std::fs::create_dir_all(path.parent().expect("below the directory"))
            .expect("the directory is writable");
        std::fs::write(path, content.to_string()).expect("the directory is writable");
    }

    /// Runs it with the given arguments.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Finished {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.directory());
        // Nothing of whoever runs the tests: a virtual environment, settings, colours.
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "LANG"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let Output { status, stdout, stderr } = command.output().expect("farcall can be started");
        let text = |bytes| String::from_utf8(bytes).expect("farcall writes UTF-8");
        Finished { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs the requests one after another on one worker.
    pub fn answers<'r>(&self, requests: impl IntoIterator<Item = &'r Request>) -> Vec<Answer> {
        let _ = std::fs::remove_dir_all(self.directory().join("requests"));
        let mut count = 0;
        for request in requests {
            self.write(&format!("requests/{count:04}.json"), request);
            count += 1;
        }
        let finished = self.run(["test-handler", "--json", "requests"]);
        let answers = finished.answers();
        assert_eq!(answers.len(), count, "{finished:?}");
        answers
    }

    /// Runs one request.
    pub fn answer(&self, request: &Request) -> Answer {
        self.answers([request]).remove(0)
    }
}

impl Default for Farcall {
    fn default() -> Self {
        Self::new()
    }
}

impl Finished {
    /// The lines of a `test-handler --json`. Anything else on standard output fails the test.
    pub fn answers(&self) -> Vec<Answer> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        self.stdout.lines().map(parse).collect()
    }
}

impl Answer {
    /// The JSON result of a call that must have succeeded.
    #[track_caller]
    pub fn value(&self) -> Value {
        self.succeeded();
        self.response.json_result.as_ref().map_or(Value::Null, |json| {
            serde_json::from_str(json.get()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
        })
    }

    /// The pickled result, base64, of a call that must have succeeded.
    #[track_caller]
    pub fn pickle(&self) -> &str {
        self.succeeded();
        self.response.result.as_deref().unwrap_or_else(|| panic!("no pickle: {self:?}"))
    }

    /// The error of a call that must have failed, and carries no result then.
    #[track_caller]
    pub fn error(&self) -> &str {
        let response = &self.response;
        assert!(!response.success && !self.ok, "{self:?}");
        assert!(response.result.is_none() && response.json_result.is_none(), "{self:?}");
        response.error.as_deref().unwrap_or_else(|| panic!("no error text: {self:?}"))
    }

    /// What the call printed.
    #[track_caller]
    pub fn output(&self) -> &str {
        self.response.stdout.as_deref().unwrap_or_else(|| panic!("no output: {self:?}"))
    }

    #[track_caller]
    fn succeeded(&self) {
        assert!(self.response.success && self.response.error.is_none(), "{self:?}");
    }
}
