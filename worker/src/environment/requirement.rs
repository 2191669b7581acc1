//! One entry of a request's `dependencies`, understood before it goes near a command line.
//!
//! An entry is a distribution by name ([PEP 508]) or a direct reference: a URL, a version-control URL, a path.
//! Everything else is refused with a sentence: options, shell characters, unknown schemes. What remains has one
//! canonical text, which never begins with `-`; entries that mean the same in other words mostly share it.
//! Neither errors nor `Debug` ever show the credentials of a URL; `Display`, which is for uv, does.
//!
//! [PEP 508]: https://packaging.python.org/en/latest/specifications/dependency-specifiers/

mod direct;
mod redact;

use std::fmt;

use pep508_rs::pep440_rs::VersionSpecifiers;
use pep508_rs::{Pep508ErrorSource, VersionOrUrl};
use reqwest::Url;

pub use redact::redact;

/// A requirement by name, or with a URL, as [`pep508_rs`] understands it.
pub(super) type Named = pep508_rs::Requirement<Url>;

/// Longest entry, in bytes. Signed URLs have about 1,500; the parser's work must stay bounded.
const MAX_LENGTH: usize = 4096;

/// Most opening parentheses of an entry: the parser calls itself for each.
const MAX_PARENTHESES: usize = 32;

/// Characters of an entry that an error shows.
const SHOWN: usize = 200;

/// One thing that must be installed for a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Requirement {
    text: String,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Named(Box<Named>),
    Direct,
}

/// Why an entry of `dependencies` is refused. Entries are shown without credentials, and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// There is nothing in it.
    #[error("an entry of `dependencies` is empty\nhint: remove it")]
    Empty,
    /// It is longer than anything that names a package, or nested deeper.
    #[error(
        "dependency `{entry}` is too long or too deeply nested\nhint: an entry has at most {MAX_LENGTH} bytes and {MAX_PARENTHESES} pairs of parentheses"
    )]
    TooLong {
        /// The entry.
        entry: String,
    },
    /// It is an option of pip or uv.
    #[error(
        "dependency `{entry}` is an option, not a package\nhint: list packages only; set an index by PIP_INDEX_URL or UV_INDEX_URL in the endpoint's environment"
    )]
    Option {
        /// The entry.
        entry: String,
    },
    /// It has a character that no requirement has.
    #[error(
        "dependency `{entry}` contains {character:?}, which no requirement may\nhint: one package for each entry, such as `numpy>=2`; percent-encode special characters of URLs"
    )]
    Character {
        /// The entry.
        entry: String,
        /// The first such character.
        character: char,
    },
    /// It is a URL of a kind that cannot be installed from.
    #[error(
        "dependency `{entry}` has the unknown scheme `{scheme}`\nhint: use one of {}",
        direct::SCHEMES.join(", ")
    )]
    Scheme {
        /// The entry.
        entry: String,
        /// What stands before the colon.
        scheme: String,
    },
    /// It is a URL that cannot be used.
    #[error(
        "dependency `{entry}` is not a usable URL: {reason}\nhint: such as `name @ https://host/path.whl`"
    )]
    Url {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a path to something that cannot be installed.
    #[error(
        "dependency `{entry}`: {reason}\nhint: give the path, on the worker, of a wheel, a source archive, or a directory with `pyproject.toml` or `setup.py`"
    )]
    Path {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It does not follow PEP 508.
    #[error(
        "dependency `{entry}` is not a requirement: {reason}\nhint: such as `numpy`, `numpy>=2,<3`, `requests[socks]` or `tomli; python_version < \"3.11\"`"
    )]
    Syntax {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Its marker asks for an extra, which never holds in a request.
    #[error(
        "dependency `{entry}` depends on an `extra`, which only packages can\nhint: ask for a package's extra as in `requests[socks]`"
    )]
    Extra {
        /// The entry.
        entry: String,
    },
}

impl Requirement {
    /// Understands one entry. Paths are looked up; relative ones begin at the worker's current directory.
    pub fn parse(text: &str) -> Result<Self, RequirementError> {
        let entry = text.trim();
        check_shape(entry)?;
        if direct::is_path(entry) {
            return direct::path(entry).map(Self::direct);
        }
        check_characters(entry)?;
        if direct::has_scheme(entry) {
            return direct::url(entry).map(Self::direct);
        }
        if names_extra(entry) {
            return Err(RequirementError::Extra { entry: shown(entry) });
        }
        let mut named = parse_named(entry)?;
        named.extras.sort();
        named.extras.dedup();
        match named.version_or_url.take() {
            Some(VersionOrUrl::Url(url)) => {
                direct::check_url(entry, direct::url_text(entry), &url)?;
                named.version_or_url = Some(VersionOrUrl::Url(url));
                Ok(Self::direct(named.to_string()))
            }
            specifiers => {
                named.version_or_url = specifiers.map(in_order);
                Ok(Self { text: named.to_string(), kind: Kind::Named(Box::new(named)) })
            }
        }
    }

