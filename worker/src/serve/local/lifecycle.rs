//! A job from its beginning to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Endpoint;
use super::files::Kind;
use super::job::Status;
use super::queue::Begun;
use super::store::{Change, Payload, StoreError};
use crate::job::{Job, JobOutcome, on_one_line};
use crate::runner::{Ending, Event, Follower, Interruption, Report};
use crate::serve::answer::{Answer, Envelopes, Wanted};

/// Events of a job on their way from its runner.
const WAITING_EVENTS: usize = 1024;

/// How a call ended.
enum End {
    Answered(Status, Answer),
    /// It was not the call that ended: it has another try.
    Again,
}

impl Endpoint {
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
        let wanted = Wanted::by(&job.request);
        job.stream = wanted.stream;
        let timeout_ms = begun.record.timeout_ms.and_then(|timeout| u64::try_from(timeout).ok());
        job.timeout = timeout_ms.map(Duration::from_millis);
        job.cancelled = begun.cancelled.clone();
        let (sender, mut events) = mpsc::channel(WAITING_EVENTS);
        job.follower = Some(Follower { events: sender, wants_output: true });
        let collecting = async {
            let mut envelopes = Envelopes::default();
            while let Some(event) = events.recv().await {
                if let Event::Chunk(chunk, body) = &event {
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
        self.judge(begun, outcome, envelopes, wanted)
    }

    /// What a call's end means for its job.
    fn judge(&self, begun: &Begun, outcome: JobOutcome, envelopes: Envelopes, wanted: Wanted) -> End {
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
        let envelopes = envelopes.of_stream(&outcome);
        let answer = Answer::new(&outcome.into_response_for(wanted.failure), envelopes);
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
}
