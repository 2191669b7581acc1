//! Taking jobs: a long poll whenever a slot is free.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, error, info, warn};

use super::super::backoff::Backoff;
use super::QueueWorker;
use super::platform::PlatformError;
use super::taken;
use crate::job::on_one_line;

/// The platform's own pause for a worker that asks too often.
const RATE_LIMITED: Duration = Duration::from_secs(5);

/// A refusal that comes sooner is no long poll: without a pause it would be a hot loop.
const PROMPT_REFUSAL: Duration = Duration::from_secs(1);

impl QueueWorker {
    /// Takes jobs until the worker drains.
    pub(super) async fn take_jobs(self: &Arc<Self>) {
        let draining = self.worker.draining.clone();
        let mut refused = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let mut failed = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        info!(worker = self.platform().worker_id(), concurrency = self.concurrency, "taking jobs");
        while !draining.is_cancelled() {
            let slots = tokio::select! {
                slots = self.free_slots() => slots,
                () = draining.cancelled() => return,
            };
            let asked = Instant::now();
            let pause = match self.take(slots).await {
                Ok(Taking::Jobs | Taking::None) => {
                    refused.reset();
                    failed.reset();
                    Duration::ZERO
                }
                Ok(Taking::Refused) if asked.elapsed() < PROMPT_REFUSAL => refused.next(),
                Ok(Taking::Refused) => Duration::ZERO,
                Ok(Taking::Draining) => return,
                Err(PlatformError::Status(StatusCode::TOO_MANY_REQUESTS)) => RATE_LIMITED,
                Err(error) => {
                    let pause = failed.next();
                    warn!(error = on_one_line(&error), pause_ms = pause.as_millis(), "cannot take jobs");
                    pause
                }
            };
            if !pause.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = draining.cancelled() => return,
                }
            }
        }
    }

    /// Waits for a free slot and takes all that are free.
    async fn free_slots(&self) -> Vec<OwnedSemaphorePermit> {
        let slots = Arc::clone(&self.slots);
        let Ok(first) = slots.acquire_owned().await else { return std::future::pending().await };
        let mut free = vec![first];
        while let Ok(next) = Arc::clone(&self.slots).try_acquire_owned() {
            free.push(next);
        }
        free
    }

    async fn take(self: &Arc<Self>, slots: Vec<OwnedSemaphorePermit>) -> Result<Taking, PlatformError> {
        let in_progress = !self.jobs().open.is_empty();
        // Until the response begins, no job is on its way here; afterwards it is read whatever happens.
        let response = tokio::select! {
            response = self.platform.begin_take(slots.len(), in_progress) => response?,
            () = self.worker.draining.cancelled() => return Ok(Taking::Draining),
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => return Ok(Taking::None),
            // The platform's way of saying "no job" to a worker that it has just woken.
            StatusCode::BAD_REQUEST => return Ok(Taking::Refused),
            status => return Err(PlatformError::Status(status)),
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
        let body = self.platform.finish(response).await?;
        if !is_json || body.is_empty() {
            return Ok(Taking::Refused);
        }
        let (jobs, unanswerable) = taken::read(&body);
        if unanswerable > 0 {
            error!(elements = unanswerable, "the platform sent jobs without an id: they cannot be answered");
        }
        if jobs.is_empty() {
            return Ok(Taking::Refused);
        }
        debug!(jobs = jobs.len(), slots = slots.len(), "taken");
        let mut slots = slots.into_iter();
        for job in jobs {
            self.accept(job, slots.next());
        }
        Ok(Taking::Jobs)
    }
}

/// What came of asking for jobs.
enum Taking {
    Jobs,
    /// There were none, after a wait.
    None,
    /// There were none, perhaps at once.
    Refused,
    Draining,
}
