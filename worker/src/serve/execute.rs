//! `POST /execute`: a `FunctionRequest` in, a `FunctionResponse` or a stream of events out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use farcall_protocol::{FunctionRequest, RequestError};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Worker;
use super::answer::Wanted;
use super::http::{HttpError, authorize, json_response};
use super::stream::stream;
use crate::job::{Job, JobOutcome};
use crate::runner::Follower;

/// Sets a request's execution timeout, in seconds.
const TIMEOUT_HEADER: &str = "farcall-timeout";

/// Names a job in the log; the platform sets it.
const REQUEST_ID_HEADER: &str = "x-request-id";

/// Events a client may lag behind.
const WAITING_EVENTS: usize = 256;

pub(super) async fn execute(State(worker): State<Arc<Worker>>, request: Request) -> Response {
    match accept(&worker, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn accept(worker: &Arc<Worker>, request: Request) -> Result<Response, HttpError> {
    authorize(worker, request.headers())?;
    if worker.draining.is_cancelled() {
        return Err(HttpError::Draining);
    }
    let (parts, body) = request.into_parts();
    let timeout = timeout(&parts.headers)?;
    let body = read(body, &parts.headers, worker.max_body_bytes).await?;
    let wants_events = parts
        .headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.contains("text/event-stream")));
    let mut job = Job::new(job_id(&parts.headers), body);
    job.timeout = timeout;
    if wants_events {
        // The answer begins before the supervisor has looked at the request.
        if let Err(error @ RequestError::NotJson(_)) = FunctionRequest::parse(&job.request) {
            return Err(HttpError::NotJson(error.to_string()));
        }
        let (sender, events) = mpsc::channel(WAITING_EVENTS);
        let follower = Follower { events: sender, wants_output: true };
        job.stream = true;
        return Ok(stream(Running::start(worker, job, Some(follower)), events));
    }
    let answer = Running::start(worker, job, None).answer().await?;
    Ok(json_response(StatusCode::OK, body_of(answer)))
}

/// A job of a client that waits for it. Dropping this cancels the job, if the worker is set to.
#[derive(Debug)]
pub(super) struct Running {
    answer: oneshot::Receiver<Result<Vec<Vec<u8>>, HttpError>>,
    cancel: Option<DropGuard>,
}

impl Running {
    fn start(worker: &Arc<Worker>, mut job: Job, follower: Option<Follower>) -> Self {
        let cancelled = worker.cancelled.child_token();
        job.cancelled = cancelled.clone();
        job.follower = follower;
        let (sender, answer) = oneshot::channel();
        let wanted = Wanted::by(&job.request);
        let running = Arc::clone(worker);
        // A task of its own: the job ends properly whatever becomes of the connection.
        worker.jobs.spawn(async move {
            let answer = match running.supervisor.execute(job).await {
                JobOutcome::Rejected(error) if error.is_not_json() => {
                    Err(HttpError::NotJson(error.to_string()))
                }
                outcome => Ok(outcome.into_response_for(wanted.failure).into_json_pieces()),
            };
            let _ = sender.send(answer);
        });
        Self { answer, cancel: worker.cancel_on_disconnect.then(|| CancellationToken::drop_guard(cancelled)) }
    }

    /// Waits for the answer: a `FunctionResponse` as JSON, in pieces, unless the request was none.
    pub(super) async fn answer(mut self) -> Result<Vec<Vec<u8>>, HttpError> {
        let answer = (&mut self.answer).await.unwrap_or(Err(HttpError::Draining));
        self.cancel.take().map(DropGuard::disarm);
        answer
    }
}

/// A body in one piece, which is read into memory that is there from the beginning.
async fn read(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, HttpError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut whole = Vec::with_capacity(announced.unwrap_or(0).min(limit));
    let mut body = Limited::new(body, limit);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frame.data_ref().into_iter().for_each(|data| whole.extend_from_slice(data)),
            Err(error) if error.is::<LengthLimitError>() => return Err(HttpError::TooLarge(limit)),
            Err(error) => return Err(HttpError::Unreadable(error.to_string())),
        }
    }
    Ok(whole.into())
}

/// A body of pieces whose length is known.
fn body_of(mut pieces: Vec<Vec<u8>>) -> Body {
    if pieces.len() == 1 {
        return Body::from(pieces.swap_remove(0));
    }
    Body::new(Pieces(pieces.into_iter().map(Bytes::from).collect()))
}

/// Sent one after another.
struct Pieces(VecDeque<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, HttpError> {
    let Some(value) = headers.get(TIMEOUT_HEADER) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|value| value.parse::<f64>().ok());
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.filter(|timeout| !timeout.is_zero()).map(Some).ok_or(HttpError::BadTimeout(TIMEOUT_HEADER))
}

fn job_id(headers: &HeaderMap) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let given = headers.get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
    let is_printable =
        |id: &&str| !id.is_empty() && id.len() <= 100 && id.chars().all(|c| c.is_ascii_graphic());
    given
        .filter(is_printable)
        .map_or_else(|| format!("http-{}", NEXT.fetch_add(1, Ordering::Relaxed)), str::to_owned)
}
