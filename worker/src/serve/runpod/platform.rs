//! Requests to the platform's data plane: URLs, headers and status codes in one place (contract 2.2 to 2.7).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Client, Response, StatusCode};

use super::urls::Urls;
use crate::config::PlatformConfig;

/// The version of the SDK whose wire this is; the platform asks for it with every heartbeat.
const SDK_VERSION: &str = "1.12.0";

/// Longest wait for a job or a stop, as the SDK's.
const LONG_POLL: Duration = Duration::from_secs(90);

/// Longest wait for the rest of a response that has begun, and for an answer to be taken.
const TRANSFER: Duration = Duration::from_mins(1);

/// The platform, for one worker.
#[derive(Debug)]
pub(in crate::serve) struct Platform {
    http: Client,
    urls: Urls,
    key: Option<HeaderValue>,
    worker_id: String,
}

/// What is posted for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Post {
    /// An item of a generator.
    Chunk,
    /// How far a job is.
    Progress,
    /// The final answer; of a generator that was streamed, or of a plain call.
    Answer { is_stream: bool },
}

/// Why a request to the platform failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlatformError {
    /// It was not answered.
    #[error("no answer from the platform")]
    Unreachable(#[from] reqwest::Error),
    /// It was refused.
    #[error("the platform answered {0}")]
    Status(StatusCode),
    /// There is no URL to send it to.
    #[error("the platform has named no URL for this")]
    NoUrl,
}

impl PlatformError {
    /// Whether the same request may work later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::NoUrl => false,
        }
    }
}

impl Platform {
    pub(super) fn new(config: &PlatformConfig) -> Self {
        let worker_id = config.worker_id.clone().unwrap_or_else(|| {
            let random = RandomState::new();
            format!("farcall-{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
        });
        let urls = Urls::new(config, &worker_id);
        let mut http = Client::builder().tcp_nodelay(true).connect_timeout(Duration::from_secs(10));
        if !urls.are_secure() {
            // Reading the system's certificates takes longer than everything else before the first take.
            http = http.tls_certs_only([]);
        }
        let key = config.key.as_deref().and_then(|key| HeaderValue::from_str(key).ok());
        Self { http: http.build().unwrap_or_default(), urls, key, worker_id }
    }

    pub(super) fn worker_id(&self) -> &str {
        &self.worker_id
    }

    /// Begins to take up to `slots` jobs: returns when the response has begun. Dropping this takes none.
    pub(super) async fn begin_take(
        &self,
        slots: usize,
        in_progress: bool,
    ) -> Result<Response, PlatformError> {
        let batch = (slots > 1).then(|| self.urls.take_batch(slots, in_progress)).flatten();
        let url = batch.unwrap_or_else(|| self.urls.take(in_progress));
        self.long_poll(&url).await
    }

    /// The rest of a response. It must be read to its end: it may carry a job.
    pub(super) async fn finish(&self, response: Response) -> Result<Bytes, PlatformError> {
        Ok(tokio::time::timeout(TRANSFER, response.bytes()).await.unwrap_or_else(|_| Ok(Bytes::new()))?)
    }

    /// Waits for the platform to name jobs to stop. An empty body means none.
    pub(super) async fn jobs_to_stop(&self) -> Result<Bytes, PlatformError> {
        let url = self.urls.stop().ok_or(PlatformError::NoUrl)?;
        let response = self.long_poll(&url).await?;
        match response.status() {
            StatusCode::OK => self.finish(response).await,
            StatusCode::NO_CONTENT => Ok(Bytes::new()),
            status => Err(PlatformError::Status(status)),
        }
    }

    /// Where an answer is posted.
    pub(super) fn answer_url(&self, job: &str, is_stream: bool) -> String {
        self.urls.answer(job, is_stream)
    }

    pub(super) async fn post(&self, what: Post, job: &str, body: Bytes) -> Result<(), PlatformError> {
        let url = match what {
            Post::Chunk => self.urls.chunk(job).ok_or(PlatformError::NoUrl)?,
            Post::Progress => self.urls.answer(job, false),
            Post::Answer { is_stream } => self.urls.answer(job, is_stream),
        };
        self.post_to(&url, job, body).await
    }

    /// Posts JSON the way the SDK does: as a "form", with a header named `charset`.
    pub(super) async fn post_to(&self, url: &str, job: &str, body: Bytes) -> Result<(), PlatformError> {
        let mut headers = self.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert("charset", HeaderValue::from_static("utf-8"));
        if let Ok(job) = HeaderValue::from_str(job) {
            headers.insert("x-request-id", job);
        }
        let response = self.http.post(url).headers(headers).body(body).timeout(TRANSFER).send().await?;
        let status = response.status();
        let _ = response.bytes().await; // to use the connection again
        if status.is_success() { Ok(()) } else { Err(PlatformError::Status(status)) }
    }

    /// Sends a heartbeat with the jobs at hand. `unhealthy` names a check that failed and why.
    pub(super) async fn ping(
        &self,
        jobs: &[String],
        unhealthy: Option<(&str, &str)>,
        timeout: Duration,
    ) -> Result<(), PlatformError> {
        let url = self.urls.ping().ok_or(PlatformError::NoUrl)?;
        let ids = jobs.join(",");
        let mut query = Vec::new();
        if let Some((check, reason)) = unhealthy {
            query.extend([("status", "unhealthy"), ("check", check), ("reason", reason)]);
        }
        if !ids.is_empty() {
            query.push(("job_id", &ids));
        }
        query.push(("runpod_version", SDK_VERSION));
        let request = self.http.get(url).query(&query).headers(self.headers()).timeout(timeout);
        request.send().await?.bytes().await?;
        Ok(())
    }

    async fn long_poll(&self, url: &str) -> Result<Response, PlatformError> {
        let mut headers = self.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.http.get(url).headers(headers).send();
        match tokio::time::timeout(LONG_POLL, response).await {
            Ok(response) => Ok(response?),
            Err(_) => Err(PlatformError::Status(StatusCode::NO_CONTENT)),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("farcall/", env!("CARGO_PKG_VERSION"))));
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone()); // as it is, without "Bearer"
        }
        headers
    }
}
