//! RunPod's job queue, seen from a worker (contract 2): jobs are taken by long poll and answered by POST.
//!
//! ```text
//! take ──▶ own ──▶ Supervisor::execute ──▶ deliver ──▶ closed
//!   ▲       └── chunks ──▶ stream             └── spool, while the platform does not answer
//!   └── a slot is free        heartbeat · stop channel
//! ```
//!
//! One function, [`own`](QueueWorker::own), has a job from taking to closing: every job taken is answered
//! exactly once, or was stopped by the platform.

mod answer;
mod heartbeat;
mod offload;
mod platform;
mod spool;
mod stop;
mod take;
mod taken;
mod urls;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farcall_protocol::FunctionResponse;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::offload::{S3Config, offload};
use self::platform::{Platform, Post};
use self::spool::Spool;
use self::taken::Taken;
use super::Worker;
use super::answer::{Answer, Envelopes, Wanted};
use super::backoff::Backoff;
use crate::config::{Config, PlatformConfig};
use crate::job::{Job, on_one_line};
use crate::runner::{Event, Follower};

/// Ids of answered jobs that are remembered, to recognise a job that is delivered twice.
const REMEMBERED_ANSWERS: usize = 4096;

/// Answers on their way at a time. Beyond it, jobs are taken more slowly rather than memory filled.
const ANSWERS_AT_A_TIME: usize = 64;

/// Events of a job on their way from its runner.
const WAITING_EVENTS: usize = 1024;

/// How often a chunk is posted before the stream is given up; the answer carries all of them.
const EARLY_TRIES: usize = 3;

/// A worker that serves the platform's queue.
#[derive(Debug)]
pub(super) struct QueueWorker {
    worker: Arc<Worker>,
    platform: Platform,
    spool: Spool,
    slots: Arc<Semaphore>,
    concurrency: usize,
    answers: Arc<Semaphore>,
    max_payload_bytes: usize,
    ping_interval: Duration,
    jobs: Mutex<Jobs>,
}

/// The jobs this worker has, and those it has answered lately.
#[derive(Debug, Default)]
struct Jobs {
    open: HashMap<String, OpenJob>,
    answered: VecDeque<String>,
}

#[derive(Debug)]
struct OpenJob {
    cancelled: CancellationToken,
    /// The platform has closed it: nothing is posted for it any more.
    stopped: bool,
}

impl QueueWorker {
    pub(super) fn new(worker: Arc<Worker>, config: &Config, platform: &PlatformConfig) -> Arc<Self> {
        let spool = platform.spool_directory.clone().unwrap_or_else(|| config.cache_directory.join("spool"));
        let client = Platform::new(platform);
        Arc::new(Self {
            spool: Spool::new(spool.join(client.worker_id())),
            platform: client,
            worker,
            slots: Arc::new(Semaphore::new(config.concurrency)),
            concurrency: config.concurrency,
            answers: Arc::new(Semaphore::new(ANSWERS_AT_A_TIME)),
            max_payload_bytes: platform.max_payload_bytes,
            ping_interval: platform.ping_interval,
            jobs: Mutex::default(),
        })
    }

    /// The platform's side of the worker.
    pub(super) fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Takes jobs until the worker drains. Heartbeats go on until `ended`.
    pub(super) async fn run(self: Arc<Self>, ended: CancellationToken) {
        tokio::spawn(Arc::clone(&self).send_heartbeats(ended.clone()));
        tokio::spawn(Arc::clone(&self).watch_stop_channel(ended));
        let spooled = Arc::clone(&self);
        self.worker.jobs.spawn(async move { spooled.deliver_spooled().await });
        self.take_jobs().await;
    }

    /// Takes a job over, unless it is here already.
    fn accept(self: &Arc<Self>, taken: Taken, slot: Option<OwnedSemaphorePermit>) {
        let cancelled = self.worker.cancelled.child_token();
        {
            let mut jobs = self.jobs();
            if jobs.open.contains_key(&taken.id) || jobs.answered.contains(&taken.id) {
                warn!(job = taken.id, "delivered twice: it is not run again");
                return;
            }
            jobs.open.insert(taken.id.clone(), OpenJob { cancelled: cancelled.clone(), stopped: false });
        }
        let worker = Arc::clone(self);
        // Tracked: the worker does not end before the job is closed.
        self.worker.jobs.spawn(async move {
            let slot = match slot {
                Some(slot) => Some(slot),
                None => Arc::clone(&worker.slots).acquire_owned().await.ok(), // more jobs than were asked for
            };
            worker.own(taken, cancelled, slot).await;
        });
    }

