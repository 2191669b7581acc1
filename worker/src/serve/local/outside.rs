//! Jobs ended, emptied out or run again from outside: by clients, and by their deadlines.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Endpoint;
use super::job::{Record, Status, now_ms};
use super::queue::Open;
use super::store::{Change, Finish, PURGED, StoreError};

/// Somebody who waits for a job's document.
type Waiter = tokio::sync::oneshot::Sender<bytes::Bytes>;

/// How often deadlines are looked at.
const DEADLINE_PAUSE: Duration = Duration::from_millis(200);

/// Why a job is not run again.
#[derive(Debug, thiserror::Error)]
pub(super) enum RetryError {
    #[error("job not found")]
    Unknown,
    #[error("the job is {0}: only one that failed, timed out or was cancelled can be run again")]
    NotEnded(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a job's end may be written.
enum Claim {
    /// It may, and nobody else will.
    Ours(Box<Record>),
    /// Somebody else is at it.
    Wait(Arc<Notify>),
    /// It has an end.
    Ended(Status),
    /// It is in the database, or nowhere.
    NotOpen,
}

impl Endpoint {
    /// Ends a job; must not be dropped before it has. Returns where it stands now, if it is known; one that had ended stays as it was.
    pub(super) async fn end(
        &self,
        id: &str,
        status: Status,
        reason: Option<&str>,
    ) -> Result<Option<Status>, StoreError> {
        loop {
            let changed = match self.claim_from_outside(id) {
                Claim::Ours(record) => return self.write_end(&record, status, reason).await.map(Some),
                Claim::Ended(status) => return Ok(Some(status)),
                Claim::Wait(changed) => changed,
                Claim::NotOpen => break,
            };
            // Whoever closes it tells when that is done; the pause covers what was told just now.
            let _ = tokio::time::timeout(Duration::from_millis(10), changed.notified()).await;
        }
        Ok(self.store.find(id).await?.map(|(record, _)| record.status))
    }

    fn claim_from_outside(&self, id: &str) -> Claim {
        let mut queue = self.queue();
        let Some(open) = queue.get_mut(id) else { return Claim::NotOpen };
        if open.record.status.is_final() {
            return Claim::Ended(open.record.status);
        }
        if open.is_closing {
            return Claim::Wait(open.changed());
        }
        open.is_closing = true;
        let record = open.record.clone();
        queue.withdraw(record.low_priority, record.seq);
        Claim::Ours(Box::new(record))
    }

    async fn write_end(
        &self,
        record: &Record,
        status: Status,
        reason: Option<&str>,
    ) -> Result<Status, StoreError> {
        let finished_ms = now_ms();
        let finish = Finish {
            seq: record.seq,
            status,
            finished_ms,
            expires_ms: self.expiry(record.is_sync),
            error: reason.map(str::to_owned),
            output: None,
            events: None,
        };
        let written = self.store.write(Change::Finish(Box::new(finish))).await;
        let mut queue = self.queue();
        let Some(open) = queue.get_mut(&record.id) else { return Ok(status) };
        open.is_closing = false;
        if let Err(error) = written {
            // It goes on as if nobody had asked.
            if open.run.is_none() {
                queue.wait_again(&record.id, record.attempts);
            }
            return Err(error);
        }
        open.record.finished_ms = Some(finished_ms);
        open.record.error = reason.map(str::to_owned);
        let cancelled = open.run.as_ref().map(|run| run.cancelled.clone());
        queue.set_status(&record.id, status);
        let ended = match cancelled {
            // Its call goes on until it is interrupted; what it has said by then is added.
            Some(cancelled) => {
                cancelled.cancel();
                let Some(open) = queue.get_mut(&record.id) else { return Ok(status) };
                let (record, waiters) = (open.record.clone(), std::mem::take(&mut open.waiters));
                Some((record, waiters))
            }
            None => queue.remove(&record.id).map(|open| (open.record, open.waiters)),
        };
        drop(queue);
        if let Some((record, waiters)) = ended {
            self.tell_waiters(&record, waiters, None);
        }
        Ok(status)
    }

    /// Tells everybody who waits for a job that has ended, and its webhook.
    pub(super) fn tell_end(&self, open: Open, output: Option<&[u8]>) {
        self.tell_waiters(&open.record, open.waiters, output);
    }

    fn tell_waiters(&self, record: &Record, waiters: Vec<Waiter>, output: Option<&[u8]>) {
        if !waiters.is_empty() {
            let document = record.document(output);
            waiters.into_iter().for_each(|waiter| drop(waiter.send(document.clone())));
        }
        if record.webhook.is_some() {
            let _ = self.webhooks.send(record.id.clone());
        }
    }

    /// Cancels all jobs that wait. Returns how many.
    pub(super) async fn purge(&self) -> Result<usize, StoreError> {
        let finished_ms = now_ms();
        let (purged, written) = {
            let mut queue = self.queue();
            let purged = queue.withdraw_all();
            let seqs = purged.iter().map(|(_, seq)| *seq).collect();
            let expires_ms = self.expiry(false);
            (purged, self.store.write(Change::Purge { seqs, finished_ms, expires_ms }))
        };
        let written = written.await;
        for (id, _) in &purged {
            let mut queue = self.queue();
            if let Err(error) = &written {
                tracing::error!(job = &**id, error = crate::job::on_one_line(error), "not purged");
                if let Some(open) = queue.get_mut(id) {
                    open.is_closing = false;
                    let attempts = open.record.attempts;
                    queue.wait_again(id, attempts);
                }
                continue;
            }
            queue.set_status(id, Status::Cancelled);
            let Some(mut open) = queue.remove(id) else { continue };
            drop(queue);
            open.record.finished_ms = Some(finished_ms);
            open.record.error = Some(PURGED.to_owned());
            self.tell_end(open, None);
        }
        written.map(|()| purged.len())
    }

    /// Has a job run again that has ended without success.
    pub(super) async fn retry(self: &Arc<Self>, id: &str) -> Result<(), RetryError> {
        if let Some(open) = self.queue().get(id) {
            return Err(RetryError::NotEnded(open.record.status.name()));
        }
        let (mut record, _) = self.store.find(id).await?.ok_or(RetryError::Unknown)?;
        let before = record.status;
        if !before.may_be_retried() {
            return Err(RetryError::NotEnded(before.name()));
        }
        record.queued_ms = now_ms();
        if !self.store.revive(record.seq, record.queued_ms).await? {
            return Err(RetryError::Unknown); // gone, or revived, since
        }
        record.retries += 1;
        record.status = Status::InQueue;
        (record.started_ms, record.finished_ms, record.error) = (None, None, None);
        {
            let mut queue = self.queue();
            queue.enter(record, None, None);
            queue.counts[before as usize] = queue.counts[before as usize].saturating_sub(1);
            queue.counts[Status::InQueue as usize] += 1;
        }
        self.cursors().remove(id);
        self.dispatch();
        Ok(())
    }

    /// Ends jobs that have lived as long as they may.
    pub(super) async fn watch_deadlines(self: Arc<Self>) {
        let mut pause = tokio::time::interval(DEADLINE_PAUSE);
        while !self.worker.draining.is_cancelled() {
            pause.tick().await;
            let overdue = self.queue().take_overdue(now_ms());
            for id in overdue {
                let reason = "the job's time to live is over (policy.ttl)";
                if let Err(error) = self.end(&id, Status::TimedOut, Some(reason)).await {
                    tracing::error!(job = &*id, error = crate::job::on_one_line(&error), "not timed out");
                }
            }
        }
    }
}
