//! Messages as the clients send and read them, in `tests/golden`, which the Python SDK shares.
//!
//! A request `NAME.json` is what a client was seen to send; `NAME.canonical.json` is what it means: bare, with
//! every default written out. Responses are canonical themselves.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::fs;
use std::path::{Path, PathBuf};

use farcall_protocol::{FunctionRequest, FunctionResponse};
use serde::Serialize;

fn golden(kind: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(kind);
    let files = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let is_canonical = |file: &Path| file.to_string_lossy().ends_with(".canonical.json");
    let files = files.filter(|file| file.extension().is_some_and(|end| end == "json") && !is_canonical(file));
    let files: Vec<_> = files.map(|file| (file.clone(), fs::read_to_string(&file).unwrap())).collect();
    assert!(files.len() >= 5, "{} holds too few files", directory.display());
    files
}

fn pretty(message: &impl Serialize) -> String {
    // By way of a value, so that the payloads' own layout does not show.
    format!("{:#}\n", serde_json::to_value(message).unwrap())
}

#[test]
fn captured_requests_parse_to_their_canonical_form() {
    for (file, text) in golden("requests") {
        let request = FunctionRequest::parse(text.as_bytes()).unwrap();
        request.target().unwrap();
        let canonical = file.with_extension("canonical.json");
        if std::env::var_os("FARCALL_UPDATE_GOLDEN").is_some() {
            fs::write(&canonical, pretty(&request)).unwrap();
        }
        let expected = fs::read_to_string(&canonical).unwrap();
        assert_eq!(
            pretty(&request),
            expected,
            "{}: FARCALL_UPDATE_GOLDEN=1 writes the canonical form",
            file.display()
        );
        let again = FunctionRequest::parse(expected.as_bytes()).unwrap();
        assert_eq!(pretty(&again), expected, "{}", file.display());
    }
}

#[test]
fn responses_are_written_as_they_were_read() {
    for (file, text) in golden("responses") {
        let response: FunctionResponse = serde_json::from_str(&text).unwrap();
        assert_eq!(pretty(&response), text, "{}", file.display());
    }
}
