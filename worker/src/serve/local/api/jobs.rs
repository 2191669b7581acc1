//! One job, and the list of them.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{ApiError, App, json_of, ready, to_the_end};
use crate::serve::local::events::Place;
use crate::serve::local::job::{Record, Status, Summary};
use crate::serve::local::store::Filter;

/// Jobs on a page of the list, unless `limit` says otherwise, and at most.
const PAGE: (i64, i64) = (50, 1000);

pub(super) async fn status(
    State(endpoint): App,
    Path((name, job)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    Ok(ready(endpoint.document(&job).await?.ok_or(ApiError::NoJob)?))
}

pub(super) async fn stream(
    State(endpoint): App,
    Path((name, job)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    Ok(ready(endpoint.chunks(&job).await?.ok_or(ApiError::NoJob)?))
}

pub(super) async fn request(
    State(endpoint): App,
    Path((name, job)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    Ok(ready(endpoint.request(&job).await?.ok_or(ApiError::NoJob)?))
}

pub(super) async fn cancel(
    State(endpoint): App,
    Path((name, job)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    let id = job.clone();
    let cancelling = async move { endpoint.end(&id, Status::Cancelled, Some("the job was cancelled")).await };
    let status = to_the_end(cancelling).await?;
    Ok(json_of(&json!({"id": job, "status": status.ok_or(ApiError::NoJob)?})))
}

pub(super) async fn retry(
    State(endpoint): App,
    Path((name, job)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    let id = job.clone();
    to_the_end(async move { endpoint.retry(&id).await }).await?;
    Ok(json_of(&json!({"id": job, "status": Status::InQueue})))
}

/// `Last-Event-ID`, or `offset`, says where the client was; with `follow=0` it is told what there is, and no more.
pub(super) async fn events(
    State(endpoint): App,
    Path((name, job)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let from = match header.or(query.get("offset").map(String::as_str)) {
        None => None,
        Some(place) => {
            Some(Place::parse(place).ok_or(ApiError::Parameter("`offset`", "the id of an event"))?)
        }
    };
    if endpoint.queue().get(&job).is_none() {
        endpoint.store.find(&job).await?.ok_or(ApiError::NoJob)?;
    }
    let follow = query.get("follow").is_none_or(|follow| follow != "0");
    Ok(endpoint.events(job, from, follow))
}

/// A page of the list.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    jobs: Vec<Summary<'a>>,
    /// What `before` is for the next page.
    next: Option<i64>,
    counts: Map<String, Value>,
}

pub(super) async fn list(
    State(endpoint): App,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    endpoint.answers_to(&name)?;
    let filter = filter(&query)?;
    let limit = filter.limit;
    let jobs = endpoint.store.list(filter).await?;
    let is_full = i64::try_from(jobs.len()).unwrap_or(limit) >= limit;
    let counts = endpoint.queue().counts;
    let listed = Listed {
        next: jobs.last().filter(|_| is_full).map(|last| last.seq),
        jobs: jobs.iter().map(Record::summary).collect(),
        counts: Status::ALL
            .into_iter()
            .map(|status| (status.name().to_owned(), counts[status as usize].into()))
            .collect(),
    };
    Ok(ready(serde_json::to_vec(&listed).unwrap_or_default().into()))
}

fn filter(query: &HashMap<String, String>) -> Result<Filter, ApiError> {
    let number = |name: &str| query.get(name).map(|value| value.parse::<i64>()).transpose();
    let given = |name: &str| query.get(name).filter(|value| !value.is_empty());
    let status = match given("status") {
        None => None,
        Some(name) => Some(Status::named(name).ok_or(ApiError::Parameter("`status`", "a status of jobs"))?),
    };
    Ok(Filter {
        status,
        search: given("search").cloned(),
        before: number("before").map_err(|_| ApiError::Parameter("`before`", "a number"))?,
        limit: number("limit")
            .map_err(|_| ApiError::Parameter("`limit`", "a number"))?
            .map_or(PAGE.0, |limit| limit.clamp(1, PAGE.1)),
    })
}
