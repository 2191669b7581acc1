//! What has been kept long enough goes: results over their time, and the oldest ones where there is no more room.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::Endpoint;
use super::job::now_ms;
use super::store::{Removed, StoreError};
use crate::job::on_one_line;

/// How often it is looked for.
const PAUSE: Duration = Duration::from_secs(1);

impl Endpoint {
    pub(super) async fn remove_what_is_over(self: Arc<Self>) {
        let mut pause = tokio::time::interval(PAUSE);
        while !self.worker.draining.is_cancelled() {
            pause.tick().await;
            if let Err(error) = self.sweep().await {
                warn!(error = on_one_line(&error), "what is over is not removed");
            }
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        while !self.forget(self.store.remove(now_ms()).await?).await {}
        // Room is made before it is needed: a job that is refused costs more than an old result.
        let most = self.config.max_queue_bytes / 10 * 9;
        while self.queue().payload_bytes > most {
            if self.forget(self.store.remove(i64::MAX).await?).await {
                break;
            }
        }
        Ok(())
    }

    /// Forgets jobs that have been removed. True once there was nothing left to remove.
    async fn forget(&self, removed: Removed) -> bool {
        let is_last = removed.is_last();
        {
            let mut queue = self.queue();
            queue.payload_bytes = queue.payload_bytes.saturating_sub(removed.bytes);
            for (count, gone) in queue.counts.iter_mut().zip(removed.by_status) {
                *count = count.saturating_sub(gone);
            }
        }
        {
            let mut cursors = self.cursors();
            for (id, _) in &removed.jobs {
                cursors.remove(id);
            }
        }
        let files = self.store.files().clone();
        let in_files: Vec<String> =
            removed.jobs.into_iter().filter_map(|(id, is_in_file)| is_in_file.then_some(id)).collect();
        if !in_files.is_empty() {
            let _ =
                tokio::task::spawn_blocking(move || in_files.iter().for_each(|id| files.remove(id))).await;
        }
        is_last
    }
}
