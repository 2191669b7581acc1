//! The database: its tables, and how it is opened.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::config::QueueSync;

/// The version of the tables, in `user_version`.
const VERSION: i64 = 1;

/// Payloads come last: a row's other columns are read without them.
///
/// `status` and `expires_ms` are what the queue is read by at the start, and what results go by.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status INTEGER NOT NULL,
    low_priority INTEGER NOT NULL,
    is_sync INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    queued_ms INTEGER NOT NULL,
    started_ms INTEGER,
    finished_ms INTEGER,
    expires_ms INTEGER,
    ttl_ms INTEGER NOT NULL,
    timeout_ms INTEGER,
    webhook TEXT,
    webhook_due INTEGER NOT NULL DEFAULT 0,
    input_bytes INTEGER NOT NULL,
    output_bytes INTEGER NOT NULL DEFAULT 0,
    events_bytes INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    output BLOB,
    events BLOB,
    input BLOB
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, seq);
CREATE INDEX IF NOT EXISTS jobs_by_name ON jobs (name, seq);
CREATE INDEX IF NOT EXISTS jobs_by_expiry ON jobs (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_webhook ON jobs (seq) WHERE webhook_due = 1;
";

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// We do not know what it holds.
    #[error("it was written by a later version of farcall (its tables are version {0})")]
    Later(i64),
    /// SQLite refused.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// Opens the database in a file, or one in memory, and makes its tables.
pub(super) fn open(file: Option<&Path>, sync: QueueSync) -> Result<Connection, SchemaError> {
    let connection = match file {
        Some(file) => Connection::open(file)?,
        None => Connection::open_in_memory()?,
    };
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Without FULL a commit is a write, which the process's end cannot undo. With it, it is on the disk.
    let synchronous = if sync == QueueSync::Machine { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // Checkpoints wait for the disk: another thread makes them.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        return Err(SchemaError::Later(version));
    }
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(connection)
}

/// Another connection to the same file, for checkpoints.
pub(super) fn open_again(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}
