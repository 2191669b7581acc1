//! Answers: from a job's outcome to the platform, once (contract 2.3, 2.4, 5.2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use farcall_protocol::FunctionResponse;
use farcall_protocol::frame::{Chunk, Encoding};
use reqwest::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::QueueWorker;
use super::backoff::Backoff;
use super::platform::{PlatformError, Post};
use super::spool::Entry;
use crate::job::on_one_line;

/// How long an answer is worth delivering: the platform keeps results, and jobs it waits for, that long.
const KEPT_BY_PLATFORM: Duration = Duration::from_mins(30);

/// How long the end of the worker waits for an answer before it stays in the spool.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// The final answer of a job.
#[derive(Debug)]
pub(super) struct Answer {
    /// `output` of the body, as JSON.
    output: Option<Vec<u8>>,
    /// `error` of the body. Its presence makes the job a failed one.
    error: Option<String>,
    is_stream: bool,
}

/// The items a generator has yielded, as 2.x clients read them.
#[derive(Debug, Default)]
pub(super) struct Envelopes(Vec<Vec<u8>>);

impl Envelopes {
    /// Adds a chunk of the job. Returns the envelope to post.
    pub(super) fn add(&mut self, chunk: &Chunk, body: &[u8]) -> Vec<u8> {
        let field = if chunk.encoding == Encoding::Json { "json_result" } else { "result" };
        let quote = if chunk.encoding == Encoding::Json { "" } else { "\"" };
        let head = format!("{{\"success\":true,\"__stream__\":true,\"{field}\":{quote}");
        let envelope = [head.as_bytes(), body, quote.as_bytes(), b"}"].concat();
        self.0.push(envelope.clone());
        envelope
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_list(self) -> Vec<u8> {
        let mut list = self.0.join(&b","[..]);
        list.insert(0, b'[');
        list.push(b']');
        list
    }
}

impl Answer {
    /// A job that cannot be run.
    pub(super) fn rejected(reason: String) -> Self {
        Self { output: None, error: Some(reason), is_stream: false }
    }

    pub(super) fn new(response: &FunctionResponse, envelopes: Envelopes, was_streamed: bool) -> Self {
        // A failure without a text would look like a success.
        let fallback = (!response.success).then(|| "the call failed".to_owned());
        let error = response.error.clone().or(fallback);
        let output = if was_streamed { envelopes.into_list() } else { response.to_output_json() };
        Self { output: Some(output), error, is_stream: was_streamed }
    }

    /// What tells those who follow a stream that it failed.
    pub(super) fn failed_stream(&self) -> Option<Vec<u8>> {
        let error = self.error.as_ref().filter(|_| self.is_stream)?;
        Some(json!({"success": false, "__stream__": true, "error": error}).to_string().into())
    }

    /// The body to post. One over the limit becomes an error that names the sizes.
    fn into_body(self, limit: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.output.as_ref().map_or(0, Vec::len) + 64);
        body.push(b'{');
        if let Some(output) = &self.output {
            body.extend_from_slice(b"\"output\":");
            body.extend_from_slice(output);
        }
        if let Some(error) = &self.error {
            let separator = if self.output.is_some() { "," } else { "" };
            body.extend_from_slice(format!("{separator}\"error\":{}", json!(error)).as_bytes());
        }
        body.push(b'}');
        if body.len() <= limit {
            return body;
        }
        let error = format!(
            "the answer is {} bytes, over the platform's limit of {limit}\n\
             hint: return less, or write it to storage and return where it is",
            body.len()
        );
        json!({"error": error}).to_string().into()
    }
}

impl QueueWorker {
    /// Delivers an answer. What the platform does not take now is on disk until it does.
    pub(super) async fn deliver(&self, id: &str, answer: Answer) {
        let is_stream = answer.is_stream;
        let body = Bytes::from(answer.into_body(self.max_payload_bytes));
        match self.platform.post(Post::Answer { is_stream }, id, body.clone()).await {
            Ok(()) => {}
            Err(error) if error.is_temporary() => {
                let entry = Entry { job: id.to_owned(), url: self.platform.answer_url(id, is_stream) };
                let entry = self.spool.keep(entry, body.clone()).await;
                warn!(
                    job = id,
                    error = on_one_line(&error),
                    spooled = entry.is_some(),
                    "answer not delivered yet"
                );
                let url = self.platform.answer_url(id, is_stream);
                if self.keep_delivering(id, &url, body, &self.worker.cancelled).await
                    && let Some(entry) = entry
                {
                    self.spool.forget(entry).await;
                }
            }
            Err(error) => error!(job = id, error = on_one_line(&error), "the platform refuses the answer"),
        }
    }

    /// Delivers what an earlier run of this worker could not.
    pub(super) async fn deliver_spooled(self: Arc<Self>) {
        for (file, entry, body) in self.spool.load().await {
            // They are on disk and stay there: the worker's end does not wait for them.
            if self.keep_delivering(&entry.job, &entry.url, body, &self.worker.draining).await {
                self.spool.forget(file).await;
            }
        }
    }

    /// Tries until the platform takes or refuses the answer (`true`), or until shortly after `end` (`false`).
    async fn keep_delivering(&self, id: &str, url: &str, body: Bytes, end: &CancellationToken) -> bool {
        let began = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        let mut last_tries: Option<Instant> = None;
        loop {
            let pause = backoff.next();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = end.cancelled(), if last_tries.is_none() => {}
            }
            if end.is_cancelled() && last_tries.is_none() {
                last_tries = Some(Instant::now());
            }
            let post = self.platform.post_to(url, id, body.clone());
            let posted = if last_tries.is_some() {
                let refused = || Err(PlatformError::Status(StatusCode::REQUEST_TIMEOUT));
                tokio::time::timeout(LAST_TRIES, post).await.unwrap_or_else(|_| refused())
            } else {
                post.await
            };
            match posted {
                Ok(()) => return true,
                Err(error) if !error.is_temporary() => {
                    error!(job = id, error = on_one_line(&error), "the platform refuses the answer");
                    return true;
                }
                Err(error) if began.elapsed() > KEPT_BY_PLATFORM => {
                    error!(
                        job = id,
                        error = on_one_line(&error),
                        "answer given up: the platform has not taken it for half an hour"
                    );
                    return true;
                }
                Err(error) if last_tries.is_some_and(|since| since.elapsed() > LAST_TRIES) => {
                    error!(
                        job = id,
                        error = on_one_line(&error),
                        "answer left in the spool for the next start"
                    );
                    return false;
                }
                Err(PlatformError::Status(_) | PlatformError::Unreachable(_) | PlatformError::NoUrl) => {}
            }
        }
    }
}
