//! Python programs the tests run themselves: the client's side of pickles.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repository;

/// An interpreter that has cloudpickle, or borrows it from the one under test.
#[derive(Debug, Clone)]
pub struct Python {
    path: PathBuf,
    borrowed: Option<String>,
}

impl Python {
    /// `FARCALL_TEST_PYTHON`, or the repository's `.venv`.
    pub fn under_test() -> Self {
        let path = std::env::var_os("FARCALL_TEST_PYTHON")
            .map_or_else(|| repository().join(".venv/bin/python"), PathBuf::from);
        assert!(
            path.is_file(),
            "no interpreter at `{}`; `make test` prepares one, or set FARCALL_TEST_PYTHON",
            path.display()
        );
        Self { path, borrowed: None }
    }

    /// Another interpreter, with the cloudpickle of the one under test.
    pub fn borrowing(path: impl Into<PathBuf>) -> Self {
        let where_it_is =
            "import cloudpickle, os\nprint(os.path.dirname(os.path.dirname(cloudpickle.__file__)))";
        Self { path: path.into(), borrowed: Some(Self::under_test().run(where_it_is).trim().to_owned()) }
    }

    /// Its executable.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory to put on `PYTHONPATH` for cloudpickle; empty where it is installed.
    pub fn python_path(&self) -> &str {
        self.borrowed.as_deref().unwrap_or_default()
    }

    /// Runs a program and returns what it printed.
    #[track_caller]
    pub fn run(&self, program: &str) -> String {
        let mut command = Command::new(&self.path);
        command.args(["-c", program]).env("PYTHONPATH", self.python_path()).env_remove("VIRTUAL_ENV");
        let output = command.output().expect("the interpreter can be started");
        assert!(output.status.success(), "{program}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the program prints UTF-8")
    }

    /// base64 of the cloudpickle of an expression.
    #[track_caller]
    pub fn pickle(&self, expression: &str) -> String {
        self.pickle_after("", expression)
    }

    /// base64 of the cloudpickle of an expression, evaluated after some statements.
    #[track_caller]
    pub fn pickle_after(&self, statements: &str, expression: &str) -> String {
        let program = format!(
            "{statements}\nimport base64, cloudpickle\n\
             print(base64.b64encode(cloudpickle.dumps({expression})).decode())"
        );
        self.run(&program).trim().to_owned()
    }

    /// What an expression of `value` prints, `value` being the unpickled argument.
    #[track_caller]
    pub fn unpickle(&self, pickle: &str, expression: &str) -> String {
        let program = format!(
            "import base64, pickle\nvalue = pickle.loads(base64.b64decode('{pickle}'))\nprint({expression})"
        );
        self.run(&program).trim_end().to_owned()
    }
}
