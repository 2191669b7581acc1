//! A job and the ends it can come to.

mod description;

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farcall_protocol::frame::{Done, Encoding, Outcome};
use farcall_protocol::{FunctionResponse, ModulesKey, RequestError};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::environment::InstallError;
use crate::runner::{Ending, Follower, Report, StartError};

/// One unit of work: a `FunctionRequest` as its client sent it.
#[derive(Debug)]
pub struct Job {
    /// What the log calls it.
    pub id: String,
    /// The request, bare or wrapped, as JSON.
    pub request: Bytes,
    /// How long it may run, if the platform or the client says so.
    pub timeout: Option<Duration>,
    /// Tell the follower what a generator yields, piece by piece, instead of collecting it for the answer.
    pub stream: bool,
    /// Ends it early.
    pub cancelled: CancellationToken,
    /// Told what happens meanwhile.
    pub follower: Option<Follower>,
}

impl Job {
    /// A job that nobody follows or cancels.
    pub fn new(id: impl Into<String>, request: impl Into<Bytes>) -> Self {
        Self {
            id: id.into(),
            request: request.into(),
            timeout: None,
            stream: false,
            cancelled: CancellationToken::new(),
            follower: None,
        }
    }
}

/// How a job ended.
#[derive(Debug)]
pub enum JobOutcome {
    /// It ran. How that ended, and what it printed.
    Ran(Report),
    /// The request could not even be given to a runner.
    Rejected(RequestError),
    /// The files it refers to by their content are not here.
    ModulesMissing(ModulesKey),
    /// What it needs could not be installed. What was said meanwhile.
    NotInstalled(Arc<InstallError>, String),
    /// It was cancelled while it waited for a runner.
    CancelledWaiting,
    /// No runner could be started.
    NotStarted(Arc<StartError>),
}

impl JobOutcome {
    /// Whether the result went to the follower piece by piece.
    pub fn was_streamed(&self) -> bool {
        matches!(self, Self::Ran(Report { ending: Ending::Answered(done, _), .. })
            if done.outcome == Outcome::Succeeded && done.encoding == Encoding::None)
    }

    /// The answer for a client that wants its failure described, or not.
    pub fn into_response_for(self, describes_failure: bool) -> FunctionResponse {
        let failure = describes_failure.then(|| self.description()).flatten();
        FunctionResponse { failure, ..self.into_response() }
    }

    /// The answer for the client.
    pub fn into_response(self) -> FunctionResponse {
        match self {
            Self::Ran(Report { ending, output }) => match ending {
                Ending::Answered(done, body) => answered(done, body, output),
                Ending::Interrupted(interruption) => failed(interruption.to_string(), output),
                Ending::Died(death) => failed(death.to_string(), output),
            },
            Self::Rejected(error) => FunctionResponse::failure(error.to_string()),
            Self::ModulesMissing(key) => FunctionResponse::failure(modules_missing(key)),
            Self::NotInstalled(error, output) => failed(with_causes(&*error), output),
            Self::CancelledWaiting => FunctionResponse::failure("the call was cancelled before it began"),
            Self::NotStarted(error) => FunctionResponse::failure(with_causes(&error)),
        }
    }
}

/// What a client is told that relies on files which are not here.
pub fn modules_missing(key: ModulesKey) -> String {
    format!(
        "the files shipped with an earlier request are not here ({key})\nhint: send them again, in `modules`"
    )
}

fn failed(error: String, output: String) -> FunctionResponse {
    FunctionResponse { error: Some(error), stdout: Some(output), ..FunctionResponse::default() }
}

fn answered(done: Done, body: Vec<u8>, output: String) -> FunctionResponse {
    let text = String::from_utf8(body);
    let (result, json_result) = match (done.encoding, text) {
        (Encoding::Pickle, Ok(text)) => (Some(text), None),
        (Encoding::Json, Ok(text)) => (None, RawValue::from_string(text).ok()),
        (Encoding::None | Encoding::Exception, Ok(_)) => (None, None),
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
        failure: None,
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

/// The same on one line, for the log.
pub fn on_one_line(error: &dyn std::error::Error) -> String {
    with_causes(error).replace("\n  caused by", "").replace('\n', " ")
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
