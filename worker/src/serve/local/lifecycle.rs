//! A job from its arrival to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::Endpoint;
use super::files::{Kind, Stored};
use super::job::{Record, Status, milliseconds, new_id, now_ms};
use super::queue::Begun;
use super::store::{Change, Finish, Payload, StoreError};
use super::submission::Submission;
use crate::job::{Job, JobOutcome, on_one_line};
use crate::runner::{Ending, Follower, Interruption, Report};
use crate::serve::answer::{Answer, Envelopes, is_streamed};

/// Events of a job on their way from its runner.
const WAITING_EVENTS: usize = 1024;

/// Why a job is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubmitError {
    #[error("{0} jobs wait already\nhint: try again later; FARCALL_MAX_QUEUED_JOBS raises the limit")]
    QueueFull(usize),
    #[error(
        "requests and results take more than {0} bytes\nhint: try again later; FARCALL_QUEUE_GB raises the limit"
    )]
    StoreFull(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a call ended.
enum End {
    Answered(Status, Answer),
    /// It was not the call that ended: it has another try.
    Again,
}

impl Endpoint {
    /// Takes a job. When this returns it is written, unless somebody waits for its end instead of its id.
    pub(super) async fn submit(
        self: &Arc<Self>,
        submission: Submission,
        waiter: Option<oneshot::Sender<Bytes>>,
    ) -> Result<String, SubmitError> {
        let now = now_ms();
        let input = submission.input;
        let seq = {
            let mut queue = self.queue();
            if queue.waiting() >= self.config.max_queued_jobs {
                return Err(SubmitError::QueueFull(queue.waiting()));
            }
            if queue.payload_bytes + input.len() as u64 > self.config.max_queue_bytes {
                return Err(SubmitError::StoreFull(self.config.max_queue_bytes));
            }
            queue.payload_bytes += input.len() as u64;
            queue.next_seq()
        };
        let record = Record {
            seq,
            id: new_id(waiter.is_some()),
            name: submission.name,
            status: Status::InQueue,
            low_priority: submission.low_priority,
            is_sync: waiter.is_some(),
            attempts: 0,
            retries: 0,
            created_ms: now,
            queued_ms: now,
            started_ms: None,
            finished_ms: None,
            ttl_ms: submission.ttl_ms.unwrap_or_else(|| milliseconds(self.config.ttl)),
            timeout_ms: submission.timeout_ms,
            webhook: submission.webhook,
            input_bytes: i64::try_from(input.len()).unwrap_or(i64::MAX),
            error: None,
        };
        let id = record.id.clone();
        let stored =
            self.store.files().keep(&id, Kind::Input, input.clone()).await.map_err(StoreError::from)?;
        let add = Change::Add { record: Box::new(record.clone()), input: stored };
        if waiter.is_some() {
            self.store.send(add);
        } else {
            self.store.write(add).await?;
        }
        {
            let mut queue = self.queue();
            queue.enter(record, Some(input), waiter);
            queue.counts[Status::InQueue as usize] += 1;
        }
        self.dispatch();
        Ok(id)
    }

    /// Begins what may begin.
    pub(super) fn dispatch(self: &Arc<Self>) {
        while !self.worker.draining.is_cancelled() {
            let begun = {
                let mut queue = self.queue();
                let Some(begun) = queue.begin(self.concurrency, &self.worker.cancelled) else { return };
                let started_ms = begun.record.started_ms.unwrap_or_default();
                let (seq, attempts) = (begun.record.seq, begun.record.attempts);
                self.store.send(Change::Start { seq, started_ms, attempts });
                begun
            };
            let endpoint = Arc::clone(self);
            // Tracked: the worker does not end before the job has.
            self.worker.jobs.spawn(async move { endpoint.own(begun).await });
        }
    }

    /// Has a job from its beginning to its end.
    async fn own(self: Arc<Self>, mut begun: Begun) {
        let input = match begun.input.take() {
            Some(input) => Ok(input),
            None => self.input_of(&begun.id).await,
        };
        let end = match input {
            Ok(input) => self.run(&begun, input).await,
            Err(error) => {
                let reason = format!("the request cannot be read again: {}", on_one_line(&error));
                End::Answered(Status::Failed, Answer::rejected(reason))
            }
        };
        self.settle(&begun, end).await;
    }

    async fn input_of(&self, id: &str) -> Result<Bytes, StoreError> {
        match self.store.find(id).await?.map(|(_, payloads)| payloads.input) {
            Some(Payload::Inline(input)) => Ok(input),
            Some(Payload::File) => Ok(self.store.files().read(id, Kind::Input).await?),
            Some(Payload::Missing) | None => Err(std::io::Error::from(std::io::ErrorKind::NotFound).into()),
        }
    }

    async fn run(&self, begun: &Begun, input: Bytes) -> End {
        let mut job = Job::new(&*begun.id, input);
        job.stream = is_streamed(&job.request);
        let timeout_ms = begun.record.timeout_ms.and_then(|timeout| u64::try_from(timeout).ok());
        job.timeout = timeout_ms.map(Duration::from_millis);
        job.cancelled = begun.cancelled.clone();
        let (sender, mut events) = mpsc::channel(WAITING_EVENTS);
        job.follower = Some(Follower { events: sender, wants_output: true });
        let collecting = async {
            let mut envelopes = Envelopes::default();
            while let Some(event) = events.recv().await {
                if let crate::runner::Event::Chunk(chunk, body) = &event {
                    envelopes.add(chunk, body);
                }
                if let Some(open) = self.queue().get_mut(&begun.id)
                    && let Some(run) = &mut open.run
                {
                    run.log.add(&event, self.max_output_bytes);
                    open.tell();
                }
            }
            envelopes
        };
        let (outcome, envelopes) = tokio::join!(self.worker.supervisor.execute(job), collecting);
        self.judge(begun, outcome, envelopes)
    }

    /// What a call's end means for its job.
    fn judge(&self, begun: &Begun, outcome: JobOutcome, envelopes: Envelopes) -> End {
        let was_told_to_end = begun.cancelled.is_cancelled();
        let is_worker_ending = self.worker.cancelled.is_cancelled() && was_told_to_end;
        let may_run_again = !self.config.ephemeral;
        let status = match &outcome {
            JobOutcome::Ran(Report { ending: Ending::Interrupted(Interruption::Cancelled), .. })
            | JobOutcome::CancelledWaiting => {
                if is_worker_ending && may_run_again {
                    return End::Again;
                }
                Status::Cancelled
            }
            JobOutcome::Ran(Report {
                ending: Ending::Interrupted(Interruption::TimedOut { .. }), ..
            }) => Status::TimedOut,
            JobOutcome::NotStarted(_)
                if may_run_again && begun.record.attempts < self.most_attempts(begun.record.retries) =>
            {
                return End::Again;
            }
            _ => Status::Completed,
        };
        let was_streamed = outcome.was_streamed() || !envelopes.is_empty();
        let answer = Answer::new(&outcome.into_response(), envelopes, was_streamed);
        let has_failed = status == Status::Completed && answer.error.is_some();
        End::Answered(if has_failed { Status::Failed } else { status }, answer)
    }

    /// Closes a job whose call has ended, or lets it wait again.
    async fn settle(self: &Arc<Self>, begun: &Begun, end: End) {
        let id = &*begun.id;
        let was_ended_outside = self.claim_end(id).await;
        self.queue().running -= 1;
        match (was_ended_outside, end) {
            (false, End::Again) => self.again(begun),
            (false, End::Answered(status, answer)) => {
                self.dispatch(); // the runner is free, whatever the disk is at
                self.finish(begun, status, answer).await;
            }
            (true, end) => {
                let answer = if let End::Answered(_, answer) = end { Some(answer) } else { None };
                self.amend(begun, answer).await;
            }
        }
        self.dispatch();
    }

    /// Waits until the job's end is ours to write. True if it has been written already: from outside.
    async fn claim_end(&self, id: &str) -> bool {
        loop {
            let changed = {
                let mut queue = self.queue();
                let Some(open) = queue.get_mut(id) else { return true };
                if !open.is_closing {
                    open.is_closing = true;
                    return open.record.status.is_final();
                }
                open.changed()
            };
            // Whoever closes it tells when that is done; the pause covers what was told just now.
            let _ = tokio::time::timeout(Duration::from_millis(10), changed.notified()).await;
        }
    }

    fn again(&self, begun: &Begun) {
        let is_worker_ending = self.worker.cancelled.is_cancelled();
        // An attempt that we ended is none.
        let attempts = begun.record.attempts - u32::from(is_worker_ending);
        let mut queue = self.queue();
        self.store.send(Change::Requeue { seq: begun.record.seq, attempts });
        if let Some(open) = queue.get_mut(&begun.id) {
            open.is_closing = false;
        }
        queue.wait_again(&begun.id, attempts);
    }

    async fn finish(&self, begun: &Begun, status: Status, answer: Answer) {
        let (id, finished_ms) = (&*begun.id, now_ms());
        if let Some(error) = answer.error.as_ref().filter(|_| answer.is_stream)
            && let Some(run) = self.queue().get_mut(id).and_then(|open| open.run.as_mut())
        {
            run.log.add_failure(error);
        }
        let output = answer.output.map(Bytes::from);
        let kept = self.keep(id, output.clone()).await;
        let finish = Finish {
            seq: begun.record.seq,
            status,
            finished_ms,
            expires_ms: self.expiry(begun.record.is_sync),
            error: answer.error.clone(),
            output: kept.0,
            events: kept.1,
        };
        if let Err(error) = self.store.write(Change::Finish(Box::new(finish))).await {
            // Those who wait get their answer all the same; after a restart the job would run again.
            error!(job = id, error = on_one_line(&error), "the end of a job is not written");
        }
        let mut queue = self.queue();
        if let Some(open) = queue.get_mut(id) {
            open.record.finished_ms = Some(finished_ms);
            open.record.error = answer.error;
        }
        queue.set_status(id, status);
        let Some(open) = queue.remove(id) else { return };
        drop(queue);
        self.tell_end(open, output.as_deref());
    }

    /// Adds what a job had to say that was ended from outside, and forgets it.
    async fn amend(&self, begun: &Begun, answer: Option<Answer>) {
        let output = answer.and_then(|answer| answer.output).map(Bytes::from);
        let (output, events) = self.keep(&begun.id, output).await;
        let amended = self.store.write(Change::Amend { seq: begun.record.seq, output, events }).await;
        if let Err(error) = amended {
            warn!(job = &*begun.id, error = on_one_line(&error), "what a job printed is not written");
        }
        self.queue().remove(&begun.id);
    }

    /// Keeps a call's output and events; what cannot be kept becomes a text that says so.
    async fn keep(&self, id: &str, output: Option<Bytes>) -> (Option<Stored>, Option<Stored>) {
        let events =
            self.queue().get(id).and_then(|open| open.run.as_ref()?.log.to_stored()).map(Bytes::from);
        let files = self.store.files();
        let mut kept = [None, None];
        for (place, (kind, payload)) in kept.iter_mut().zip([(Kind::Output, output), (Kind::Events, events)])
        {
            let Some(payload) = payload else { continue };
            *place = Some(files.keep(id, kind, payload).await.unwrap_or_else(|error| {
                error!(job = id, %error, "a payload cannot be written");
                let lost =
                    json!({"success": false, "error": format!("the result could not be written: {error}")});
                Stored::Inline(lost.to_string().into())
            }));
        }
        let [output, events] = kept;
        let bytes = [&output, &events].into_iter().flatten().map(|stored| stored.len() as u64).sum::<u64>();
        self.queue().payload_bytes += bytes;
        (output, events)
    }
}
