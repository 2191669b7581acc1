//! A job as the local endpoint keeps it, and what clients read of it (contract 5.3).
//!
//! ```text
//! IN_QUEUE ──▶ IN_PROGRESS ──▶ COMPLETED | FAILED | TIMED_OUT
//!    │  ▲          │  └──────▶ CANCELLED
//!    │  └── retry, worker died
//!    └──▶ CANCELLED | TIMED_OUT
//! ```

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::Serialize;
use serde_json::value::RawValue;

/// What answers call the worker: there is one.
const WORKER_ID: &str = "local";

/// Where a job stands. The numbers are the database's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    InQueue = 0,
    InProgress = 1,
    Completed = 2,
    Failed = 3,
    Cancelled = 4,
    TimedOut = 5,
}

impl Status {
    pub(super) const ALL: [Self; 6] =
        [Self::InQueue, Self::InProgress, Self::Completed, Self::Failed, Self::Cancelled, Self::TimedOut];

    pub(super) fn is_final(self) -> bool {
        !matches!(self, Self::InQueue | Self::InProgress)
    }

    /// Whether a client may have it run again.
    pub(super) fn may_be_retried(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled | Self::TimedOut)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InQueue => "IN_QUEUE",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn of_number(number: i64) -> Self {
        Self::ALL.into_iter().find(|status| *status as i64 == number).unwrap_or(Self::Failed)
    }
}

/// Everything about a job except its payloads. Times are milliseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Order of arrival; never used twice.
    pub(super) seq: i64,
    pub(super) id: String,
    /// What it calls, for people; empty where the request does not say.
    pub(super) name: String,
    pub(super) status: Status,
    /// `policy.lowPriority`: it waits for all that are not.
    pub(super) low_priority: bool,
    /// It came by `runsync`, whose results are kept more shortly.
    pub(super) is_sync: bool,
    /// How often it was begun since it was submitted or retried.
    pub(super) attempts: u32,
    /// How often a client had it run again.
    pub(super) retries: u32,
    pub(super) created_ms: i64,
    pub(super) queued_ms: i64,
    pub(super) started_ms: Option<i64>,
    pub(super) finished_ms: Option<i64>,
    /// `policy.ttl`, counted from `queued_ms`.
    pub(super) ttl_ms: i64,
    /// `policy.executionTimeout`.
    pub(super) timeout_ms: Option<i64>,
    pub(super) webhook: Option<String>,
    pub(super) input_bytes: i64,
    pub(super) error: Option<String>,
}

impl Record {
    /// When it has lived long enough.
    pub(super) fn deadline_ms(&self) -> i64 {
        self.queued_ms.saturating_add(self.ttl_ms)
    }

    /// Milliseconds it waited, and milliseconds it ran, so far.
    pub(super) fn times(&self) -> (i64, i64) {
        let end = self.finished_ms.unwrap_or_else(now_ms);
        let started = self.started_ms.unwrap_or(end);
        ((started - self.queued_ms).max(0), (end - started).max(0))
    }

    /// What `status` answers.
    pub(super) fn document(&self, output: Option<&[u8]>) -> Bytes {
        let (delay_time, execution_time) = self.times();
        let has_times = self.status != Status::InQueue;
        let document = Document {
            delay_time: has_times.then_some(delay_time),
            error: self.error.as_deref(),
            execution_time: self.status.is_final().then_some(execution_time),
            id: &self.id,
            output: output.and_then(|output| serde_json::from_slice(output).ok()),
            status: self.status,
            worker_id: self.started_ms.map(|_| WORKER_ID).or(self.status.is_final().then_some("")),
        };
        serde_json::to_vec(&document).unwrap_or_default().into()
    }

    /// A line of `jobs`.
    pub(super) fn summary(&self) -> Summary<'_> {
        let (delay_time, execution_time) = self.times();
        Summary {
            id: &self.id,
            name: &self.name,
            status: self.status,
            created_at: self.created_ms,
            started_at: self.started_ms,
            finished_at: self.finished_ms,
            delay_time,
            execution_time,
            attempts: self.attempts,
            retries: self.retries,
            low_priority: self.low_priority,
            sync: self.is_sync,
            input_bytes: self.input_bytes,
            error: self.error.as_deref().map(headline),
        }
    }
}

/// RunPod's clients want the times and the worker of every job that has ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_time: Option<i64>,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a str>,
}

/// A job in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary<'a> {
    id: &'a str,
    name: &'a str,
    status: Status,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    delay_time: i64,
    execution_time: i64,
    attempts: u32,
    retries: u32,
    low_priority: bool,
    sync: bool,
    input_bytes: i64,
    /// The line that says it.
    error: Option<&'a str>,
}

/// The line of an error that says what it is: of a traceback, the one after the last place in the code.
fn headline(error: &str) -> &str {
    let is_traceback = error.starts_with("Traceback");
    let lines: Vec<&str> = error.lines().collect();
    let last_place = lines.iter().rposition(|line| line.starts_with("  ")).filter(|_| is_traceback);
    lines.get(last_place.map_or(0, |place| place + 1)).copied().unwrap_or_default()
}

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    milliseconds(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An id in the platform's form, of 122 random bits: it is a secret of whoever submitted the job.
pub(super) fn new_id(is_sync: bool) -> String {
    let mut random = [0; 16];
    let mut filled = 0;
    while filled < random.len() {
        filled += getrandom(&mut random[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    let number = u128::from_be_bytes(random) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    format!("{}{uuid}-u1", if is_sync { "sync-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids_of_version_4() {
        let (a, b) = (new_id(false), new_id(true));
        assert_ne!(a, b["sync-".len()..]);
        assert!(a.len() == 39 && a.ends_with("-u1"), "{a}");
        assert_eq!(&a[14..15], "4", "{a}");
        assert!("89ab".contains(&a[19..20]), "{a}");
    }

    #[test]
    fn the_headline_is_the_exception_or_the_first_line() {
        let traceback =
            "Traceback (most recent call last):\n  File \"x\", line 1, in f\n    g()\nValueError: no\nluck";
        assert_eq!(headline(traceback), "ValueError: no");
        assert_eq!(headline("it died\nhint: less"), "it died");
        assert_eq!(headline(""), "");
    }

    #[test]
    fn statuses_have_names_and_numbers() {
        for status in Status::ALL {
            assert_eq!(Status::named(status.name()), Some(status));
            assert_eq!(Status::of_number(status as i64), status);
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
