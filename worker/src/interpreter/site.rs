//! Where an interpreter finds packages, and what decides which ones fit it.
//!
//! One short run of it, started like a runner: `PYTHONPATH`, the user's site, `.pth` files and `sitecustomize`
//! decide as they do there. The answer is remembered where all that it came from can be watched.

mod memory;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use pep508_rs::MarkerEnvironment;
use serde::{Deserialize, Serialize};

use super::{Interpreter, InterpreterError};
use crate::subprocess::Subprocess;

/// Prints an [`Answer`] as JSON, on a line of its own behind [`MARK`].
const QUESTION: &str = include_str!("site/question.py");

/// What the line with the answer begins with; code of the image may print others.
const MARK: &str = "farcall-site:";

/// A cold interpreter on a busy disk takes seconds; more means that it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where an interpreter finds packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its prefix; inside a virtual environment, that environment's directory.
    pub prefix: PathBuf,
    /// The executable of the installation it belongs to, outside of any virtual environment, without links.
    pub base_executable: PathBuf,
    /// Where a virtual environment of it has its packages, relative to the environment's directory.
    pub purelib: PathBuf,
    /// The directories of its `sys.path` that packages are installed into, in order. One that `PYTHONPATH` names
    /// need not exist.
    pub directories: Vec<PathBuf>,
    /// What decides whether a requirement or a distribution is for it.
    pub markers: Markers,
}

/// What decides whether a requirement or a distribution is for an interpreter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Markers {
    /// The values of the environment markers ([PEP 508]).
    ///
    /// [PEP 508]: https://packaging.python.org/en/latest/specifications/dependency-specifiers/#environment-markers
    pub environment: MarkerEnvironment,
    /// Major and minor version of the C library if it is GNU's: wheels for `manylinux` say which they need.
    pub glibc: Option<(u32, u32)>,
}

/// What the interpreter prints.
#[derive(Debug, Deserialize)]
struct Answer {
    site: Site,
    /// Files and directories, some of which need not exist, that the site was made from.
    inputs: Vec<PathBuf>,
    /// Whether the answer is the same as long as all of those are.
    is_lasting: bool,
}

/// Remembers or asks.
pub(super) async fn find(interpreter: &Interpreter) -> Result<Site, InterpreterError> {
    let (path, cache) = (&interpreter.executable, interpreter.cache_directory.as_deref());
    if let Some(known) = cache.and_then(|cache| memory::recall(cache, path)) {
        return Ok(known);
    }
    let asked = SystemTime::now();
    let answer = ask(interpreter).await?;
    if let Some(cache) = cache.filter(|_| answer.is_lasting) {
        memory::remember(cache, path, &answer, asked);
    }
    Ok(answer.site)
}

async fn ask(interpreter: &Interpreter) -> Result<Answer, InterpreterError> {
    let path = &interpreter.executable;
    let command = Subprocess::new(path).arguments(["-c", QUESTION]).deadline(DEADLINE);
    let command = command.shown_as(format!("{} -c ...", path.display()));
    let output = command.run().await;
    let output = output.map_err(|source| InterpreterError::Site { path: path.clone(), source })?;
    read(&output.stdout).map_err(|source| InterpreterError::SiteAnswer { path: path.clone(), source })
}

fn read(output: &str) -> Result<Answer, serde_json::Error> {
    let line = output.lines().rev().find_map(|line| line.strip_prefix(MARK));
    serde_json::from_str(line.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_found_among_what_the_image_prints() {
        let answer = r#"{"site": {"prefix": "/usr", "base_executable": "/usr/bin/python3.11",
            "purelib": "lib/python3.11/site-packages", "directories": ["/usr/lib/python3/dist-packages"],
            "markers": {"glibc": [2, 36], "environment": {"implementation_name": "cpython",
            "implementation_version": "3.13.0rc1", "os_name": "posix", "platform_machine": "x86_64",
            "platform_python_implementation": "CPython", "platform_release": "6.1", "platform_system": "Linux",
            "platform_version": "1", "python_full_version": "3.13.0rc1", "python_version": "3.13",
            "sys_platform": "linux"}}}, "inputs": ["/usr/lib/python3"], "is_lasting": true}"#;
        let output = format!("welcome!\n{MARK}{}\ngoodbye", answer.replace('\n', ""));
        let answer = read(&output).unwrap();
        assert_eq!(answer.site.markers.glibc, Some((2, 36)));
        assert_eq!(answer.site.markers.environment.python_full_version().to_string(), "3.13.0rc1");
        assert!(answer.is_lasting);
        assert!(read("welcome!\n").is_err());
    }
}
