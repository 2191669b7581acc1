//! What a distribution says about itself, as far as it decides what else it needs.
//!
//! `METADATA` has headers like those of mail, and a description behind the first empty line, which is most of it.
//! Only the headers are read. Requirements stay text until they are reached: most are for extras, and parsing all
//! of them costs more than everything else.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

use pep508_rs::pep440_rs::VersionSpecifiers;
use pep508_rs::{ExtraName, MarkerWarningKind};
use reqwest::Url;

use super::super::requirement::Named;

/// Enough for the headers of most distributions.
const BLOCK: usize = 8 << 10;

/// Longest headers that are read: licences among them have tens of kilobytes.
const MAX_HEADERS: usize = 1 << 20;

/// Longest requirement, its most opening parentheses, and its most mentions of extras: the parser calls itself
/// for each of the second, and its work may double with each of the third.
const MAX_LENGTH: usize = 4096;
const MAX_PARENTHESES: usize = 32;
const MAX_EXTRAS: usize = 24;

/// The headers that matter here; the case of their letters does not.
const FIELDS: [&str; 4] = ["Name", "Version", "Requires-Python", "Requires-Dist"];

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) requires_python: Option<String>,
    pub(super) requires: Vec<Required>,
}

/// What a distribution requires, if its marker holds.
#[derive(Debug)]
pub(super) struct Required {
    text: String,
    parsed: OnceLock<Option<Named>>,
}

impl Metadata {
    /// Reads a `METADATA` file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::parse(&read_headers(path)?))
    }

    fn parse(headers: &str) -> Self {
        let mut metadata = Self::default();
        let mut lines = headers.lines().peekable();
        while let Some(line) = lines.next() {
            // Most lines are classifiers, or summaries and licences that go on.
            if !line.starts_with(['N', 'n', 'V', 'v', 'R', 'r']) {
                continue;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let Some(field) = FIELDS.iter().position(|field| field.eq_ignore_ascii_case(name)) else {
                continue;
            };
            let mut value = value.trim().to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
                value.push(' ');
                value.push_str(more.trim());
            }
            match FIELDS[field] {
                "Name" => metadata.name = value,
                "Version" => metadata.version = value,
                "Requires-Python" => metadata.requires_python = Some(value),
                _ => metadata.requires.push(Required { text: value, parsed: OnceLock::new() }),
            }
        }
        metadata
    }

    /// The Python versions it is for; `None` if they cannot be understood.
    pub(super) fn python_versions(&self) -> Option<VersionSpecifiers> {
        self.requires_python.as_deref().unwrap_or_default().parse().ok()
    }
}

impl Required {
    /// Whether it is plainly for another extra than those asked for, so that it need not be understood.
    ///
    /// True only if its marker is a plain conjunction that contains `extra == "name"`.
    pub(super) fn is_for_other_extras(&self, extras: &[ExtraName]) -> bool {
        let Some((requirement, marker)) = self.text.split_once(';') else { return false };
        if !marker.contains("extra") {
            return false;
        }
        let quote = if marker.contains('"') { '"' } else { '\'' };
        // A URL may contain `;`, and a string of one kind of quotes the other.
        let is_odd = requirement.contains('@') || (marker.contains('"') && marker.contains('\''));
        let has_or = marker.contains("or") && words(marker).any(|word| word == "or");
        let is_plain = !is_odd && !has_or;
        let other = |term: &str| {
            let term = term.trim_matches([' ', '(', ')']).strip_prefix("extra")?.trim_start();
            let name = term.strip_prefix("==")?.trim().strip_prefix(quote)?.strip_suffix(quote)?;
            let name: ExtraName = name.parse().ok()?;
            Some(!extras.contains(&name))
        };
        is_plain && marker.split(" and ").any(|term| other(term) == Some(true))
    }

    /// The requirement; `None` if it cannot be understood without doubt.
    pub(super) fn named(&self) -> Option<&Named> {
        self.parsed.get_or_init(|| parse(&self.text)).as_ref()
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

fn parse(text: &str) -> Option<Named> {
    let is_bounded = text.len() <= MAX_LENGTH
        && text.matches('(').count() <= MAX_PARENTHESES
        && words(text).filter(|word| *word == "extra").count() <= MAX_EXTRAS;
    let mut is_clear = is_bounded;
    // What it warns about it leaves out, which can make a marker true or false.
    let mut report = |kind, _: String| is_clear &= kind == MarkerWarningKind::DeprecatedMarkerName;
    let named =
        is_bounded.then(|| pep508_rs::Requirement::<Url>::parse_reporter(text, "/", &mut report))?.ok();
    named.filter(|_| is_clear)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
}

/// The text of a file before its first empty line.
pub(super) fn read_headers(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut bytes, mut length) = (vec![0; BLOCK], 0);
    loop {
        let count = file.read(&mut bytes[length..])?;
        // The end of the headers may lie across two blocks.
        let searched = length.saturating_sub(2);
        length += count;
        let end = empty_line(&bytes[searched..length]).map(|end| searched + end);
        if let Some(end) = end.or_else(|| (count == 0).then_some(length)) {
            bytes.truncate(end);
            return String::from_utf8(bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
        if length > MAX_HEADERS {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        bytes.resize(length + BLOCK, 0);
    }
}

/// Where the line before an empty one ends. Nearly all of a check's time would go into a search for two patterns.
fn empty_line(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let end = start + length;
        if matches!(bytes[end + 1..], [b'\n', ..] | [b'\r', b'\n', ..]) {
            return Some(end);
        }
        start = end + 1;
    }
    None
}

#[cfg(test)]
mod tests;
