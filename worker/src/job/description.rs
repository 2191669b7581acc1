//! What kind of failure an outcome is, for clients that act on it: an object with `kind`, and what is known.
//!
//! `raised` carries the exception as the runner describes it; `died` how the process ended. The words are in the
//! answer's `error`, here as for everybody.

use std::os::unix::process::ExitStatusExt;

use farcall_protocol::frame::{Done, Encoding, Outcome};
use serde_json::json;
use serde_json::value::RawValue;

use super::JobOutcome;
use crate::runner::{Death, Ending, Interruption, Report};

impl JobOutcome {
    /// The failure as JSON, if it is one.
    pub(super) fn description(&self) -> Option<Box<RawValue>> {
        let described = match self {
            Self::Ran(Report { ending: Ending::Answered(done, body), .. }) => return of_answer(done, body),
            Self::Ran(Report { ending: Ending::Interrupted(Interruption::Cancelled), .. })
            | Self::CancelledWaiting => json!({"kind": "cancelled"}),
            Self::Ran(Report {
                ending: Ending::Interrupted(Interruption::TimedOut { timeout, .. }), ..
            }) => {
                json!({"kind": "timed_out", "timeout_s": timeout.as_secs_f64()})
            }
            Self::Ran(Report { ending: Ending::Died(death), .. }) => of_death(death),
            Self::Rejected(_) => json!({"kind": "rejected"}),
            Self::ModulesMissing(_) => json!({"kind": "modules_missing"}),
            Self::NotInstalled(..) => json!({"kind": "not_installed"}),
            Self::NotStarted(_) => json!({"kind": "not_started"}),
        };
        RawValue::from_string(described.to_string()).ok()
    }
}

fn of_answer(done: &Done, body: &[u8]) -> Option<Box<RawValue>> {
    let kind = match done.outcome {
        Outcome::Succeeded => return None,
        Outcome::Raised => "raised",
        Outcome::Rejected => "rejected",
        Outcome::Unserializable => "unserializable",
        Outcome::Cancelled => "cancelled",
    };
    let exception = serde_json::from_slice::<&RawValue>(body).ok();
    let exception = exception.filter(|_| done.encoding == Encoding::Exception);
    let described = match exception {
        Some(exception) => format!("{{\"kind\":\"{kind}\",\"exception\":{exception}}}"),
        None => json!({"kind": kind}).to_string(),
    };
    RawValue::from_string(described).ok()
}

fn of_death(death: &Death) -> serde_json::Value {
    let status = death.exit.as_ref().map(|exit| exit.status);
    json!({
        "kind": "died",
        "exit_code": status.and_then(|status| status.code()),
        "signal": status.and_then(|status| status.signal()),
        "out_of_memory": death.out_of_memory,
        "peak_memory_bytes": death.exit.as_ref().map(|exit| exit.peak_memory_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(outcome: &JobOutcome) -> serde_json::Value {
        serde_json::from_str(outcome.description().unwrap().get()).unwrap()
    }

    #[test]
    fn each_end_has_its_kind() {
        assert_eq!(description(&JobOutcome::CancelledWaiting), json!({"kind": "cancelled"}));
        let died = JobOutcome::Ran(Report::unknown_death());
        let nothing = serde_json::Value::Null;
        let known = json!({
            "kind": "died",
            "exit_code": nothing,
            "signal": nothing,
            "out_of_memory": false,
            "peak_memory_bytes": nothing,
        });
        assert_eq!(description(&died), known);
        assert_eq!(died.into_response_for(false).failure.map(|failure| failure.get().to_owned()), None);
    }
}
