//! What a job is told about its installation: in its output, in the log, and to whoever follows it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{Level, enabled};

use crate::output_log::OutputLog;
use crate::runner::{Event, Follower};

/// In front of each line, as it appears among what user code prints.
const MARK: &str = "[farcall] ";

/// The lines for one job, said as they come.
#[derive(Debug)]
pub struct Notices {
    follower: Option<Follower>,
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    text: String,
    log: Option<OutputLog>,
}

impl Notices {
    /// For a job with the given log and follower.
    pub fn new(log: Option<OutputLog>, follower: Option<Follower>) -> Self {
        Self { follower, said: Mutex::new(Said { text: String::new(), log }) }
    }

    /// Says a line. A follower that lags behind misses it; the answer has it.
    pub fn say(&self, line: &str) {
        let line = format!("{MARK}{line}\n");
        let mut said = self.said();
        if let Some(log) = &mut said.log {
            log.push(&line);
        }
        said.text.push_str(&line);
        drop(said);
        if let Some(follower) = &self.follower {
            let _ = follower.events.try_send(Event::Notice(line));
        }
    }

    /// Says a line where the log's level is `debug`.
    pub fn say_at_debug(&self, line: &str) {
        if enabled!(Level::DEBUG) {
            self.say(line);
        }
    }

    /// Everything that was said.
    pub fn into_text(self) -> String {
        self.said.into_inner().unwrap_or_else(PoisonError::into_inner).text
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
