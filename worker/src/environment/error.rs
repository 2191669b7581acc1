//! Why what a request needs could not be installed.

use std::io;
use std::path::PathBuf;

use super::requirement::RequirementError;
use super::system::{SystemError, Tool};
use crate::interpreter::InterpreterError;
use crate::subprocess::SubprocessError;

/// Lines of uv's explanation that are passed on.
const SHOWN_LINES: usize = 30;

/// Why what a request needs is not there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// One of the `dependencies` is not a requirement.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// One of the `system_dependencies` is no package's name, or could not be installed.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The interpreter does not say where its packages are.
    #[error("cannot find the interpreter's own packages")]
    Site(#[source] InterpreterError),
    /// There is no uv.
    #[error(
        "cannot install Python packages: there is no uv on PATH, beside the interpreter or beside farcall\n\
         hint: install uv into the image (`pip install uv`), or the packages themselves"
    )]
    NoUv,
    /// There is one, but it is too old.
    #[error("`{version}` at `{}` is too old to install packages with\nhint: install a later uv", program.display())]
    OldUv {
        /// Where it is.
        program: PathBuf,
        /// What it calls itself.
        version: String,
    },
    /// uv does not run.
    #[error("cannot run uv")]
    Uv(#[source] SubprocessError),
    /// uv did not do what it was asked for.
    #[error("cannot install {}:\n{}{}", quoted(requirements, output), last_lines(output), hint(output))]
    Refused {
        /// What was to be installed.
        requirements: Vec<String>,
        /// What uv wrote, without credentials.
        output: String,
    },
    /// It took too long.
    #[error(
        "`{command}` did not end in time\nhint: FARCALL_INSTALL_TIMEOUT_S gives it longer; packages that are \
         always needed belong into the image"
    )]
    TimedOut {
        /// What did.
        command: String,
    },
    /// The directory of environments cannot be used.
    #[error("cannot {doing} `{}`{}", path.display(), full_disk(source))]
    Store {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Nobody waits for it any more, or the worker is shutting down.
    #[error("the installation was given up: the worker is shutting down")]
    Closed,
}

impl InstallError {
    /// Whether system packages might have helped: something could not be built.
    pub(super) fn may_need_system_packages(&self) -> bool {
        matches!(self, Self::Refused { output, .. } if is_failed_build(output))
    }

    /// What has to be there before another try can succeed.
    pub(super) fn missing_tool(&self) -> Option<Tool> {
        match self {
            Self::Refused { output, .. } => Tool::missing(output),
            _ => None,
        }
    }

    /// Whether the requirements exclude each other, or nothing there is satisfies them.
    pub(super) fn is_unsatisfiable(&self) -> bool {
        matches!(self, Self::Refused { output, .. } if output.contains("No solution found"))
    }
}

fn is_failed_build(output: &str) -> bool {
    output.contains("Failed to build") || output.contains("Build backend failed")
}

/// The requirements that uv's explanation names, or all of them.
fn quoted(requirements: &[String], output: &str) -> String {
    let name = |text: &str| {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
        text[..end.unwrap_or(text.len())].to_lowercase()
    };
    let is_named = |requirement: &&String| {
        let name = name(requirement);
        output
            .to_lowercase()
            .split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .any(|word| word.trim_matches('.') == name)
    };
    let named: Vec<&String> = requirements.iter().filter(is_named).collect();
    let shown = if named.is_empty() { requirements.iter().collect() } else { named };
    shown.iter().map(|requirement| format!("`{requirement}`")).collect::<Vec<_>>().join(", ")
}

fn last_lines(output: &str) -> String {
    let is_news = |line: &&str| !line.starts_with("Using Python ") && !line.starts_with("Resolved ");
    let lines: Vec<&str> = output.trim_end().lines().filter(is_news).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

fn hint(output: &str) -> &'static str {
    let says = |text: &str| output.contains(text);
    if says("No space left on device") {
        "\nhint: the disk is full; `farcall env prune` removes environments that are not in use"
    } else if says("not found in the package registry") || says("was not found in the provided") {
        "\nhint: check the spelling: the name on the package index may differ from the name that is imported"
    } else if says("error sending request") || says("Failed to fetch") || says("dns error") {
        "\nhint: the package index could not be reached; UV_DEFAULT_INDEX or PIP_INDEX_URL names another one"
    } else if is_failed_build(output) {
        "\nhint: it has no wheel for this Python and could not be built; what its build needs belongs into \
         `system_dependencies`"
    } else if says("no wheels with a matching Python") {
        "\nhint: there is no such package for this version of Python"
    } else {
        ""
    }
}

fn full_disk(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": the disk is full\nhint: `farcall env prune` removes environments that are not in use"
        }
        _ => "",
    }
}
