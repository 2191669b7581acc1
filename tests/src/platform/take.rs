//! `job-take`, `job-take-batch`, `job-stop`, `ping`.

use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;
use tokio::time::timeout_at;

use super::check;
use super::faults::{Fault, Malformed};
use super::reply::Reply;
use super::route::{Query, Route};
use super::server::Shared;
use super::state::State;
use super::violation::ViolationKind;

const JSON: &str = "application/json";

/// A take, as it came.
#[derive(Debug)]
pub(super) struct Take<'a> {
    pub(super) worker: &'a str,
    pub(super) query: Query,
    pub(super) route: Route,
    pub(super) fault: Option<Fault>,
}

/// Waits for jobs and hands them over. Nothing is handed over if the future is dropped while it waits.
pub(super) async fn take(shared: &Shared, take: Take<'_>) -> Reply {
    let count = check::take(&mut shared.lock(), &take);
    let single = take.route == Route::Take;
    if let Some(Fault::Malformed(kind)) = take.fault {
        return malformed(&mut shared.lock(), &take, kind, count);
    }
    let deadline = tokio::time::Instant::now() + shared.settings.poll;
    loop {
        let arrived = shared.arrived.notified();
        tokio::pin!(arrived);
        arrived.as_mut().enable();
        let again = shared.lock().again(take.worker).filter(|_| take.fault == Some(Fault::Duplicate));
        let mut given = shared.lock().give(take.worker, count - usize::from(again.is_some()));
        given.extend(again);
        if !given.is_empty() {
            let lost = matches!(take.fault, Some(Fault::ResetAfter | Fault::BrokenBody | Fault::SlowBody));
            shared.changed.notify_all();
            return shared.lock().deliver(&given, single && given.len() == 1, lost);
        }
        if timeout_at(deadline, arrived).await.is_err() {
            return Reply::empty(StatusCode::NO_CONTENT);
        }
    }
}

/// Waits for something to stop.
pub(super) async fn stop(shared: &Shared, worker: &str) -> Reply {
    let deadline = tokio::time::Instant::now() + shared.settings.poll;
    loop {
        let stopped = shared.stopped.notified();
        tokio::pin!(stopped);
        stopped.as_mut().enable();
        {
            let mut state = shared.lock();
            check::worker_request(&mut state, worker);
            let ids = std::mem::take(&mut state.worker(worker).to_stop);
            if !ids.is_empty() {
                for id in &ids {
                    if let Some(job) = state.jobs.get_mut(id) {
                        job.stop_told_at = Some(Instant::now());
                    }
                }
                return Reply::json(&json!({ "jobsToStop": ids }));
            }
        }
        if timeout_at(deadline, stopped).await.is_err() {
            return Reply::empty(StatusCode::NO_CONTENT);
        }
    }
}

/// Notes that a worker lives, and which jobs it speaks of.
pub(super) fn ping(state: &mut State, worker: &str, query: &Query) -> Reply {
    check::worker_request(state, worker);
    let now = Instant::now();
    let named: Vec<_> =
        query.get("job_id").unwrap_or_default().split(',').filter(|id| !id.is_empty()).collect();
    state.worker(worker).pinged_at = now;
    if query.get("runpod_version").is_none() && query.get("status").is_none() {
        state.violate(ViolationKind::Ping, worker, None, format!("no `runpod_version` in `{query}`"));
    }
    for id in &named {
        let held_once =
            state.jobs.get(*id).is_some_and(|job| job.holders.iter().any(|holder| holder == worker));
        if !held_once {
            state.violate(ViolationKind::Ping, worker, Some(id), "a ping names a job that it never had");
        }
    }
    let held: Vec<_> = state.worker(worker).held.iter().cloned().collect();
    for id in held {
        if let Some(job) = state.jobs.get_mut(&id) {
            job.listed = named.contains(&id.as_str());
            if job.listed {
                job.seen_at = now;
            }
        }
    }
    Reply::json(&json!({}))
}

impl State {
    /// Takes up to so many jobs off the queue.
    fn give(&mut self, worker: &str, count: usize) -> Vec<String> {
        let mut given = Vec::new();
        while given.len() < count {
            let Some(id) = self.queue.pop_front() else { break };
            if let Some(job) = self.jobs.get_mut(&id) {
                job.give_to(worker);
                given.push(id);
            }
        }
        if !given.is_empty() {
            let worker = self.worker(worker);
            worker.given += given.len();
            worker.held.extend(given.iter().cloned());
        }
        given
    }

    /// A job that the worker knows already.
    fn again(&mut self, worker: &str) -> Option<String> {
        let worker = self.worker(worker);
        worker.held.iter().next().or_else(|| worker.answered.back()).cloned()
    }

    /// `lost`: whether the worker gets them is not certain.
    fn deliver(&mut self, ids: &[String], single: bool, lost: bool) -> Reply {
        let mut body = Vec::new();
        for id in ids {
            if let Some(job) = self.jobs.get_mut(id) {
                job.doubtful |= lost;
                body.extend_from_slice(if body.is_empty() && !single { b"[" } else { b"," });
                body.extend_from_slice(&job.payload);
            }
        }
        if single {
            body.remove(0);
        } else {
            body.push(b']');
        }
        Reply::text(StatusCode::OK, JSON, body)
    }
}

/// Something that is no job; in a batch, with jobs after it. A job that has an id is one of the platform's all
/// the same, and wants an answer.
fn malformed(state: &mut State, take: &Take<'_>, kind: Malformed, count: usize) -> Reply {
    let element = match kind {
        Malformed::NotJson => return Reply::text(StatusCode::OK, JSON, "{\"id\": \"x\", "),
        Malformed::WrongContentType => {
            return Reply::text(StatusCode::OK, "text/html", r#"{"id": "html", "input": {}}"#);
        }
        Malformed::Empty => return Reply::empty(StatusCode::OK),
        Malformed::NoId => Bytes::from_static(br#"{"input":{"x":1}}"#),
        Malformed::NotAnObject => Bytes::from_static(b"7"),
        Malformed::NoInput => {
            let id = state.submit(None, json!({}));
            // To the front, so that it is the one that is given.
            state.queue.rotate_right(1);
            state.give(take.worker, 1);
            state.jobs[&id].payload.clone()
        }
    };
    if take.route == Route::Take {
        return Reply::text(StatusCode::OK, JSON, element);
    }
    let mut body = vec![b'['];
    body.extend_from_slice(&element);
    for id in state.give(take.worker, count - 1) {
        body.push(b',');
        body.extend_from_slice(&state.jobs[&id].payload);
    }
    body.push(b']');
    Reply::text(StatusCode::OK, JSON, body)
}
