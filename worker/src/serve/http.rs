//! HTTP: connections, routes, and what they share. The load-balancer worker's interface (contract 4).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Health, Worker};

/// How long an idle connection is kept: the platform's proxies keep theirs for ten minutes.
const KEEP_ALIVE: Duration = Duration::from_mins(10);

/// A timer that is always due before the ones that requests set (`KEEP_ALIVE`, a call's deadline in most
/// workers): setting the earliest timer of all wakes the runtime, which costs two system calls a request.
const EARLIER_TIMER: Duration = Duration::from_mins(1);

/// Pause after a failed accept, which usually means that descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An HTTP answer that is not a response to a request that was understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("missing or wrong API key\nhint: send `Authorization: Bearer` with the value of FARCALL_API_KEY")]
    Unauthorized,
    #[error("request body is over the limit of {0} bytes\nhint: FARCALL_MAX_BODY_MB raises it")]
    TooLarge(usize),
    #[error("{0}")]
    NotJson(String),
    #[error("request body could not be read: {0}")]
    Unreadable(String),
    #[error("header `{0}` is not a number of seconds above 0")]
    BadTimeout(&'static str),
    #[error("the worker is shutting down")]
    Draining,
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson(_) | Self::Unreadable(_) | Self::BadTimeout(_) => StatusCode::BAD_REQUEST,
            Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        };
        json_response(status, json!({"error": self.to_string()}).to_string().into())
    }
}

/// The worker's routes.
pub(super) fn routes(worker: &Arc<Worker>) -> Router {
    let execute =
        Router::new().route("/execute", post(super::execute::execute)).with_state(Arc::clone(worker));
    health_routes(worker).merge(execute)
}

/// The routes of a separate health port.
pub(super) fn health_routes(worker: &Arc<Worker>) -> Router {
    Router::new().route("/ping", get(ping)).with_state(Arc::clone(worker))
}

/// 204 while starting, 200 when ready, 503 when unhealthy or shutting down. Waits for nothing.
async fn ping(State(worker): State<Arc<Worker>>) -> Response {
    let (status, word) = match worker.health() {
        // Without a body: even a length of one would make clients wait for it.
        Health::Starting => return StatusCode::NO_CONTENT.into_response(),
        Health::Ready => (StatusCode::OK, "healthy"),
        Health::Unhealthy => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    json_response(status, json!({"status": word}).to_string().into())
}

pub(super) fn json_response(status: StatusCode, body: Body) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Checks the API key, if there is one.
pub(super) fn authorize(worker: &Worker, headers: &HeaderMap) -> Result<(), HttpError> {
    authorize_with(worker, bearer(headers).unwrap_or_default())
}

/// The same, for clients that may send the key as it is, without `Bearer`.
pub(super) fn authorize_any(worker: &Worker, headers: &HeaderMap) -> Result<(), HttpError> {
    let bare = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    authorize_with(worker, bearer(headers).unwrap_or(bare))
}

fn authorize_with(worker: &Worker, given: &[u8]) -> Result<(), HttpError> {
    let Some(key) = &worker.api_key else { return Ok(()) };
    if bool::from(given.ct_eq(key.as_bytes())) { Ok(()) } else { Err(HttpError::Unauthorized) }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, given) =
        headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
}

/// Serves connections until told to stop, then until those that are open have their answers.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(KEEP_ALIVE);
    let graceful = GracefulShutdown::new();
    let mut earlier_timer = tokio::time::interval(EARLIER_TIMER);
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            _ = earlier_timer.tick() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(routes.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection ended");
            }
        });
    }
    drop(listener); // new connections go to another worker at once
    graceful.shutdown().await;
}
