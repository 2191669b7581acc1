//! Answers on their way to the platform, once (contract 2.3, 2.4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::super::answer::Answer;
use super::super::backoff::Backoff;
use super::QueueWorker;
use super::platform::{PlatformError, Post};
use super::spool::Entry;
use crate::job::on_one_line;

/// How long an answer is worth delivering: the platform keeps results, and jobs it waits for, that long.
const KEPT_BY_PLATFORM: Duration = Duration::from_mins(30);

/// How long the end of the worker waits for an answer before it stays in the spool.
const LAST_TRIES: Duration = Duration::from_secs(3);

impl QueueWorker {
    /// Delivers an answer. What the platform does not take now is on disk until it does.
    pub(super) async fn deliver(&self, id: &str, answer: Answer) {
        let is_stream = answer.is_stream;
        let body = Bytes::from(body(&answer, self.max_payload_bytes));
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

/// The body to post. One over the limit becomes an error that names the sizes.
fn body(answer: &Answer, limit: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(answer.output.as_ref().map_or(0, Vec::len) + 64);
    body.push(b'{');
    if let Some(output) = &answer.output {
        body.extend_from_slice(b"\"output\":");
        body.extend_from_slice(output);
    }
    if let Some(error) = &answer.error {
        let separator = if answer.output.is_some() { "," } else { "" };
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
