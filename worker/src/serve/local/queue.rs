//! The jobs that have not ended, in memory: their order, their deadlines, who waits for them.
//!
//! A plain data structure, the same as the database but for what is on its way there. What clients may rely on
//! changes here only after it is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::events::EventLog;
use super::job::{Record, Status, now_ms};
use super::store::Contents;

/// Requests of waiting jobs kept here, in bytes; those beyond it are read from the database when they begin.
const MOST_INPUT_BYTES: usize = 32 << 20;

/// Requests up to this size are copied out of the buffer they came in.
const LARGEST_COPY: usize = 64 << 10;

/// All jobs that have not ended.
#[derive(Debug, Default)]
pub(super) struct Queue {
    open: HashMap<Arc<str>, Open>,
    /// Low priority, order of arrival.
    waiting: BTreeMap<(bool, i64), Arc<str>>,
    deadlines: BTreeSet<(i64, Arc<str>)>,
    input_bytes: usize,
    last_seq: i64,
    /// Calls that run: a job that was ended from outside runs until its call has ended.
    pub(super) running: usize,
    /// Jobs of each status, those that have ended and are kept included.
    pub(super) counts: [u64; 6],
    /// Jobs that were begun again, for whatever reason, since the start.
    pub(super) retried: u64,
    /// Requests, results and events that are kept.
    pub(super) payload_bytes: u64,
}

/// A job that has not ended, or whose call has not.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) record: Record,
    /// Its request, if it is kept here.
    input: Option<Bytes>,
    /// Its end is being written: nobody else may end it.
    pub(super) is_closing: bool,
    pub(super) run: Option<Box<Run>>,
    /// Those who get its document when it ends.
    pub(super) waiters: Vec<oneshot::Sender<Bytes>>,
    changed: Option<Arc<Notify>>,
}

/// A job's call.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) cancelled: CancellationToken,
    pub(super) log: EventLog,
}

/// A job that begins.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: Arc<str>,
    pub(super) record: Record,
    pub(super) input: Option<Bytes>,
    pub(super) cancelled: CancellationToken,
}

impl Queue {
    /// With what the database holds; its open jobs come by [`Queue::enter`].
    pub(super) fn new(contents: &Contents) -> Self {
        Self {
            last_seq: contents.last_seq,
            counts: contents.counts,
            payload_bytes: contents.payload_bytes,
            ..Self::default()
        }
    }

    pub(super) fn next_seq(&mut self) -> i64 {
        self.last_seq += 1;
        self.last_seq
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Open> {
        self.open.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Open> {
        self.open.get_mut(id)
    }

    /// A job waits to be run.
    pub(super) fn enter(
        &mut self,
        record: Record,
        input: Option<Bytes>,
        waiter: Option<oneshot::Sender<Bytes>>,
    ) {
        let id: Arc<str> = record.id.as_str().into();
        // A copy: the request is a small part of a larger buffer, which would be kept with it.
        let input = input
            .filter(|input| self.input_bytes + input.len() <= MOST_INPUT_BYTES)
            .map(|input| if input.len() > LARGEST_COPY { input } else { Bytes::copy_from_slice(&input) });
        self.input_bytes += input.as_ref().map_or(0, Bytes::len);
        self.deadlines.insert((record.deadline_ms(), Arc::clone(&id)));
        self.waiting.insert((record.low_priority, record.seq), Arc::clone(&id));
        let waiters = waiter.into_iter().collect();
        self.open.insert(id, Open { record, input, is_closing: false, run: None, waiters, changed: None });
    }

    /// The next job, if a call may begin.
    pub(super) fn begin(&mut self, concurrency: usize, parent: &CancellationToken) -> Option<Begun> {
        if self.running >= concurrency {
            return None;
        }
        let (_, id) = self.waiting.pop_first()?;
        let open = self.open.get_mut(&id).expect("what waits is open");
        self.running += 1;
        self.retried += u64::from(open.record.attempts > 0);
        open.record.attempts += 1;
        open.record.started_ms = Some(now_ms());
        let cancelled = parent.child_token();
        let log = EventLog::new(open.record.attempts);
        open.run = Some(Box::new(Run { cancelled: cancelled.clone(), log }));
        let input = open.input.take();
        self.input_bytes -= input.as_ref().map_or(0, Bytes::len);
        self.set_status(&id, Status::InProgress);
        let record = self.open[&id].record.clone();
        Some(Begun { id, record, input, cancelled })
    }

    /// A job that began waits again.
    pub(super) fn wait_again(&mut self, id: &str, attempts: u32) {
        self.set_status(id, Status::InQueue);
        let Some((id, open)) = self.open.get_key_value(id) else { return };
        let (id, key) = (Arc::clone(id), (open.record.low_priority, open.record.seq));
        self.waiting.insert(key, Arc::clone(&id));
        if let Some(open) = self.open.get_mut(&id) {
            open.record.attempts = attempts;
            open.record.started_ms = None;
            open.run = None;
        }
    }

    /// A job waits no longer, because its end is being written.
    pub(super) fn withdraw(&mut self, low_priority: bool, seq: i64) {
        self.waiting.remove(&(low_priority, seq));
    }

    /// Every job that waits, and whose end is not being written: their ends are, from now on.
    pub(super) fn withdraw_all(&mut self) -> Vec<(Arc<str>, i64)> {
        let all = std::mem::take(&mut self.waiting);
        let all = all.into_iter().map(|((_, seq), id)| (id, seq)).collect::<Vec<_>>();
        for (id, _) in &all {
            if let Some(open) = self.open.get_mut(id) {
                open.is_closing = true;
            }
        }
        all
    }

    pub(super) fn set_status(&mut self, id: &str, status: Status) {
        let Some(open) = self.open.get_mut(id) else { return };
        self.counts[open.record.status as usize] = self.counts[open.record.status as usize].saturating_sub(1);
        self.counts[status as usize] += 1;
        open.record.status = status;
        open.tell();
    }

    /// A job is over: it is in the database only. Everybody who follows it is told.
    pub(super) fn remove(&mut self, id: &str) -> Option<Open> {
        let mut open = self.open.remove(id)?;
        self.input_bytes -= open.input.as_ref().map_or(0, Bytes::len);
        self.deadlines.remove(&(open.record.deadline_ms(), Arc::from(id)));
        open.tell();
        Some(open)
    }

    /// Jobs that have lived long enough. They are named once.
    pub(super) fn take_overdue(&mut self, now_ms: i64) -> Vec<Arc<str>> {
        let mut overdue = Vec::new();
        while self.deadlines.first().is_some_and(|(deadline, _)| *deadline <= now_ms) {
            overdue.extend(self.deadlines.pop_first().map(|(_, id)| id));
        }
        overdue
    }
}

impl Open {
    /// Ends with the next change of this job; it must be enabled before the lock is given back.
    pub(super) fn changed(&mut self) -> Arc<Notify> {
        Arc::clone(self.changed.get_or_insert_default())
    }

    /// Wakes those who follow the job.
    pub(super) fn tell(&mut self) {
        if let Some(changed) = &self.changed {
            changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
