//! What a worker's requests must look like.

use std::time::{Duration, Instant};

use hyper::Method;
use hyper::header::AUTHORIZATION;

use super::log::Recorded;
use super::route::{Query, Route};
use super::state::State;
use super::take::Take;
use super::violation::ViolationKind as Kind;

/// What every request of a worker has: the raw key, and its template's own parameter.
pub(super) fn request(state: &mut State, request: &Recorded, worker: &str, query: &Query) {
    let key = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if key != Some(state.settings.key.as_str()) {
        state.violate(Kind::Authorization, worker, None, format!("{:?}: {key:?}", request.route));
    }
    if query.get("gpu") != Some("fake") {
        state.violate(Kind::Query, worker, None, format!("{:?}: `{query}`", request.route));
    }
    let posts = matches!(request.route, Route::Done | Route::Stream);
    if request.method != if posts { Method::POST } else { Method::GET } {
        state.violate(Kind::Headers, worker, None, format!("{:?}: {}", request.route, request.method));
    }
}

/// What every post has.
pub(super) fn post(state: &mut State, request: &Recorded, worker: &str, job: &str) {
    let expected =
        [("content-type", "application/x-www-form-urlencoded"), ("charset", "utf-8"), ("x-request-id", job)];
    for (name, value) in expected {
        let seen = request.header(name);
        if seen != Some(value) {
            state.violate(Kind::Headers, worker, Some(job), format!("`{name}` is {seen:?}"));
        }
    }
}

/// That a worker which asks for something also pings.
pub(super) fn worker_request(state: &mut State, worker: &str) {
    let limit = state.settings.ping_limit();
    let known = state.worker(worker);
    let silence = Instant::now().saturating_duration_since(known.pinged_at);
    if silence > limit {
        known.pinged_at = Instant::now();
        state.violate(Kind::Ping, worker, None, format!("no ping for {silence:?}"));
    }
}

/// A take's parameters. Returns how many jobs it asks for.
pub(super) fn take(state: &mut State, take: &Take<'_>) -> usize {
    let Take { worker, query, route, .. } = take;
    worker_request(state, worker);
    match query.get("job_in_progress") {
        Some("0") => not_idle(state, worker),
        Some("1") => not_busy(state, worker),
        _ => state.violate(Kind::JobInProgress, worker, None, format!("`{query}`")),
    }
    let asked = query.get("batch_size");
    if *route == Route::Take {
        if asked.is_some() {
            state.violate(Kind::BatchSize, worker, None, format!("a single take with `{query}`"));
        }
        return 1;
    }
    let count = asked.and_then(|count| count.parse().ok()).unwrap_or(0);
    let most = state.settings.slots.unwrap_or(usize::MAX);
    if !(2..=most).contains(&count) {
        state.violate(Kind::BatchSize, worker, None, format!("`{query}` with {most} slots"));
    }
    count.max(1)
}

/// It says 0, so it holds nothing. Certain only of jobs that it named in its last ping and posted nothing for.
fn not_idle(state: &mut State, worker: &str) {
    let held = state.workers.get(worker).into_iter().flat_map(|worker| &worker.held);
    let certain = held.filter_map(|id| state.jobs.get(id)).find(|job| job.listed && !job.doubtful);
    if let Some(id) = certain.map(|job| job.id.clone()) {
        let detail = "`job_in_progress=0` though its last ping names the job";
        state.violate(Kind::JobInProgress, worker, Some(&id), detail);
    }
}

/// It says 1, so it holds something. It may not know yet that its last answer arrived, or not be done stopping.
fn not_busy(state: &mut State, worker: &str) {
    let grace = state.settings.stop_grace.max(Duration::from_secs(2));
    let known = state.worker(worker);
    let settled = known.held.is_empty() && known.idle_since.elapsed() > grace;
    if known.given == 0 || settled {
        state.violate(Kind::JobInProgress, worker, None, "`job_in_progress=1` though it holds no job");
    }
}
