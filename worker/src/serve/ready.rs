//! What `farcall doctor --ready` is told of this worker.

use std::sync::{Arc, OnceLock};

use super::{Health, Worker};
use crate::readiness::{Answering, State};

/// Answers from the first moment on: a worker that is still starting says so.
#[derive(Debug)]
pub(super) struct Readiness {
    worker: Arc<OnceLock<Arc<Worker>>>,
    _answering: Option<Answering>,
}

impl Readiness {
    pub(super) fn start() -> Self {
        let worker = Arc::new(OnceLock::new());
        let watched = Arc::clone(&worker);
        Self { worker, _answering: Answering::start(move || state(watched.get())) }
    }

    /// From now on the worker's own health counts.
    pub(super) fn watch(&self, worker: &Arc<Worker>) {
        let _ = self.worker.set(Arc::clone(worker));
    }
}

fn state(worker: Option<&Arc<Worker>>) -> State {
    match worker.map(|worker| (worker.draining.is_cancelled(), worker.health())) {
        None | Some((false, Health::Starting)) => State::Starting,
        Some((true, _)) => State::Stopping,
        Some((false, Health::Ready)) => State::Ready,
        Some((false, Health::Unhealthy)) => State::Unhealthy,
    }
}
