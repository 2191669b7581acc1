//! Programs that turn out to be needed while Python packages are installed, and that the system's packages bring.

use super::compiler::is_missing_compiler;

/// A program, or a few that come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// A C and C++ compiler, `make` and the C library's headers.
    Compiler,
    /// What fetches requirements from repositories.
    Git,
}

impl Tool {
    /// What was missing, from what uv has said.
    pub(crate) fn missing(output: &str) -> Option<Self> {
        if output.contains("Git executable not found") {
            Some(Self::Git)
        } else if is_missing_compiler(output) {
            Some(Self::Compiler)
        } else {
            None
        }
    }

    /// The Debian package.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Compiler => "build-essential",
            Self::Git => "git",
        }
    }

    /// Why it is installed, for whoever waits for it.
    pub(crate) fn need(self) -> &'static str {
        match self {
            Self::Compiler => "building a package needs a compiler",
            Self::Git => "fetching a package needs git",
        }
    }
}