    /// Has a job from here to its closing.
    async fn own(
        self: Arc<Self>,
        taken: Taken,
        cancelled: CancellationToken,
        slot: Option<OwnedSemaphorePermit>,
    ) {
        let id = taken.id.clone();
        info!(job = id, "started");
        let answer = match &taken.input {
            Ok(input) => self.execute(&taken, input.clone(), cancelled).await,
            Err(reason) => Answer::rejected(reason.clone()),
        };
        // The runner is free: the next job may come while this one's answer is on its way.
        let delivery = Arc::clone(&self.answers).acquire_owned().await;
        drop(slot);
        if self.is_stopped(&id) {
            info!(job = id, "stopped");
        } else {
            self.deliver(&id, answer).await;
            info!(job = id, "finished");
        }
        self.close(id);
        drop(delivery);
    }

    async fn execute(
        self: &Arc<Self>,
        taken: &Taken,
        input: bytes::Bytes,
        cancelled: CancellationToken,
    ) -> Answer {
        let (id, s3) = (taken.id.as_str(), taken.s3.as_ref());
        let wanted = Wanted::by(&input);
        let mut job = Job::new(id, input);
        job.timeout = taken.timeout;
        job.cancelled = cancelled;
        job.stream = wanted.stream;
        let (sender, mut events) = mpsc::channel(WAITING_EVENTS);
        job.follower = Some(Follower { events: sender, wants_output: false });
        let (to_post, mut posts) = mpsc::unbounded_channel();
        // Apart from posting: the answer needs every chunk, however slow the platform takes them.
        let collecting = async move {
            let mut envelopes = Envelopes::default();
            while let Some(event) = events.recv().await {
                let post = match event {
                    Event::Chunk(chunk, body) => (Post::Chunk, chunk_body(&envelopes.add(&chunk, &body))),
                    Event::Progress(value) => (Post::Progress, progress_body(&value)),
                    Event::Output(_) | Event::Notice(_) => continue,
                };
                let _ = to_post.send(post);
            }
            envelopes
        };
        let posting = async {
            let mut is_taken = true;
            while let Some((what, body)) = posts.recv().await {
                // One that is not taken ends the stream: what comes after a gap would be out of order.
                is_taken = is_taken && self.post_early(id, what, body).await;
            }
            is_taken
        };
        let (outcome, envelopes, is_taken) =
            tokio::join!(self.worker.supervisor.execute(job), collecting, posting);
        let envelopes = envelopes.of_stream(&outcome);
        let answer = self.answer(id, outcome.into_response_for(wanted.failure), envelopes, s3).await;
        if let Some(envelope) = answer.failed_stream().filter(|_| is_taken) {
            self.post_early(id, Post::Chunk, chunk_body(&envelope)).await;
        }
        answer
    }

    /// The answer of a job; a result over the platform's limit goes to the job's bucket, if it has one.
    async fn answer(
        &self,
        id: &str,
        response: FunctionResponse,
        envelopes: Option<Envelopes>,
        s3: Option<&S3Config>,
    ) -> Answer {
        let size = response.result.as_ref().map_or(0, String::len)
            + response.json_result.as_ref().map_or(0, |json| json.get().len());
        if let Some(s3) = s3.filter(|_| size > self.max_payload_bytes) {
            match offload(s3, id, response).await {
                Ok(response) => return Answer::new(&response, envelopes),
                Err(error) => {
                    return Answer::rejected(format!("the result cannot be put into the bucket: {error}"));
                }
            }
        }
        Answer::new(&response, envelopes)
    }

    /// Posts what precedes the answer. The next one waits for it, so their order is kept. Returns whether the
    /// platform has taken it: it is tried as often as the SDK tries.
    async fn post_early(&self, id: &str, what: Post, body: Vec<u8>) -> bool {
        let body = bytes::Bytes::from(body);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
        for _ in 0..EARLY_TRIES {
            if self.is_stopped(id) {
                return false;
            }
            match self.platform.post(what, id, body.clone()).await {
                Ok(()) => return true,
                Err(error) if error.is_temporary() => tokio::time::sleep(backoff.next()).await,
                Err(error) => {
                    debug!(job = id, ?what, error = on_one_line(&error), "not posted");
                    return false;
                }
            }
        }
        false
    }

    fn is_stopped(&self, id: &str) -> bool {
        self.jobs().open.get(id).is_some_and(|job| job.stopped)
    }

    fn close(&self, id: String) {
        let mut jobs = self.jobs();
        jobs.open.remove(&id);
        jobs.answered.push_back(id);
        if jobs.answered.len() > REMEMBERED_ANSWERS {
            jobs.answered.pop_front();
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chunk_body(envelope: &[u8]) -> Vec<u8> {
    [b"{\"output\":".as_slice(), envelope, b"}"].concat()
}

fn progress_body(value: &[u8]) -> Vec<u8> {
    [b"{\"status\":\"IN_PROGRESS\",\"output\":".as_slice(), value, b"}"].concat()
}
