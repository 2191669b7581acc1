//! What a full disk owes the queue: changes that are written when there is room again.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tracing::{error, info, warn};

use super::Change;
use super::writer::{self, Command};

/// Between two attempts to write it.
const PAUSE: Duration = Duration::from_secs(1);

/// Changes that may be owed: beyond it they are lost.
const MOST_OWED: usize = 10_000;

/// Changes that the disk had no room for, in their order. They are written when it has, so that no job ends twice.
#[derive(Default)]
pub(super) struct Owed(VecDeque<Change>);

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next command; meanwhile what is owed is tried again.
    pub(super) fn next_command(
        &mut self,
        commands: &Receiver<Command>,
        connection: &mut Connection,
    ) -> Result<Command, RecvTimeoutError> {
        while !self.0.is_empty() {
            match commands.recv_timeout(PAUSE) {
                Err(RecvTimeoutError::Timeout) => self.pay(connection),
                received => return received,
            }
        }
        commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
    }

    /// Writes what there is room for.
    pub(super) fn pay(&mut self, connection: &mut Connection) {
        let owed = self.0.len();
        while let Some(change) = self.0.front() {
            match writer::apply(connection, std::iter::once(change)) {
                Err(error) if is_full(&error) => return,
                result => result.unwrap_or_else(|error| error!(%error, "a change of the queue is lost")),
            }
            self.0.pop_front();
        }
        if owed > 0 {
            info!(changes = owed, "the queue's disk has room again: what was owed is written");
        }
    }

    /// Applies a change, or owes it if the disk is full. A job whose client learns that it is not taken is not owed.
    pub(super) fn apply(
        &mut self,
        connection: &mut Connection,
        change: Change,
        is_waited_for: bool,
    ) -> rusqlite::Result<()> {
        let is_told = is_waited_for && matches!(change, Change::Add { .. } | Change::Nothing);
        let behind = !is_told && !self.0.is_empty();
        let result =
            if behind { Err(disk_full()) } else { writer::apply(connection, std::iter::once(&change)) };
        if let Err(error) = &result {
            if is_told || !is_full(error) {
                error!(%error, "the queue cannot be written");
            } else if self.0.len() < MOST_OWED {
                warn!(owed = self.0.len() + 1, "the queue's disk is full: a change waits for room");
                self.0.push_back(change);
            } else {
                error!(%error, "a change of the queue is lost");
            }
        }
        result
    }
}

fn disk_full() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None)
}

/// Whether a write failed for lack of room: in the log it looks like any other failure of the system.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}
