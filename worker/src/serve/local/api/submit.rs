//! `run` and `runsync`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use tokio::sync::oneshot;

use super::{ApiError, App, json_of, ready, to_the_end};
use crate::serve::local::Endpoint;
use crate::serve::local::store::Change;
use crate::serve::local::submission::Submission;

/// Shortest, usual and longest wait of `runsync`, in milliseconds, as the platform's.
const WAITS: (u64, u64, u64) = (1_000, 90_000, 300_000);

pub(super) async fn run(
    State(endpoint): App,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    let body = read(body, endpoint.config.run_body_bytes, "FARCALL_RUN_BODY_MB").await?;
    let submission = accept(&endpoint, &body)?;
    let id = to_the_end(async move { endpoint.submit(submission, None).await }).await?;
    Ok(json_of(&json!({"id": id, "status": "IN_QUEUE"})))
}

pub(super) async fn runsync(
    State(endpoint): App,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    body: Body,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    run_and_wait(&endpoint, &query, body).await
}

/// Where deployed code calls its neighbours: headers say which endpoint is meant.
pub(super) async fn flash(
    State(endpoint): App,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let meant = headers.get("x-flash-endpoint").and_then(|value| value.to_str().ok());
    endpoint.answers_to(meant.unwrap_or("flash"))?;
    run_and_wait(&endpoint, &query, body).await
}

async fn run_and_wait(
    endpoint: &Arc<Endpoint>,
    query: &HashMap<String, String>,
    body: Body,
) -> Result<Response, ApiError> {
    let wait = match query.get("wait").map(|wait| wait.parse::<u64>()) {
        None => WAITS.1,
        Some(Ok(wait)) => wait.clamp(WAITS.0, WAITS.2),
        Some(Err(_)) => return Err(ApiError::Parameter("`wait`", "a number of milliseconds")),
    };
    let body = read(body, endpoint.config.runsync_body_bytes, "FARCALL_RUNSYNC_BODY_MB").await?;
    let (waiter, ended) = oneshot::channel();
    let (submission, submitting) = (accept(endpoint, &body)?, Arc::clone(endpoint));
    let id = to_the_end(async move { submitting.submit(submission, Some(waiter)).await }).await?;
    let document = tokio::select! {
        document = ended => document.ok(),
        () = tokio::time::sleep(Duration::from_millis(wait)) => None,
        // Nothing is lost: the job is in the queue, and the client gets its id.
        () = endpoint.worker.cancelled.cancelled(), if !endpoint.config.ephemeral => None,
    };
    if let Some(document) = document {
        return Ok(ready(document));
    }
    // From here on the client has the id.
    endpoint.store.write(Change::Nothing).await?;
    Ok(ready(endpoint.document(&id).await?.ok_or(ApiError::NoJob)?))
}

fn accept(endpoint: &Endpoint, body: &Bytes) -> Result<Submission, ApiError> {
    if endpoint.worker.draining.is_cancelled() {
        return Err(ApiError::Draining);
    }
    Ok(Submission::read(body)?)
}

async fn read(body: Body, limit: usize, variable: &'static str) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(limit, variable)),
        Err(error) => Err(ApiError::Unreadable(error.to_string())),
    }
}
