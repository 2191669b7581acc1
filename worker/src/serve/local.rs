//! An endpoint of its own, where there is no platform: queue, API and worker in one process.
//!
//! ```text
//! run, runsync ──▶ store: written ──▶ queue ──▶ own ──▶ Supervisor::execute
//!                                                │
//! status, stream, events, webhook ◀── written ◀──┘
//! ```
//!
//! A job whose id a client has survives the end of this process: it is in the database before the client is told.
//! [`lifecycle`] has a job from its beginning to its end, and every end is written before anybody can see it.

mod api;
mod ending;
mod events;
mod files;
mod follow;
mod guard;
mod intake;
mod job;
mod lifecycle;
mod machine;
mod outside;
mod page;
mod queue;
mod retention;
mod store;
mod submission;
mod webhook;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use tokio::sync::mpsc;
use tracing::info;

pub(super) use self::guard::is_open_to_all;
use self::job::{Status, now_ms};
use self::queue::Queue;
use self::store::{Change, Contents, Finish, Store};
pub use self::store::{SchemaError, StoreError};
use super::Worker;
use crate::config::{Config, LocalConfig};
use crate::shipped::ShippedModules;

/// The endpoint that `farcall serve` is.
#[derive(Debug)]
pub(super) struct Endpoint {
    worker: Arc<Worker>,
    config: LocalConfig,
    concurrency: usize,
    max_output_bytes: usize,
    cache_directory: PathBuf,
    shipped: ShippedModules,
    started: Instant,
    store: Store,
    queue: Mutex<Queue>,
    /// How many of a job's chunks `stream` has told.
    cursors: Mutex<HashMap<String, usize>>,
    /// Ids of jobs whose webhook is to be called.
    webhooks: mpsc::UnboundedSender<String>,
}

/// A queue that has been opened, and what is in it.
#[derive(Debug)]
pub(super) struct OpenedQueue {
    store: Store,
    contents: Contents,
}

impl OpenedQueue {
    /// Opens the queue of a configuration.
    pub(super) async fn open(config: &Config) -> Result<Self, StoreError> {
        let local = config.local.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&local));
        let (store, contents) = opened.await.map_err(|_| StoreError::Closed)??;
        Ok(Self { store, contents })
    }
}

impl Endpoint {
    /// Takes up what the queue holds, and begins to work.
    pub(super) fn start(worker: &Arc<Worker>, config: &Config, queue: OpenedQueue) -> Arc<Self> {
        let OpenedQueue { store, contents } = queue;
        let (webhooks, due) = mpsc::unbounded_channel();
        let endpoint = Arc::new(Self {
            worker: Arc::clone(worker),
            config: config.local.clone(),
            concurrency: config.concurrency,
            max_output_bytes: config.max_output_bytes,
            cache_directory: config.cache_directory.clone(),
            shipped: ShippedModules::new(&config.cache_directory),
            started: Instant::now(),
            store,
            queue: Mutex::new(Queue::new(&contents)),
            cursors: Mutex::default(),
            webhooks,
        });
        endpoint.recover(contents);
        tokio::spawn(Arc::clone(&endpoint).call_webhooks(due));
        tokio::spawn(Arc::clone(&endpoint).remove_what_is_over());
        tokio::spawn(Arc::clone(&endpoint).watch_deadlines());
        endpoint.dispatch();
        endpoint
    }

    /// Every route, the worker's own included.
    pub(super) fn routes(self: &Arc<Self>, is_loopback: bool) -> Router {
        let routes = api::routes(self).merge(super::http::routes(&self.worker));
        guard::protect(routes, self, is_loopback)
    }

    /// Writes what is left to write.
    pub(super) async fn close(&self) {
        self.store.close().await;
    }

    /// Jobs that ran when the last process ended wait again, unless they have had all their attempts.
    fn recover(&self, contents: Contents) {
        let (found, mut begun) = (contents.open.len(), 0);
        let mut queue = self.queue();
        for mut record in contents.open {
            if record.status == Status::InProgress {
                begun += 1;
                if record.attempts >= self.most_attempts(record.retries) {
                    self.store.send(Change::Finish(Box::new(Finish {
                        seq: record.seq,
                        status: Status::Failed,
                        finished_ms: now_ms(),
                        expires_ms: self.expiry(record.is_sync),
                        error: Some(format!(
                            "the worker ended while this ran, in {} of {} attempts\n\
                             hint: FARCALL_MAX_ATTEMPTS says how many there are",
                            record.attempts,
                            self.most_attempts(record.retries)
                        )),
                        output: None,
                        events: None,
                    })));
                    queue.counts[Status::InProgress as usize] -= 1;
                    queue.counts[Status::Failed as usize] += 1;
                    if record.webhook.is_some() {
                        let _ = self.webhooks.send(record.id);
                    }
                    continue;
                }
                self.store.send(Change::Requeue { seq: record.seq, attempts: record.attempts });
                queue.counts[Status::InProgress as usize] -= 1;
                queue.counts[Status::InQueue as usize] += 1;
                record.status = Status::InQueue;
                record.started_ms = None;
            }
            queue.enter(record, None, None);
        }
        drop(queue);
        contents.webhooks_due.into_iter().for_each(|id| drop(self.webhooks.send(id)));
        if found > 0 {
            info!(jobs = found, begun, "jobs of an earlier run are taken up");
        }
    }

    fn most_attempts(&self, retries: u32) -> u32 {
        self.config.max_attempts.saturating_mul(retries + 1)
    }

    /// When a job that ends now goes.
    fn expiry(&self, is_sync: bool) -> i64 {
        let retention = if is_sync { self.config.sync_retention } else { self.config.retention };
        now_ms().saturating_add(job::milliseconds(retention))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursors(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
