//! The clients' side of the data plane: `run`, `runsync`, `status`, `stream`, `cancel`, `health`, `metrics`.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::jobs::Status;
use super::log::Recorded;
use super::reply::Reply;
use super::route::Query;
use super::server::Shared;
use super::state::State;

/// What `/stream` answers.
#[derive(Debug, Serialize)]
struct Chunks<'a> {
    status: Status,
    stream: Vec<Chunk<'a>>,
}

#[derive(Debug, Serialize)]
struct Chunk<'a> {
    output: &'a RawValue,
}

/// One request: what follows the base path, and the rest.
pub(super) async fn answer(shared: &Shared, path: &[&str], request: &Recorded) -> Reply {
    // `flash` stands for the endpoint that the headers name.
    if path[0] != "flash" && !shared.lock().endpoints.contains_key(path[0]) {
        return Reply::error(StatusCode::NOT_FOUND, "endpoint not found");
    }
    let query = Query::of(&request.uri);
    match path[1..] {
        ["run"] => run(shared, request),
        ["runsync"] => runsync(shared, request, &query).await,
        ["status", job] => known(shared.lock().status_document(job)),
        ["status-sync", job] => wait(shared, job, &query).await,
        ["stream", job] => stream(shared, job).await,
        ["cancel", job] => {
            shared.end(job, Status::Cancelled);
            known(shared.lock().status_document(job))
        }
        ["health"] => Reply::json(&health(&shared.lock())),
        ["metrics"] => Reply::json(&metrics(&shared.lock())),
        _ => Reply::error(StatusCode::NOT_FOUND, "no such path"),
    }
}

fn submit(shared: &Shared, request: &Recorded) -> Option<String> {
    let body = request.json();
    body.get("input")?;
    let id = shared.lock().submit(None, body);
    shared.arrived.notify_waiters();
    Some(id)
}

fn run(shared: &Shared, request: &Recorded) -> Reply {
    match submit(shared, request) {
        Some(id) => Reply::json(&json!({ "id": id, "status": Status::InQueue })),
        None => Reply::error(StatusCode::BAD_REQUEST, "input is required"),
    }
}

async fn runsync(shared: &Shared, request: &Recorded, query: &Query) -> Reply {
    match submit(shared, request) {
        Some(id) => wait(shared, &id, query).await,
        None => Reply::error(StatusCode::BAD_REQUEST, "input is required"),
    }
}

/// A job's status once it is final, or after `wait` milliseconds.
async fn wait(shared: &Shared, id: &str, query: &Query) -> Reply {
    let asked = query.get("wait").and_then(|wait| wait.parse().ok()).unwrap_or(90_000);
    let deadline = Instant::now() + Duration::from_millis(u64::clamp(asked, 1_000, 300_000));
    until(shared, id, deadline, |state| state.jobs.get(id).is_none_or(|job| job.status.is_final())).await;
    known(shared.lock().status_document(id))
}

/// The chunks since the last call; waits a moment for one.
async fn stream(shared: &Shared, id: &str) -> Reply {
    let deadline = Instant::now() + Duration::from_secs(1);
    let something = |state: &State| {
        state.jobs.get(id).is_none_or(|job| job.status.is_final() || job.chunks.len() > job.chunks_read)
    };
    until(shared, id, deadline, something).await;
    let mut state = shared.lock();
    let Some(job) = state.jobs.get_mut(id) else { return known(None) };
    let stream = job.chunks[job.chunks_read..].iter().map(|output| Chunk { output }).collect();
    let reply = Reply::json(&Chunks { status: job.status, stream });
    job.chunks_read = job.chunks.len();
    reply
}

/// Waits for a change of a job that makes the condition true.
async fn until(shared: &Shared, id: &str, deadline: Instant, condition: impl Fn(&State) -> bool) {
    let Some(changed) = shared.lock().jobs.get(id).map(|job| job.changed.clone()) else { return };
    loop {
        let change = changed.notified();
        tokio::pin!(change);
        change.as_mut().enable();
        if condition(&shared.lock()) || timeout_at(deadline, change).await.is_err() {
            return;
        }
    }
}

fn known(document: Option<Value>) -> Reply {
    document.map_or_else(
        || Reply::error(StatusCode::NOT_FOUND, "job not found"),
        |document| Reply::json(&document),
    )
}

fn health(state: &State) -> Value {
    let count = |status| state.jobs.values().filter(|job| job.status == status).count();
    json!({
        "workers": workers(state),
        "jobs": {
            "completed": count(Status::Completed),
            "failed": count(Status::Failed),
            "inProgress": count(Status::InProgress),
            "inQueue": state.queue.len(),
            "retried": state.requeued,
        },
    })
}

fn metrics(state: &State) -> Value {
    let ready = state.workers.len();
    json!({ "readyWorkers": ready, "workers": workers(state), "jobsInQueue": state.queue.len() })
}

/// How many workers there are of each kind.
pub(super) fn workers(state: &State) -> Value {
    let running = state.workers.values().filter(|worker| !worker.held.is_empty()).count();
    let (all, none) = (state.workers.len(), 0);
    json!({
        "idle": all - running, "running": running, "ready": all,
        "initializing": none, "throttled": none, "unhealthy": none,
    })
}
