//! What the supervisor does once large jobs have passed: it gives the memory they took back to the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use farcall_heap::{LARGE, REST, give_back};

/// Counts large jobs, to tell whether another one came while one was waited after.
#[derive(Debug, Default)]
pub(crate) struct Rest(Arc<AtomicU64>);

impl Rest {
    /// A job with a request or result of so many bytes has ended: its memory goes when no other one follows.
    pub(crate) fn after(&self, bytes: usize) {
        if bytes < LARGE {
            return;
        }
        let jobs = Arc::clone(&self.0);
        let number = jobs.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::spawn(async move {
            tokio::time::sleep(REST).await;
            if jobs.load(Ordering::Relaxed) == number {
                give_back();
            }
        });
    }
}
