//! A job and the ends it can come to.

use std::process::ExitStatus;

use farcall_protocol::frame::{Done, Encoding, Outcome};
use farcall_protocol::{FunctionResponse, RequestError};
use serde_json::value::RawValue;

use crate::runner::{Death, StartError};

/// One unit of work: a `FunctionRequest` as its client sent it.
#[derive(Debug)]
pub struct Job<'a> {
    /// The request, bare or wrapped, as JSON.
    pub request: &'a [u8],
}

/// How a job ended. Every end carries what it printed.
#[derive(Debug)]
pub enum JobOutcome {
    /// A runner answered: the call succeeded, raised, or was refused.
    Answered {
        /// The runner's answer.
        done: Done,
        /// The encoded result.
        body: Vec<u8>,
        /// What the call printed.
        output: String,
    },
    /// The request could not even be given to a runner.
    Rejected(RequestError),
    /// The runner died under the call.
    Died(Death),
    /// No runner could be started.
    NotStarted(StartError),
}

impl JobOutcome {
    /// The answer for the client.
    pub fn into_response(self) -> FunctionResponse {
        match self {
            Self::Answered { done, body, output } => answered(done, body, output),
            Self::Rejected(error) => FunctionResponse::failure(error.to_string()),
            Self::Died(death) => FunctionResponse {
                error: Some(death.to_string()),
                stdout: Some(death.output),
                ..FunctionResponse::default()
            },
            Self::NotStarted(error) => FunctionResponse::failure(with_causes(&error)),
        }
    }
}

fn answered(done: Done, body: Vec<u8>, output: String) -> FunctionResponse {
    let text = String::from_utf8(body);
    let (result, json_result) = match (done.encoding, text) {
        (Encoding::Pickle, Ok(text)) => (Some(text), None),
        (Encoding::Json, Ok(text)) => (None, RawValue::from_string(text).ok()),
        (Encoding::None, Ok(_)) => (None, None),
        (_, Err(_)) => {
            return FunctionResponse::failure("the runner's answer is not text: this is a bug of farcall");
        }
    };
    let (instance_id, instance_info) = done.instance.map(|instance| (instance.id, instance.info)).unzip();
    FunctionResponse {
        success: done.outcome == Outcome::Succeeded,
        result,
        json_result,
        error: done.error,
        stdout: Some(output),
        instance_id,
        instance_info,
    }
}

/// An error and what caused it, a line each.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  caused by: {error}"));
        cause = error.source();
    }
    text
}

/// `exit code 3`, or `signal 11 (SIGSEGV, segmentation fault)`.
pub fn describe_exit(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;

    if let Some(code) = status.code() {
        return format!("exit code {code}");
    }
    let Some(signal) = status.signal() else { return status.to_string() };
    let (name, meaning) = match signal {
        4 => ("SIGILL", "illegal instruction"),
        6 => ("SIGABRT", "aborted"),
        7 => ("SIGBUS", "bus error"),
        8 => ("SIGFPE", "arithmetic error"),
        9 => ("SIGKILL", "killed, often for using too much memory"),
        11 => ("SIGSEGV", "segmentation fault"),
        15 => ("SIGTERM", "terminated"),
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name}, {meaning})")
}
