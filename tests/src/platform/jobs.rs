//! A job, from its posting to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Waiting for a worker.
    InQueue,
    /// Handed to a worker.
    InProgress,
    /// Answered without an error.
    Completed,
    /// Answered with an error.
    Failed,
    /// Cancelled by a client.
    Cancelled,
    /// Over its limits.
    TimedOut,
}

impl Status {
    /// Whether it stays so.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::InQueue | Self::InProgress)
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    /// What a worker gets.
    pub(super) payload: Bytes,
    pub(super) status: Status,
    /// Who has it, or had it last.
    pub(super) worker: Option<String>,
    /// Everyone who ever had it.
    pub(super) holders: Vec<String>,
    pub(super) queued_at: Instant,
    pub(super) started_at: Option<Instant>,
    pub(super) finished_at: Option<Instant>,
    /// When its worker last gave a sign of it.
    pub(super) seen_at: Instant,
    /// Its worker's latest ping names it.
    pub(super) listed: bool,
    /// Something was posted for it, or its delivery went wrong: who has it is not certain.
    pub(super) doubtful: bool,
    /// So many more final answers are no violation: the answers to those before were lost.
    pub(super) forgiven: usize,
    /// When its worker learned that it is to be stopped.
    pub(super) stop_told_at: Option<Instant>,
    pub(super) execution_limit: Option<Duration>,
    pub(super) time_to_live: Option<Duration>,
    pub(super) output: Option<Box<RawValue>>,
    pub(super) error: Option<Box<RawValue>>,
    pub(super) chunks: Vec<Box<RawValue>>,
    /// How many chunks a client has fetched.
    pub(super) chunks_read: usize,
    /// Wakes the clients that wait for it.
    pub(super) changed: Arc<Notify>,
}

/// What `/status` and `/runsync` answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusDocument<'a> {
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RawValue>,
}

impl Job {
    pub(super) fn new(id: String, payload: Bytes) -> Self {
        let now = Instant::now();
        Self {
            id,
            payload,
            status: Status::InQueue,
            worker: None,
            holders: Vec::new(),
            queued_at: now,
            started_at: None,
            finished_at: None,
            seen_at: now,
            listed: false,
            doubtful: false,
            forgiven: 0,
            stop_told_at: None,
            execution_limit: None,
            time_to_live: None,
            output: None,
            error: None,
            chunks: Vec::new(),
            chunks_read: 0,
            changed: Arc::new(Notify::new()),
        }
    }

    pub(super) fn document(&self) -> StatusDocument<'_> {
        let now = Instant::now();
        let start = self.started_at;
        StatusDocument {
            id: &self.id,
            status: self.status,
            delay_time: start.map(|start| millis(start - self.queued_at)),
            execution_time: start.map(|start| millis(self.finished_at.unwrap_or(now) - start)),
            worker_id: self.worker.as_deref(),
            output: self.output.as_deref(),
            error: self.error.as_deref(),
        }
    }

    /// Whether a limit of the job's policy has passed.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let over = |since: Option<Instant>, limit: Option<Duration>| {
            since.zip(limit).is_some_and(|(since, limit)| now > since + limit)
        };
        over(self.started_at, self.execution_limit) || over(Some(self.queued_at), self.time_to_live)
    }

    pub(super) fn give_to(&mut self, worker: &str) {
        let now = Instant::now();
        self.status = Status::InProgress;
        self.worker = Some(worker.to_owned());
        if !self.holders.iter().any(|holder| holder == worker) {
            self.holders.push(worker.to_owned());
        }
        self.started_at = Some(now);
        self.seen_at = now;
        self.listed = false;
        self.doubtful = false;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
