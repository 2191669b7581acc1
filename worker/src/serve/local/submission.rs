//! What clients submit: the body of `run` and `runsync`.

use std::time::Duration;

use bytes::Bytes;
use farcall_protocol::{Extras, ModulesKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::job::milliseconds;

/// Longest name of a function that is shown, in characters.
const LONGEST_NAME: usize = 100;

/// A job as its client wants it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Submission {
    pub(super) input: Bytes,
    /// What it calls, for people.
    pub(super) name: String,
    pub(super) webhook: Option<String>,
    pub(super) low_priority: bool,
    pub(super) ttl_ms: Option<i64>,
    pub(super) timeout_ms: Option<i64>,
    /// Files that it refers to and does not bring.
    pub(super) modules: Option<ModulesKey>,
}

/// Why a body is no job.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubmissionError {
    #[error("the body is not a job: {0}")]
    Malformed(#[source] serde_json::Error),
    #[error("input is required\nhint: send {{\"input\": {{...}}}}")]
    NoInput,
    #[error("malformed input: expected an object, got `{0}`")]
    NoObject(String),
    #[error("`webhook` is not an http or https URL: `{0}`")]
    Webhook(String),
    #[error("`policy.{0}` is not a number of milliseconds above 0")]
    Policy(&'static str),
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    webhook: Option<String>,
    policy: Option<Policy>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Policy {
    execution_timeout: Option<f64>,
    ttl: Option<f64>,
    low_priority: Option<bool>,
}

/// What an input may say of what it calls, and of the files it needs.
#[derive(Default, Deserialize)]
struct Said<'a> {
    function_name: Option<String>,
    class_name: Option<String>,
    method_name: Option<String>,
    execution_type: Option<String>,
    #[serde(borrow)]
    modules: Option<&'a RawValue>,
    farcall: Option<Extras>,
}

impl Submission {
    pub(super) fn read(body: &Bytes) -> Result<Self, SubmissionError> {
        let Fields { input, webhook, policy } =
            serde_json::from_slice(body).map_err(SubmissionError::Malformed)?;
        let input = input.ok_or(SubmissionError::NoInput)?.get();
        if !input.starts_with('{') {
            return Err(SubmissionError::NoObject(input.chars().take(40).collect()));
        }
        let webhook = webhook.filter(|webhook| !webhook.is_empty());
        if let Some(url) = webhook.as_ref().filter(|url| !is_http(url)) {
            return Err(SubmissionError::Webhook(url.chars().take(100).collect()));
        }
        let policy = policy.unwrap_or_default();
        let said = serde_json::from_str::<Said<'_>>(input).unwrap_or_default();
        let brings_modules = said.modules.is_some_and(|modules| modules.get() != "{}");
        Ok(Self {
            modules: said.farcall.and_then(|extras| extras.modules).filter(|_| !brings_modules),
            name: said.name(),
            input: body.slice_ref(input.as_bytes()),
            webhook,
            low_priority: policy.low_priority.unwrap_or_default(),
            ttl_ms: time("ttl", policy.ttl)?,
            timeout_ms: time("executionTimeout", policy.execution_timeout)?,
        })
    }
}

fn is_http(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn time(field: &'static str, milliseconds_given: Option<f64>) -> Result<Option<i64>, SubmissionError> {
    let Some(given) = milliseconds_given else { return Ok(None) };
    let duration = Duration::try_from_secs_f64(given / 1000.0).ok().filter(|_| given >= 1.0);
    duration.map(|duration| Some(milliseconds(duration))).ok_or(SubmissionError::Policy(field))
}

impl Said<'_> {
    fn name(self) -> String {
        let name = if self.execution_type.as_deref() == Some("class") {
            let method = self.method_name.filter(|method| method != "__call__");
            [self.class_name, method].into_iter().flatten().collect::<Vec<_>>().join(".")
        } else {
            self.function_name.unwrap_or_default()
        };
        name.chars().take(LONGEST_NAME).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Result<Submission, String> {
        Submission::read(&Bytes::from_static(body.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn all_fields_are_read() {
        let body = r#"{"input":{"function_name":"f", "x": [1]},"webhook":"https://h/x","policy":{"ttl":5000,"executionTimeout":1.5,"lowPriority":true},"s3Config":{}}"#;
        let submission = read(body).unwrap();
        assert_eq!(submission.input, Bytes::from_static(br#"{"function_name":"f", "x": [1]}"#));
        assert_eq!((submission.name.as_str(), submission.low_priority), ("f", true));
        assert_eq!((submission.ttl_ms, submission.timeout_ms), (Some(5000), Some(1)));
        assert_eq!(submission.webhook.as_deref(), Some("https://h/x"));
    }

    #[test]
    fn a_method_is_named_with_its_class() {
        let body = r#"{"input":{"execution_type":"class","class_name":"A","method_name":"go"}}"#;
        assert_eq!(read(body).unwrap().name, "A.go");
    }

    #[test]
    fn files_are_needed_where_they_are_named_and_not_brought() {
        let key = "ab".repeat(32);
        let needed = |modules: &str| {
            let input = format!(r#"{{"input":{{"farcall":{{"modules":"{key}"}}{modules}}}}}"#);
            Submission::read(&Bytes::from(input)).unwrap().modules.map(|key| key.to_string())
        };
        assert_eq!(needed(""), Some(key.clone()));
        assert_eq!(needed(r#","modules":{}"#), Some(key.clone()));
        assert_eq!(needed(r#","modules":{"a.py":""}"#), None);
    }

    #[test]
    fn what_is_no_job_is_refused_with_the_reason() {
        for (body, reason) in [
            ("{}", "input is required"),
            ("x", "not a job"),
            (r#"{"input":[1]}"#, "expected an object, got `[1]`"),
            (r#"{"input":{},"webhook":"file:///etc/passwd"}"#, "`webhook` is not"),
            (r#"{"input":{},"policy":{"ttl":0}}"#, "`policy.ttl` is not"),
            (r#"{"input":{},"policy":{"executionTimeout":-1}}"#, "`policy.executionTimeout` is not"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }
}
