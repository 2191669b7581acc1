//! Which Python runs user code: found, probed once, and remembered.

mod memory;
mod probe;
mod site;
mod stamp;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Config, LibpythonUse};
use crate::subprocess::SubprocessError;
pub use site::{Markers, Site};
pub(crate) use stamp::Stamp;

/// Oldest minor version of Python 3 that works: the runner uses its stable ABI.
const OLDEST_MINOR: u8 = 10;

/// An interpreter that can run user code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The executable to run it as; inside a virtual environment, that environment's.
    pub executable: PathBuf,
    /// Its version, such as `3.11.7`.
    pub version: String,
    /// Its shared library, if there is one.
    pub libpython: Option<PathBuf>,
    /// Where what it answered is remembered.
    #[serde(skip)]
    cache_directory: Option<PathBuf>,
}

/// Why there is no interpreter to use.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// `FARCALL_PYTHON` names nothing that can be run.
    #[error(
        "FARCALL_PYTHON: `{0}` is not an executable file\nhint: give the path of a Python interpreter, or a name on PATH"
    )]
    NotExecutable(PathBuf),
    /// No variable names one and PATH has none.
    #[error(
        "no Python found on PATH\nhint: install Python 3.10 or later, or set FARCALL_PYTHON to an interpreter"
    )]
    NotFound,
    /// It could not be asked what it is.
    #[error("cannot ask `{path}` for its version")]
    Probe {
        /// The interpreter.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: SubprocessError,
    },
    /// It could not be asked where its packages are.
    #[error("cannot ask `{path}` where its packages are")]
    Site {
        /// The interpreter.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: SubprocessError,
    },
    /// It did not say where its packages are.
    #[error("`{path}` does not say where its packages are")]
    SiteAnswer {
        /// The interpreter.
        path: PathBuf,
        /// What is wrong with its answer.
        #[source]
        source: serde_json::Error,
    },
    /// It answered with something else than expected.
    #[error("`{path}` does not answer like a Python interpreter: {answer:?}")]
    NotPython {
        /// The program.
        path: PathBuf,
        /// What it printed.
        answer: String,
    },
    /// It is older than 3.10.
    #[error(
        "`{path}` is Python {version}; farcall needs CPython 3.10 or later\nhint: set FARCALL_PYTHON to a newer interpreter"
    )]
    TooOld {
        /// The interpreter.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// It is PyPy, GraalPy or another implementation.
    #[error(
        "`{path}` is {implementation}; farcall embeds CPython\nhint: set FARCALL_PYTHON to a CPython interpreter"
    )]
    NotCPython {
        /// The interpreter.
        path: PathBuf,
        /// What it calls itself.
        implementation: String,
    },
    /// It was built without the global interpreter lock.
    #[error(
        "`{path}` is a free-threaded build of Python {version}, which farcall does not support\nhint: set FARCALL_PYTHON to the default build of Python {version}"
    )]
    FreeThreaded {
        /// The interpreter.
        path: PathBuf,
        /// Its version.
        version: String,
    },
}

impl Interpreter {
    /// Finds the interpreter the configuration asks for and checks that it can be used.
    pub async fn find(config: &Config) -> Result<Self, InterpreterError> {
        let mut interpreter = Self::identify(config, &locate(config)?).await?;
        if config.libpython == LibpythonUse::Never {
            interpreter.libpython = None; // only here: what is remembered holds for every setting
        }
        interpreter.cache_directory = Some(config.cache_directory.clone());
        Ok(interpreter)
    }

    async fn identify(config: &Config, path: &Path) -> Result<Self, InterpreterError> {
        if let Some(known) = memory::recall(&config.cache_directory, path) {
            return Ok(known);
        }
        let interpreter = probe::probe(path).await?;
        memory::remember(&config.cache_directory, path, &interpreter);
        Ok(interpreter)
    }

    /// Where it finds packages, and what decides which ones fit it: as runners started now would.
    pub async fn site(&self) -> Result<Site, InterpreterError> {
        site::find(self).await
    }

    /// `3.11` of `3.11.7`.
    pub fn minor_version(&self) -> &str {
        let end = self.version.match_indices('.').nth(1).map_or(self.version.len(), |(index, _)| index);
        &self.version[..end]
    }
}

fn locate(config: &Config) -> Result<PathBuf, InterpreterError> {
    if let Some(named) = &config.python {
        let found = if named.components().count() > 1 {
            std::path::absolute(named).ok().filter(|path| is_executable(path))
        } else {
            on_path(&config.path, named)
        };
        return found.ok_or_else(|| InterpreterError::NotExecutable(named.clone()));
    }
    let in_environment =
        config.virtual_environment.as_ref().map(|environment| environment.join("bin/python"));
    in_environment
        .or_else(beside_this_program)
        .filter(|path| is_executable(path))
        .or_else(|| on_path(&config.path, Path::new("python3")))
        .or_else(|| on_path(&config.path, Path::new("python")))
        .ok_or(InterpreterError::NotFound)
}

/// That of the virtual environment this program is installed in.
fn beside_this_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let programs = program.parent()?;
    programs.parent()?.join("pyvenv.cfg").is_file().then(|| programs.join("python"))
}

/// The first executable `name` on a `PATH`.
pub(crate) fn on_path(path: &str, name: &Path) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_the_first_two_numbers() {
        let minor = |version: &str| {
            let version = version.to_owned();
            let executable = "p".into();
            Interpreter { executable, version, libpython: None, cache_directory: None }
                .minor_version()
                .to_owned()
        };
        assert_eq!(minor("3.11.7"), "3.11");
        assert_eq!(minor("3.15.0a2"), "3.15");
        assert_eq!(minor("3.14"), "3.14");
    }
}
