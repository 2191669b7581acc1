//! A job's arrival.

use std::sync::Arc;

use bytes::Bytes;
use farcall_protocol::ModulesKey;
use tokio::sync::oneshot;

use super::Endpoint;
use super::files::{Kind, Stored};
use super::job::{Record, Status, milliseconds, new_id, now_ms};
use super::store::{Change, StoreError};
use super::submission::Submission;
use crate::job::modules_missing;

/// Why a job is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubmitError {
    #[error("{0} jobs wait already\nhint: try again later; FARCALL_MAX_QUEUED_JOBS raises the limit")]
    QueueFull(usize),
    #[error(
        "requests and results take more than {0} bytes\nhint: try again later; FARCALL_QUEUE_GB raises the limit"
    )]
    StoreFull(u64),
    #[error("{}", modules_missing(*.0))]
    ModulesMissing(ModulesKey),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Endpoint {
    /// Takes a job. When this returns it is written, unless somebody waits for its end instead of its id. Must
    /// not be dropped before: the job would be written, and never run.
    pub(super) async fn submit(
        self: &Arc<Self>,
        submission: Submission,
        waiter: Option<oneshot::Sender<Bytes>>,
    ) -> Result<String, SubmitError> {
        if let Some(key) = submission.modules.filter(|key| self.shipped.find(*key).is_none()) {
            return Err(SubmitError::ModulesMissing(key));
        }
        let input = submission.input.clone();
        let seq = self.reserve(input.len())?;
        let record = self.record_of(submission, seq, waiter.is_some());
        let id = record.id.clone();
        if let Err(error) = self.write_down(&record, input.clone(), waiter.is_some()).await {
            self.queue().payload_bytes -= input.len() as u64;
            self.store.files().remove(&id);
            return Err(error.into());
        }
        {
            let mut queue = self.queue();
            queue.enter(record, Some(input), waiter);
            queue.counts[Status::InQueue as usize] += 1;
        }
        self.dispatch();
        Ok(id)
    }

    /// Room for a request of so many bytes, and its place in the order of arrival.
    fn reserve(&self, input_bytes: usize) -> Result<i64, SubmitError> {
        let mut queue = self.queue();
        if queue.waiting() >= self.config.max_queued_jobs {
            return Err(SubmitError::QueueFull(queue.waiting()));
        }
        if queue.payload_bytes + input_bytes as u64 > self.config.max_queue_bytes {
            return Err(SubmitError::StoreFull(self.config.max_queue_bytes));
        }
        queue.payload_bytes += input_bytes as u64;
        Ok(queue.next_seq())
    }

    fn record_of(&self, submission: Submission, seq: i64, is_sync: bool) -> Record {
        let now = now_ms();
        Record {
            seq,
            id: new_id(is_sync),
            name: submission.name,
            status: Status::InQueue,
            low_priority: submission.low_priority,
            is_sync,
            attempts: 0,
            retries: 0,
            created_ms: now,
            queued_ms: now,
            started_ms: None,
            finished_ms: None,
            ttl_ms: submission.ttl_ms.unwrap_or_else(|| milliseconds(self.config.ttl)),
            timeout_ms: submission.timeout_ms,
            webhook: submission.webhook,
            input_bytes: i64::try_from(submission.input.len()).unwrap_or(i64::MAX),
            error: None,
        }
    }

    async fn write_down(&self, record: &Record, input: Bytes, is_sync: bool) -> Result<(), StoreError> {
        let input: Stored = self.store.files().keep(&record.id, Kind::Input, input).await?;
        let add = Change::Add { record: Box::new(record.clone()), input };
        if is_sync {
            self.store.send(add);
            return Ok(());
        }
        self.store.write(add).await
    }
}
