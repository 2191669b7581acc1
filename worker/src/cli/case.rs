//! A test case: a request in a file, and what it should answer.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use farcall_protocol::FunctionResponse;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::CommandError;

/// A request file. The file itself is the request: `expect` is a field requests do not have.
#[derive(Debug)]
pub(super) struct Case {
    /// What to call it in a report.
    pub(super) name: String,
    /// The whole document.
    pub(super) request: Vec<u8>,
    expect: Expect,
}

/// What a case's `expect` may hold. Without any of it, the call has to succeed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    success: Option<bool>,
    result: Option<Value>,
    json_result: Option<Value>,
    error: Option<String>,
    error_contains: Option<Texts>,
    stdout: Option<String>,
    stdout_contains: Option<Texts>,
    instance_id: Option<String>,
    instance_info: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    expect: Option<Value>,
}

impl Case {
    /// Reads a case; a document that is no JSON is the request's own failure, reported when it runs.
    pub(super) fn read(name: String, request: Vec<u8>) -> Result<Self, CommandError> {
        let document: Document = serde_json::from_slice(&request).unwrap_or(Document { expect: None });
        let expect = match document.expect {
            None => Expect::default(),
            Some(expect) => serde_json::from_value(expect)
                .map_err(|error| CommandError::usage(format!("`{name}`: `expect`: {error}")))?,
        };
        Ok(Self { name, request, expect })
    }

    /// Reads every file named, and every `*.json` in every directory named, in the order of their names.
    pub(super) fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, CommandError> {
        let unreadable = |path: &Path| {
            let path = path.display().to_string();
            move |error| CommandError::usage(format!("cannot read `{path}`: {error}"))
        };
        let mut cases = Vec::new();
        for path in paths {
            let files = if path.is_dir() {
                let entries = fs::read_dir(path).map_err(unreadable(path))?;
                let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
                files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
                files.sort();
                if files.is_empty() {
                    return Err(CommandError::usage(format!("`{}` holds no *.json file", path.display())));
                }
                files
            } else {
                vec![path.clone()]
            };
            for file in files {
                let request = fs::read(&file).map_err(unreadable(&file))?;
                cases.push(Self::read(file.display().to_string(), request)?);
            }
        }
        Ok(cases)
    }

    /// What in `response` is not as expected, a line each.
    pub(super) fn check(&self, response: &FunctionResponse) -> Vec<String> {
        let Expect { success, result, json_result, error, error_contains, stdout, stdout_contains, .. } =
            &self.expect;
        let mut failures = Vec::new();
        let expects_error = error.is_some() || error_contains.is_some();
        let success = success.unwrap_or(!expects_error);
        if response.success != success {
            let name = |success| if success { "success" } else { "an error" };
            failures.push(format!("expected {}, got {}", name(success), name(response.success)));
        }
        let mut compare = |what: &str, expected: &Value, actual: Option<Value>| {
            let actual = actual.unwrap_or(Value::Null);
            if !equal(expected, &actual) {
                failures.push(format!("{what}: expected {expected}, got {actual}"));
            }
        };
        if let Some(expected) = result {
            compare("result", expected, plain_result(response));
        }
        if let Some(expected) = json_result {
            compare("json_result", expected, plain_result(response));
        }
        if let Some(expected) = &self.expect.instance_id {
            compare("instance_id", &expected.as_str().into(), response.instance_id.clone().map(Value::from));
        }
        for (name, expected) in self.expect.instance_info.iter().flatten() {
            let info = response.instance_info.as_ref().and_then(|info| serde_json::to_value(info).ok());
            compare(
                &format!("instance_info.{name}"),
                expected,
                info.and_then(|info| info.get(name).cloned()),
            );
        }
        if let Some(expected) = stdout {
            compare("stdout", &expected.as_str().into(), response.stdout.clone().map(Value::from));
        }
        if let Some(expected) = error {
            compare("error", &expected.as_str().into(), response.error.clone().map(Value::from));
        }
        for (what, texts, actual) in
            [("error", error_contains, &response.error), ("stdout", stdout_contains, &response.stdout)]
        {
            let actual = actual.as_deref().unwrap_or_default();
            for text in texts.iter().flat_map(Texts::iter).filter(|text| !actual.contains(text.as_str())) {
                failures.push(format!("{what} does not contain {text:?}"));
            }
        }
        failures
    }
}

impl Texts {
    fn iter(&self) -> std::slice::Iter<'_, String> {
        match self {
            Self::One(text) => std::slice::from_ref(text).iter(),
            Self::Many(texts) => texts.iter(),
        }
    }
}

/// The result as a JSON value, if it is plain data.
pub(super) fn plain_result(response: &FunctionResponse) -> Option<Value> {
    if let Some(json) = &response.json_result {
        return serde_json::from_str(json.get()).ok();
    }
    let pickle = BASE64_STANDARD.decode(response.result.as_ref()?).ok()?;
    serde_pickle::from_slice::<Value>(&pickle, serde_pickle::DeOptions::new()).ok()
}

/// Equality as Python sees it: `1 == 1.0`.
fn equal(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => expected == actual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expect: &str, response: &FunctionResponse) -> Vec<String> {
        let document = format!("{{\"expect\": {expect}}}");
        Case::read("case".into(), document.into_bytes()).unwrap().check(response)
    }

    fn answer() -> FunctionResponse {
        FunctionResponse {
            success: true,
            result: Some("gAWVCQAAAAAAAABdlChLAUsCZS4=".into()), // pickle.dumps([1, 2], 5)
            stdout: Some("one\ntwo\n".into()),
            ..FunctionResponse::default()
        }
    }

    #[test]
    fn what_is_expected_passes() {
        let expect = r#"{"success": true, "result": [1, 2.0], "stdout_contains": ["one", "two"]}"#;
        assert_eq!(check(expect, &answer()), Vec::<String>::new());
        assert_eq!(check("{}", &answer()), Vec::<String>::new());
        assert_eq!(
            check(r#"{"error_contains": "no"}"#, &FunctionResponse::failure("oh no")),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_not_says_how() {
        insta::assert_debug_snapshot!(
            check(r#"{"success": false, "result": [1], "stdout_contains": "x", "stdout": "", "instance_info": {"method_calls": 2}}"#, &answer()),
            @r#"
        [
            "expected an error, got success",
            "result: expected [1], got [1,2]",
            "instance_info.method_calls: expected 2, got null",
            "stdout: expected \"\", got \"one\\ntwo\\n\"",
            "stdout does not contain \"x\"",
        ]
        "#);
        insta::assert_debug_snapshot!(check("{}", &FunctionResponse::failure("no")), @r#"
        [
            "expected success, got an error",
        ]
        "#);
    }

    #[test]
    fn a_misspelt_expectation_is_refused() {
        let error = Case::read("c.json".into(), br#"{"expect": {"sucess": true}}"#.to_vec()).unwrap_err();
        assert!(error.text.starts_with("`c.json`: `expect`: unknown field `sucess`"), "{}", error.text);
    }
}
