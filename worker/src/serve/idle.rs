//! An endpoint that ends by itself when nobody needs it: programs that start one for themselves need not stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::info;

/// When an endpoint was last asked for something.
#[derive(Debug, Clone)]
pub(super) struct Idle {
    limit: Duration,
    began: Instant,
    /// Milliseconds after `began`.
    asked: Arc<AtomicU64>,
    jobs: TaskTracker,
}

impl Idle {
    /// Counts from now; `jobs` are those that keep the endpoint busy.
    pub(super) fn new(limit: Duration, jobs: TaskTracker) -> Self {
        Self { limit, began: Instant::now(), asked: Arc::default(), jobs }
    }

    /// Notices every request to `routes`.
    pub(super) fn watch(&self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self.clone(), notice))
    }

    /// Waits until there was neither a request nor a job for as long as may be.
    pub(super) async fn over(&self) {
        loop {
            let due = self.began + Duration::from_millis(self.asked.load(Ordering::Relaxed)) + self.limit;
            tokio::time::sleep_until(due).await;
            if !self.jobs.is_empty() {
                self.touch(); // it is busy now, and is looked at again later
            } else if self.began + Duration::from_millis(self.asked.load(Ordering::Relaxed)) + self.limit
                <= due
            {
                info!(idle_s = self.limit.as_secs(), "nobody needs it any more");
                return;
            }
        }
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.asked.fetch_max(elapsed, Ordering::Relaxed);
    }
}

async fn notice(State(idle): State<Idle>, request: Request, next: Next) -> Response {
    idle.touch();
    next.run(request).await
}
