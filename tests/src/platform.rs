//! A RunPod of our own, on loopback: what a queue worker and the real clients talk to in the tests.
//!
//! It keeps jobs as the platform does (queued, handed out, answered, cancelled, handed out again when a worker
//! falls silent), writes down every request, and every breach of the worker's contract as a [`Violation`].
//! Faults are switched on here ([`Platform::fault`]), never in the product. The server runs on a thread and
//! runtime of its own, so a test that blocks does not stall it.
//!
//! ```text
//!   test / client ── run ──▶ IN_QUEUE ── take ──▶ IN_PROGRESS ── done ──▶ COMPLETED | FAILED
//!                                ▲                     │
//!                                └── silent worker ────┤── cancel, time limits ──▶ CANCELLED | TIMED_OUT
//! ```

mod answer;
mod check;
mod client;
mod control;
mod faults;
mod jobs;
mod log;
mod reply;
mod route;
mod server;
mod settings;
mod state;
mod take;
#[cfg(test)]
mod tests;
mod violation;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::oneshot;

pub use faults::{Fault, Malformed, When};
pub use jobs::Status;
pub use log::Recorded;
pub use route::Route;
pub use settings::Settings;
pub use violation::{Violation, ViolationKind};

use server::Shared;

/// A platform that runs until it is dropped.
#[derive(Debug)]
pub struct Platform {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Platform {
    /// With the default settings.
    pub fn start() -> Self {
        Self::with(Settings::default())
    }

    /// With settings of the test's own.
    pub fn with(settings: Settings) -> Self {
        let (address, shared, stop, thread) = server::start(settings);
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The variables a worker of the given id finds on the platform.
    pub fn env(&self, worker: &str) -> Vec<(String, String)> {
        self.shared.settings.worker_variables(self.address, worker)
    }

    /// The variables that point the real clients here, both generations of them.
    pub fn client_env(&self) -> Vec<(String, String)> {
        Settings::client_variables(self.address)
    }

    /// Puts a job with this input in the queue, and returns its id.
    pub fn submit(&self, input: &Value) -> String {
        self.submit_job(json!({ "input": input }))
    }

    /// Puts a job in the queue: a whole body of `/run`, with `policy`, `webhook` and the rest.
    pub fn submit_job(&self, job: Value) -> String {
        let id = self.shared.lock().submit(None, job);
        self.shared.arrived.notify_waiters();
        id
    }

    /// Puts many jobs with the same input in the queue.
    pub fn submit_many(&self, count: usize, input: &Value) -> Vec<String> {
        let ids = {
            let mut state = self.shared.lock();
            (0..count).map(|_| state.submit(None, json!({ "input": input }))).collect()
        };
        self.shared.arrived.notify_waiters();
        ids
    }

    /// What `/status` says of a job; null of one that never was.
    pub fn job(&self, id: &str) -> Value {
        self.shared.lock().status_document(id).unwrap_or_default()
    }

    /// A job's status.
    #[track_caller]
    pub fn status(&self, id: &str) -> Status {
        self.shared.lock().jobs.get(id).expect("the job is known").status
    }

    /// What was streamed for a job so far, whether a client has read it or not.
    #[track_caller]
    pub fn streamed(&self, id: &str) -> Vec<Value> {
        let state = self.shared.lock();
        let chunks = &state.jobs.get(id).expect("the job is known").chunks;
        chunks.iter().map(|chunk| serde_json::from_str(chunk.get()).expect("it was parsed before")).collect()
    }

    /// Waits until a job has its final status, for at most thirty seconds, and returns what `/status` says.
    #[track_caller]
    pub fn wait(&self, id: &str) -> Value {
        let over = self.shared.wait(Duration::from_secs(30), |state| {
            state.jobs.get(id).is_none_or(|job| job.status.is_final())
        });
        assert!(over, "job `{id}` is not answered: {}", self.job(id));
        self.job(id)
    }

    /// Waits until a worker has been handed a job, and says whether that came true in time.
    pub fn wait_for_first(&self, limit: Duration) -> bool {
        self.shared.wait(limit, |state| state.workers.values().any(|worker| worker.given > 0))
    }

    /// Waits until every job has its final status, and says whether that came true in time.
    pub fn wait_for_all(&self, limit: Duration) -> bool {
        self.shared.wait(limit, |state| state.open == 0)
    }

    /// How many jobs are queued or handed out.
    pub fn open_jobs(&self) -> usize {
        self.shared.lock().open
    }

    /// How often a job was put back in the queue because its worker fell silent.
    pub fn requeued(&self) -> usize {
        self.shared.lock().requeued
    }

    /// Cancels a job, as a client does; false if it is final already or unknown.
    pub fn cancel(&self, id: &str) -> bool {
        self.shared.end(id, Status::Cancelled)
    }

    /// Every request so far, in order of arrival, unless the settings say not to keep them.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.lock().log.clone()
    }

    /// The requests on one route.
    pub fn requests_on(&self, route: Route) -> Vec<Recorded> {
        self.shared.lock().log.iter().filter(|request| request.route == route).cloned().collect()
    }

    /// Every breach of the worker's contract so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.lock().violations.clone()
    }

    /// Fails the test if there is a violation.
    #[track_caller]
    pub fn assert_no_violations(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{} violations: {violations:#?}", violations.len());
    }

    /// Switches a fault on for a route: for the next so many requests, or at random.
    pub fn fault(&self, route: Route, fault: Fault, when: When) {
        self.shared.lock().faults.add(route, fault, when);
    }

    /// Switches every fault off.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// How many faults have struck.
    pub fn faults_struck(&self) -> usize {
        self.shared.lock().faults.struck
    }

    /// Cuts every connection and refuses new ones for a while.
    pub fn gone_for(&self, duration: Duration) {
        self.shared.lock().silence_is_ours(Instant::now() + duration);
        self.shared.gone_until.send_replace(Some(Instant::now() + duration));
    }

    /// To be called when a worker was killed and another starts under its id: what the first one held is no
    /// longer expected in `job_in_progress`, and what it answered may be answered once more, from its spool.
    pub fn worker_was_killed(&self, worker: &str) {
        self.shared.lock().forget(worker);
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
