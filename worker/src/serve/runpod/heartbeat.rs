//! Heartbeats: on time whatever user code does, since no interpreter is in this process.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::QueueWorker;
use crate::job::on_one_line;
use crate::serve::Health;

/// The platform hears that this worker is unfit, or does not, within this.
const LAST_HEARTBEAT: Duration = Duration::from_secs(2);

/// The platform keeps so much of a reason, in characters.
const LONGEST_REASON: usize = 256;

impl QueueWorker {
    /// Tells the platform which fitness check failed, and why: this worker ends.
    pub(in crate::serve) async fn report_unfit(&self, check: &str, reason: &str) {
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        if let Err(error) = self.platform.ping(&[], Some((check, &reason)), LAST_HEARTBEAT).await {
            warn!(error = on_one_line(&error), "the platform could not be told");
        }
    }

    /// Sends a heartbeat at once and then in the platform's rhythm, until `ended`.
    pub(super) async fn send_heartbeats(self: Arc<Self>, ended: CancellationToken) {
        let mut ticks = tokio::time::interval(self.ping_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = ended.cancelled() => return,
            }
            let mut jobs: Vec<String> = self.jobs().open.keys().cloned().collect();
            jobs.sort();
            // A draining worker is as healthy as it was; the platform is told by the jobs it takes no more.
            let failing = !self.worker.draining.is_cancelled() && self.worker.health() == Health::Unhealthy;
            let unhealthy = failing.then_some(("runner", "no runner could be started"));
            // Not awaited in the rhythm: an answer that takes long must not delay the next heartbeat.
            let worker = Arc::clone(&self);
            tokio::spawn(async move {
                let timeout = worker.ping_interval * 2;
                if let Err(error) = worker.platform.ping(&jobs, unhealthy, timeout).await {
                    debug!(error = on_one_line(&error), "heartbeat not answered");
                }
            });
        }
    }
}
