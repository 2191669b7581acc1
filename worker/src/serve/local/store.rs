//! The queue on disk: SQLite, owned by one thread.
//!
//! Changes that come while a transaction is under way go into the next one together, so that many clients share
//! what a commit costs. Whoever waits for a change learns of it after the commit: from then on it survives the end
//! of the process. Changes that nobody waits for are written a moment later, or with the next that is waited for.
//! Reads see every change sent before them.

mod changes;
mod owed;
mod reads;
mod schema;
mod writer;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

pub(super) use self::changes::{Change, Finish, PURGED};
pub(super) use self::reads::{Filter, Payload, Removed};
pub use self::schema::SchemaError;
use self::writer::Command;
use super::files::Files;
use super::job::Record;
use crate::config::LocalConfig;

/// Why the queue cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "another `farcall serve` uses the queue in `{0}`\nhint: give this one its own FARCALL_DATA_DIR, or use --ephemeral"
    )]
    InUse(PathBuf),
    /// It cannot be opened.
    #[error(
        "cannot open the queue in `{directory}`\nhint: FARCALL_DATA_DIR chooses another place, --ephemeral none"
    )]
    Open {
        /// Where it is.
        directory: PathBuf,
        /// Why not.
        #[source]
        source: SchemaError,
    },
    /// Its directory cannot be used.
    #[error("cannot use the directory of the queue, `{directory}`")]
    Directory {
        /// Where it is.
        directory: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the queue cannot be used{}", if self.is_full() { FULL_DISK } else { "" })]
    Database(#[from] rusqlite::Error),
    /// A payload's file cannot be read or written.
    #[error("a payload of the queue cannot be read or written{}", if self.is_full() { FULL_DISK } else { "" })]
    Payload(#[from] io::Error),
    /// The worker is on its way down.
    #[error("the queue is closed")]
    Closed,
}

const FULL_DISK: &str = ": its disk is full\nhint: free space there; FARCALL_DATA_DIR chooses another place, and --ephemeral none";

impl StoreError {
    /// Whether there is no room on its disk.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Database(error) => owed::is_full(error),
            Self::Payload(error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}

/// The queue on disk.
#[derive(Debug)]
pub(super) struct Store {
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    files: Files,
    /// Held as long as the queue is open.
    _lock: Option<File>,
}

/// What the queue held when it was opened.
#[derive(Debug)]
pub(super) struct Contents {
    /// Jobs that have not ended.
    pub(super) open: Vec<Record>,
    /// How many of each status there are.
    pub(super) counts: [u64; 6],
    pub(super) last_seq: i64,
    pub(super) payload_bytes: u64,
    /// Ids of jobs whose webhook has not been called.
    pub(super) webhooks_due: Vec<String>,
}

impl Store {
    /// Opens the queue. Takes as long as reading what it holds.
    pub(super) fn open(config: &LocalConfig) -> Result<(Self, Contents), StoreError> {
        let directory = config.data_directory.join("queue");
        let opening = |source| StoreError::Open { directory: directory.clone(), source };
        let (lock, files, file) = if config.ephemeral {
            (None, Files::in_memory(), None)
        } else {
            let unusable = |source| StoreError::Directory { directory: directory.clone(), source };
            let files = Files::open(directory.join("payloads")).map_err(unusable)?;
            (Some(lock(&directory)?), files, Some(directory.join("jobs.db")))
        };
        let connection = schema::open(file.as_deref(), config.sync).map_err(opening)?;
        let contents = reads::contents(&connection).map_err(SchemaError::from).map_err(opening)?;
        let owners = payload_owners(&connection).map_err(SchemaError::from).map_err(opening)?;
        files.remove_strays(&owners)?;
        let (commands, received) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("queue".to_owned())
            .spawn(move || writer::run(connection, &received, file.as_deref()))?;
        Ok((Self { commands, thread: Mutex::new(Some(thread)), files, _lock: lock }, contents))
    }

    /// Files of payloads.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Sends a change that nobody waits for.
    pub(super) fn send(&self, change: Change) {
        let _ = self.commands.send(Command::Change(change, None));
    }

    /// Sends a change at once; the future ends when it is written.
    pub(super) fn write(&self, change: Change) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let (done, written) = oneshot::channel();
        let _ = self.commands.send(Command::Change(change, Some(done)));
        async move { written.await.unwrap_or(Err(StoreError::Closed)) }
    }

    /// Has the database's thread read something.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let read = move |connection: &Connection| drop(answer.send(read(connection)));
        let _ = self.commands.send(Command::Read(Box::new(read)));
        Ok(answered.await.map_err(|_| StoreError::Closed)??)
    }

    /// Writes what was sent and closes the database.
    pub(super) async fn close(&self) {
        let _ = self.commands.send(Command::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let unusable = |source| StoreError::Directory { directory: directory.to_owned(), source };
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(directory.join("lock"))
        .map_err(unusable)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| StoreError::InUse(directory.to_owned()))?;
    Ok(file)
}

/// Ids of all jobs that have payloads in files.
fn payload_owners(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut statement = connection.prepare(
        "SELECT id FROM jobs WHERE (input IS NULL AND input_bytes > 0) OR (output IS NULL AND output_bytes > 0)
         OR (events IS NULL AND events_bytes > 0)",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}
