//! One build at a time for each environment: whoever wants what is being built waits for it and shares its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{InstallError, Notices, Packages};

/// How a build ends.
pub(super) type Outcome = Result<Packages, Arc<InstallError>>;

/// How far a build is.
#[derive(Debug, Default)]
struct Progress {
    lines: Vec<Line>,
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone)]
struct Line {
    text: String,
    at_debug: bool,
}

/// A build that is under way.
#[derive(Debug)]
struct Flight {
    progress: watch::Receiver<Progress>,
    /// Held by all who wait for it; it ends with the last of them.
    interest: Weak<DropGuard>,
}

/// The builds that are under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_key: Mutex<HashMap<String, Flight>>,
}

/// Where a build says what it does, to all who wait for it.
#[derive(Debug, Clone)]
pub(super) struct Announcer {
    progress: watch::Sender<Progress>,
}

impl Announcer {
    /// Says a line.
    pub(super) fn say(&self, line: impl Into<String>) {
        self.push(Line { text: line.into(), at_debug: false });
    }

    /// Says a line where the log's level is `debug`.
    pub(super) fn say_at_debug(&self, line: impl Into<String>) {
        self.push(Line { text: line.into(), at_debug: true });
    }

    fn push(&self, line: Line) {
        self.progress.send_modify(|progress| progress.lines.push(line));
    }
}

impl Flights {
    /// The outcome of the build of `key`, which is begun by `build` unless it is under way.
    pub(super) async fn join<F: Future<Output = Outcome> + Send + 'static>(
        self: &Arc<Self>,
        key: &str,
        notices: &Notices,
        tasks: &TaskTracker,
        build: impl FnOnce(Announcer) -> F,
    ) -> Outcome {
        let (mut progress, _interest) = self.under_way(key).unwrap_or_else(|| self.begin(key, tasks, build));
        let mut told = 0;
        loop {
            let (lines, outcome) = {
                let now = progress.borrow_and_update();
                (now.lines[told..].to_vec(), now.outcome.clone())
            };
            told += lines.len();
            for line in lines {
                if line.at_debug { notices.say_at_debug(&line.text) } else { notices.say(&line.text) }
            }
            if let Some(outcome) = outcome {
                return outcome;
            }
            if progress.changed().await.is_err() {
                return Err(Arc::new(InstallError::Closed));
            }
        }
    }

    fn under_way(&self, key: &str) -> Option<(watch::Receiver<Progress>, Arc<DropGuard>)> {
        let by_key = self.by_key();
        let flight = by_key.get(key)?;
        Some((flight.progress.clone(), flight.interest.upgrade()?))
    }

    fn begin<F: Future<Output = Outcome> + Send + 'static>(
        self: &Arc<Self>,
        key: &str,
        tasks: &TaskTracker,
        build: impl FnOnce(Announcer) -> F,
    ) -> (watch::Receiver<Progress>, Arc<DropGuard>) {
        let (sender, progress) = watch::channel(Progress::default());
        let unwanted = CancellationToken::new();
        let interest = Arc::new(unwanted.clone().drop_guard());
        let announcer = Announcer { progress: sender };
        let building = build(announcer.clone());
        let flights = Arc::clone(self);
        tasks.spawn(async move {
            let outcome = tokio::select! {
                outcome = building => outcome,
                () = unwanted.cancelled() => Err(Arc::new(InstallError::Closed)),
            };
            announcer.progress.send_modify(|progress| progress.outcome = Some(outcome));
            flights.by_key().retain(|_, flight| flight.progress.borrow().outcome.is_none());
        });
        let flight = Flight { progress: progress.clone(), interest: Arc::downgrade(&interest) };
        self.by_key().insert(key.to_owned(), flight);
        (progress, interest)
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