    /// The requirement by name, unless it is a direct reference.
    pub(super) fn named(&self) -> Option<&Named> {
        match &self.kind {
            Kind::Named(named) => Some(named),
            Kind::Direct => None,
        }
    }

    /// The distribution it names, in lower case with `-` between words; `None` for direct references.
    pub fn name(&self) -> Option<&str> {
        self.named().map(|named| named.name.as_ref())
    }

    /// Whether it says where to get the distribution, rather than which.
    pub fn is_direct(&self) -> bool {
        self.named().is_none()
    }

    fn direct(text: String) -> Self {
        Self { text, kind: Kind::Direct }
    }
}

/// The canonical text, for uv: one argument, with the credentials it was given.
impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The canonical text without credentials.
impl fmt::Debug for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Requirement({:?})", redact(&self.text))
    }
}

/// A request's requirements, in an order and form that does not depend on how they were written down.
pub fn canonical(dependencies: &[String]) -> Result<Vec<Requirement>, RequirementError> {
    let mut requirements =
        dependencies.iter().map(|text| Requirement::parse(text)).collect::<Result<Vec<_>, _>>()?;
    requirements.sort_by(|one, other| one.text.cmp(&other.text));
    requirements.dedup();
    Ok(requirements)
}

/// Refuses what must not reach any parser.
fn check_shape(entry: &str) -> Result<(), RequirementError> {
    if entry.is_empty() {
        return Err(RequirementError::Empty);
    }
    if entry.len() > MAX_LENGTH || entry.matches('(').count() > MAX_PARENTHESES {
        return Err(RequirementError::TooLong { entry: shown(entry) });
    }
    if entry.starts_with('-') {
        return Err(RequirementError::Option { entry: shown(entry) });
    }
    match entry.chars().find(|character| character.is_control()) {
        Some(character) => Err(RequirementError::Character { entry: shown(entry), character }),
        None => Ok(()),
    }
}

/// Refuses what neither PEP 508 nor a URL has, but a shell or uv (`${VARIABLE}`) would act upon.
fn check_characters(entry: &str) -> Result<(), RequirementError> {
    let is_foreign = |character: char| {
        !character.is_ascii() || matches!(character, '$' | '`' | '|' | '\\' | '{' | '}' | '^')
    };
    match entry.chars().find(|character| is_foreign(*character)) {
        Some(character) => Err(RequirementError::Character { entry: shown(entry), character }),
        None => Ok(()),
    }
}

fn parse_named(entry: &str) -> Result<Named, RequirementError> {
    entry.parse().map_err(|error: pep508_rs::Pep508Error<Url>| match error.message {
        Pep508ErrorSource::UrlError(error) => {
            RequirementError::Url { entry: shown(entry), reason: error.to_string() }
        }
        // Its `Display` quotes the entry, credentials included.
        message => RequirementError::Syntax { entry: shown(entry), reason: redact(&message.to_string()) },
    })
}

/// Version specifiers sorted as text: `<3,>=2` and `>=2,<3` are the same.
fn in_order(specifiers: VersionOrUrl<Url>) -> VersionOrUrl<Url> {
    match specifiers {
        VersionOrUrl::VersionSpecifier(specifiers) => {
            let mut specifiers: Vec<_> = specifiers.iter().cloned().collect();
            specifiers.sort_by_cached_key(ToString::to_string);
            specifiers.dedup();
            VersionOrUrl::VersionSpecifier(VersionSpecifiers::from_iter(specifiers))
        }
        url @ VersionOrUrl::Url(_) => url,
    }
}

/// Whether the marker speaks of an `extra`, outside of its strings.
///
/// Besides being useless, each extra is a variable of its own to the parser, whose work grows with two to the
/// power of their number.
fn names_extra(entry: &str) -> bool {
    let marker = entry.split_once(';').map_or("", |(_, marker)| marker);
    let outside_strings = marker.split(['"', '\'']).step_by(2);
    let mut words =
        outside_strings.flat_map(|text| text.split(|character: char| !character.is_ascii_alphanumeric()));
    words.any(|word| word == "extra")
}

/// An entry as errors show it: without credentials, on one line, not longer than a line or two.
fn shown(entry: &str) -> String {
    let redacted = redact(entry);
    let escape = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    let cut = if redacted.chars().count() > SHOWN { "..." } else { "" };
    redacted.chars().take(SHOWN).map(escape).chain([cut.to_owned()]).collect()
}
