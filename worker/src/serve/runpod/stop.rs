//! The stop channel: jobs the platform has cancelled are ended for real (contract 2.7).

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::super::backoff::Backoff;
use super::QueueWorker;
use super::platform::PlatformError;
use crate::job::on_one_line;

/// A poll that comes back sooner with nothing is followed by a pause.
const PROMPT: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Stops {
    #[serde(rename = "jobsToStop", default)]
    jobs: Vec<serde_json::Value>,
}

impl QueueWorker {
    /// Watches for jobs to stop until `ended`.
    pub(super) async fn watch_stop_channel(self: Arc<Self>, ended: CancellationToken) {
        let mut failed = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            let asked = Instant::now();
            let named = tokio::select! {
                named = self.platform.jobs_to_stop() => named,
                () = ended.cancelled() => return,
            };
            let pause = match named {
                Ok(body) => {
                    failed.reset();
                    let stops = serde_json::from_slice::<Stops>(&body)
                        .map_or_else(|_| Vec::new(), |stops| stops.jobs);
                    let stopped =
                        stops.iter().filter_map(|id| id.as_str()).filter(|id| self.stop_job(id)).count();
                    if stopped == 0 && asked.elapsed() < PROMPT { PROMPT } else { Duration::ZERO }
                }
                Err(PlatformError::NoUrl) => return debug!("the platform has no stop channel"),
                Err(PlatformError::Status(StatusCode::NO_CONTENT)) => Duration::ZERO,
                Err(PlatformError::Status(StatusCode::TOO_MANY_REQUESTS)) => Duration::from_secs(5),
                Err(error) => {
                    debug!(error = on_one_line(&error), "cannot ask for jobs to stop");
                    failed.next()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ended.cancelled() => return,
            }
        }
    }

    /// Ends a job, running or waiting. Nothing is posted for it: the platform has closed it.
    fn stop_job(&self, id: &str) -> bool {
        let mut jobs = self.jobs();
        let Some(job) = jobs.open.get_mut(id) else { return false };
        info!(job = id, "stopping");
        job.stopped = true;
        job.cancelled.cancel();
        true
    }
}
