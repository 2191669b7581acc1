//! The endpoint's API: RunPod's, under `/v2/{endpoint}/`, and what we add to it.

mod jobs;
mod submit;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value, json};

use super::intake::SubmitError;
use super::job::Status;
use super::outside::RetryError;
use super::store::StoreError;
use super::submission::SubmissionError;
use super::{Endpoint, page};
use crate::job::on_one_line;
use crate::serve::Health;
use crate::serve::http::json_response;

type App = State<Arc<Endpoint>>;

/// An answer that is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("endpoint not found")]
    NoEndpoint,
    #[error("job not found")]
    NoJob,
    #[error("no such route\nhint: GET /docs lists them")]
    NoRoute,
    #[error("{0} is not {1}")]
    Parameter(&'static str, &'static str),
    #[error("the body is over the limit of {0} bytes\nhint: {1} raises it")]
    TooLarge(usize, &'static str),
    #[error("the body could not be read: {0}")]
    Unreadable(String),
    #[error("the endpoint is shutting down")]
    Draining,
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Retry(#[from] RetryError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoEndpoint | Self::NoJob | Self::NoRoute | Self::Retry(RetryError::Unknown) => {
                StatusCode::NOT_FOUND
            }
            Self::TooLarge(..) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Submit(SubmitError::ModulesMissing(_)) => StatusCode::CONFLICT,
            Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::Submit(SubmitError::QueueFull(_) | SubmitError::StoreFull(_)) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Store(error)
            | Self::Submit(SubmitError::Store(error))
            | Self::Retry(RetryError::Store(error)) => {
                if error.is_full() {
                    StatusCode::INSUFFICIENT_STORAGE
                } else {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            }
            Self::Parameter(..)
            | Self::Unreadable(_)
            | Self::Submission(_)
            | Self::Retry(RetryError::NotEnded(_)) => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!(error = on_one_line(&self), "a request failed");
        }
        json_response(status, json!({"error": self.to_string()}).to_string().into())
    }
}

pub(super) fn routes(endpoint: &Arc<Endpoint>) -> Router {
    let of_jobs = Router::new()
        .route("/run", post(submit::run))
        .route("/runsync", post(submit::runsync))
        .route("/purge-queue", post(purge))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/worker", get(worker))
        .route("/environments", get(environments))
        .route("/jobs", get(jobs::list))
        .route("/status/{job}", get(jobs::status).post(jobs::status))
        .route("/stream/{job}", get(jobs::stream).post(jobs::stream))
        .route("/request/{job}", get(jobs::request))
        .route("/events/{job}", get(jobs::events))
        .route("/cancel/{job}", post(jobs::cancel))
        .route("/retry/{job}", post(jobs::retry));
    Router::new()
        .nest("/v2/{endpoint}", of_jobs)
        .route("/flash/runsync", post(submit::flash))
        .route("/", get(page::page))
        .route("/docs", get(page::docs))
        .route("/openapi.json", get(page::openapi))
        .fallback(|| async { ApiError::NoRoute })
        .with_state(Arc::clone(endpoint))
}

/// Does what must not be left half done, also when the client goes away meanwhile: its handler is dropped then.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()), // nobody aborts it
    }
}

/// JSON that is ready to be sent.
fn ready(body: Bytes) -> Response {
    json_response(StatusCode::OK, body.into())
}

fn json_of(value: &Value) -> Response {
    ready(value.to_string().into())
}

impl Endpoint {
    /// Whether this is the endpoint that a client means.
    fn answers_to(&self, endpoint: &str) -> Result<(), ApiError> {
        let is_ours =
            self.config.endpoint.as_ref().is_none_or(|ours| ours == endpoint || endpoint == "flash");
        if is_ours { Ok(()) } else { Err(ApiError::NoEndpoint) }
    }

    /// The worker's places for calls, as the platform counts workers.
    fn workers(&self) -> Value {
        let running = self.queue().running.min(self.concurrency);
        let (all, none) = (self.concurrency, 0);
        let (ready, initializing, unhealthy) = match self.worker.health() {
            Health::Starting => (none, all, none),
            Health::Ready => (all, none, none),
            Health::Unhealthy => (none, none, all),
        };
        json!({
            "idle": ready - running.min(ready), "initializing": initializing, "ready": ready,
            "running": running, "throttled": none, "unhealthy": unhealthy,
        })
    }
}

async fn purge(State(endpoint): App, Path(name): Path<String>) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    let removed = to_the_end(async move { endpoint.purge().await }).await?;
    Ok(json_of(&json!({"removed": removed, "status": "completed"})))
}

async fn health(State(endpoint): App, Path(name): Path<String>) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    let workers = endpoint.workers();
    let queue = endpoint.queue();
    let count = |status: Status| queue.counts[status as usize];
    Ok(json_of(&json!({
        "jobs": {
            "completed": count(Status::Completed),
            "failed": count(Status::Failed),
            "inProgress": count(Status::InProgress),
            "inQueue": count(Status::InQueue),
            "retried": queue.retried,
            "cancelled": count(Status::Cancelled),
            "timedOut": count(Status::TimedOut),
        },
        "workers": workers,
    })))
}

async fn metrics(State(endpoint): App, Path(name): Path<String>) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    let workers = endpoint.workers();
    let queue = endpoint.queue();
    Ok(json_of(&json!({
        "readyWorkers": workers["ready"],
        "workers": workers,
        "jobsInQueue": queue.counts[Status::InQueue as usize],
        "jobsInProgress": queue.counts[Status::InProgress as usize],
        "payloadBytes": queue.payload_bytes,
    })))
}

async fn worker(State(endpoint): App, Path(name): Path<String>) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    Ok(json_of(&endpoint.describe()))
}

async fn environments(State(endpoint): App, Path(name): Path<String>) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    Ok(json_of(&json!({"environments": endpoint.environments().await})))
}
