//! What a check comes to.

use std::fmt;

use pep508_rs::PackageName;

/// Whether requirements are satisfied by what is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    lack: Option<Lack>,
}

/// The first requirement that is not satisfied, or that is not judged here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The requirement, without credentials.
    pub requirement: String,
    /// The installed distribution that has it, unless it is one of those that were asked for.
    pub required_by: Option<PackageName>,
    /// Why it is not.
    pub reason: Reason,
}

/// Why a requirement is not satisfied, or not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing of that name is installed.
    Missing,
    /// This version is.
    Version(String),
    /// It is for these versions of Python.
    Python(String),
    /// It was built for these tags.
    Platform(String),
    /// The requirement is a URL or a path.
    Direct,
    /// The requirement is not understood.
    Unclear,
    /// Its name is installed more than once.
    Twice,
    /// It was installed as an egg.
    Egg,
    /// It leads to a source tree.
    Editable,
    /// It was built with settings of its own.
    Built,
    /// What it says about itself is missing, or not understood.
    Unreadable,
}

impl Verdict {
    /// Everything is there.
    pub(super) const SATISFIED: Self = Self { lack: None };

    /// Whether nothing would have to be installed. If not, uv may still find so.
    pub fn is_satisfied(&self) -> bool {
        self.lack.is_none()
    }

    /// What stands against it.
    pub fn lack(&self) -> Option<&Lack> {
        self.lack.as_ref()
    }
}

impl From<Lack> for Verdict {
    fn from(lack: Lack) -> Self {
        Self { lack: Some(lack) }
    }
}

/// For logs: `satisfied`, or what stands against it.
impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lack {
            None => formatter.write_str("satisfied"),
            Some(lack) => lack.fmt(formatter),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.requirement)?;
        if let Some(name) = &self.required_by {
            write!(formatter, ", which {name} requires,")?;
        }
        write!(formatter, " {}", self.reason)
    }
}

impl Reason {
    /// One word for it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Version(_) => "version",
            Self::Python(_) => "python",
            Self::Platform(_) => "platform",
            Self::Direct => "direct",
            Self::Unclear => "unclear",
            Self::Twice => "twice",
            Self::Egg => "egg",
            Self::Editable => "editable",
            Self::Built => "built",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("is not installed"),
            Self::Version(version) => write!(formatter, "is installed as {version}"),
            Self::Python(versions) => write!(formatter, "is installed, but for Python {versions}"),
            Self::Platform(tags) => write!(formatter, "is installed, but for {tags}"),
            Self::Direct => formatter.write_str("is a direct reference"),
            Self::Unclear => formatter.write_str("is not understood"),
            Self::Twice => formatter.write_str("is installed more than once"),
            Self::Egg => formatter.write_str("is installed as an egg"),
            Self::Editable => formatter.write_str("is installed from a source tree"),
            Self::Built => formatter.write_str("was built with settings of its own"),
            Self::Unreadable => formatter.write_str("is installed without metadata that can be understood"),
        }
    }
}
