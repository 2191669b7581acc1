//! Direct references: where to get a distribution, rather than which.
//!
//! URLs become their normal form, paths the `file:` URL of their absolute path, so that none of them depends on
//! the current directory or can be taken for an option by uv, git or ssh.

use std::path::Path;

use pep508_rs::MarkerTree;
use reqwest::Url;

use super::{RequirementError, names_extra, redact, shown};

/// Schemes that uv installs from. `git+ext::` and the like run commands.
pub(super) const SCHEMES: [&str; 7] =
    ["http", "https", "file", "git+http", "git+https", "git+ssh", "git+file"];

/// Names of files that are wheels or source archives.
const ARCHIVES: [&str; 8] =
    [".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lzma"];

/// Whether the entry is a path: absolute, or relative and says so.
pub(super) fn is_path(entry: &str) -> bool {
    matches!(entry, "." | "..") || ["/", "./", "../"].iter().any(|start| entry.starts_with(start))
}

/// Whether the entry begins with a scheme and `//`.
pub(super) fn has_scheme(entry: &str) -> bool {
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
    };
    entry.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// The canonical text of a path to something that can be installed.
pub(super) fn path(entry: &str) -> Result<String, RequirementError> {
    let refuse = |reason| RequirementError::Path { entry: shown(entry), reason };
    let path = Path::new(entry).canonicalize().map_err(|_| refuse("there is no such file or directory"))?;
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    if path.is_dir() {
        let is_project = ["pyproject.toml", "setup.py"].iter().any(|file| path.join(file).is_file());
        is_project.then_some(()).ok_or_else(|| refuse("the directory is no Python project"))?;
    } else if !ARCHIVES.iter().any(|ending| name.ends_with(ending)) {
        return Err(refuse("the file is neither a wheel nor a source archive"));
    }
    let url = Url::from_file_path(&path).map_err(|()| refuse("the path cannot be written as a URL"))?;
    Ok(url.to_string())
}

/// The canonical text of a URL without a name before it; a marker may follow.
pub(super) fn url(entry: &str) -> Result<String, RequirementError> {
    let (text, marker) = split_marker(entry);
    let url = Url::parse(text)
        .map_err(|error| RequirementError::Url { entry: shown(entry), reason: error.to_string() })?;
    check_url(entry, text, &url)?;
    let Some(marker) = marker else { return Ok(url.to_string()) };
    if names_extra(entry) {
        return Err(RequirementError::Extra { entry: shown(entry) });
    }
    let marker = MarkerTree::parse_str::<Url>(marker).map_err(|error| RequirementError::Syntax {
        entry: shown(entry),
        reason: redact(&error.message.to_string()),
    })?;
    Ok(marker.try_to_string().map_or_else(|| url.to_string(), |marker| format!("{url} ; {marker}")))
}

/// The URL, as it was written, of `name @ URL ; marker`.
pub(super) fn url_text(entry: &str) -> &str {
    split_marker(entry.split_once('@').map_or("", |(_, url)| url)).0
}

/// Refuses URLs that uv, git or ssh would not take for one, or would take for more.
pub(super) fn check_url(entry: &str, text: &str, url: &Url) -> Result<(), RequirementError> {
    let refuse = |reason: &str| Err(RequirementError::Url { entry: shown(entry), reason: reason.to_owned() });
    if !SCHEMES.contains(&url.scheme()) {
        return Err(RequirementError::Scheme { entry: shown(entry), scheme: url.scheme().to_owned() });
    }
    if !text.contains("://") {
        return refuse("`//` must follow the scheme");
    }
    if let Some(character) = text.chars().find(|character| !is_url_character(*character)) {
        return refuse(&format!("it contains {character:?}"));
    }
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "file" | "git+file" if !matches!(host, "" | "localhost") => return refuse("a file has no host"),
        "file" | "git+file" => {}
        _ if host.is_empty() => return refuse("the host is missing"),
        _ => {}
    }
    // git and ssh would read these as options of theirs.
    let reference = url.path().rsplit_once('@').map_or("", |(_, reference)| reference);
    if [host, url.username(), reference].iter().any(|part| part.starts_with('-')) {
        return refuse("host, user and reference must not begin with `-`");
    }
    Ok(())
}

/// A URL and the marker behind it, which a blank and `;` part.
fn split_marker(entry: &str) -> (&str, Option<&str>) {
    match entry.split_once(" ;") {
        Some((url, marker)) => (url.trim(), Some(marker)),
        None => (entry.trim(), None),
    }
}

/// Characters of RFC 3986 but those that shells read: `$`, `'`, `(`, `)`, `;`.
fn is_url_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~:/?#[]@!&*+,=%".contains(character)
}
