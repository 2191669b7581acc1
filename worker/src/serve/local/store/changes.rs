//! What happens to jobs, as the database is told.

use rusqlite::{Connection, params};

use super::super::files::Stored;
use super::super::job::{Record, Status};

/// One change. They are applied in the order they are sent.
#[derive(Debug)]
pub(in crate::serve::local) enum Change {
    /// A job has come.
    Add { record: Box<Record>, input: Stored },
    /// It begins, for this time.
    Start { seq: i64, started_ms: i64, attempts: u32 },
    /// It waits again, from the beginning.
    Requeue { seq: i64, attempts: u32 },
    /// It has ended.
    Finish(Box<Finish>),
    /// What a job had to say that was ended from outside before.
    Amend { seq: i64, output: Option<Stored>, events: Option<Stored> },
    /// These are cancelled while they wait.
    Purge { seqs: Vec<i64>, finished_ms: i64, expires_ms: i64 },
    /// Its webhook has been called, or given up.
    Called { id: String },
    /// Nothing: whoever waits for it learns that all before is written.
    Nothing,
}

/// The end of a job.
#[derive(Debug)]
pub(in crate::serve::local) struct Finish {
    pub(in crate::serve::local) seq: i64,
    pub(in crate::serve::local) status: Status,
    pub(in crate::serve::local) finished_ms: i64,
    pub(in crate::serve::local) expires_ms: i64,
    pub(in crate::serve::local) error: Option<String>,
    pub(in crate::serve::local) output: Option<Stored>,
    pub(in crate::serve::local) events: Option<Stored>,
}

impl Change {
    pub(super) fn apply(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Add { record, input } => add(connection, record, input),
            Self::Start { seq, started_ms, attempts } => run(
                connection,
                "UPDATE jobs SET status = 1, started_ms = ?2, attempts = ?3 WHERE seq = ?1",
                params![seq, started_ms, attempts],
            ),
            Self::Requeue { seq, attempts } => run(
                connection,
                "UPDATE jobs SET status = 0, started_ms = NULL, attempts = ?2 WHERE seq = ?1 AND status = 1",
                params![seq, attempts],
            ),
            Self::Finish(finish) => finish.apply(connection),
            Self::Amend { seq, output, events } => run(
                connection,
                "UPDATE jobs SET output = ?2, output_bytes = ?3, events = ?4, events_bytes = ?5 WHERE seq = ?1",
                params![
                    seq,
                    inline(output.as_ref()),
                    length(output.as_ref()),
                    inline(events.as_ref()),
                    length(events.as_ref())
                ],
            ),
            Self::Purge { seqs, finished_ms, expires_ms } => seqs.iter().try_for_each(|seq| {
                run(
                    connection,
                    "UPDATE jobs SET status = 4, finished_ms = ?2, expires_ms = ?3, error = ?4,
                     webhook_due = webhook IS NOT NULL WHERE seq = ?1 AND status = 0",
                    params![seq, finished_ms, expires_ms, PURGED],
                )
            }),
            Self::Called { id } => {
                run(connection, "UPDATE jobs SET webhook_due = 0 WHERE id = ?1", params![id])
            }
            Self::Nothing => Ok(()),
        }
    }
}

/// What purged jobs say.
pub(in crate::serve::local) const PURGED: &str = "the queue was purged";

impl Finish {
    fn apply(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Self { seq, status, finished_ms, expires_ms, error, output, events } = self;
        let (output, events) = (output.as_ref(), events.as_ref());
        // A job ends once: the first end stays.
        run(
            connection,
            "UPDATE jobs SET status = ?2, finished_ms = ?3, expires_ms = ?4, error = ?5, output = ?6,
             output_bytes = ?7, events = ?8, events_bytes = ?9, webhook_due = webhook IS NOT NULL
             WHERE seq = ?1 AND status < 2",
            params![
                seq,
                *status as i64,
                finished_ms,
                expires_ms,
                error,
                inline(output),
                length(output),
                inline(events),
                length(events)
            ],
        )
    }
}

fn add(connection: &Connection, record: &Record, input: &Stored) -> rusqlite::Result<()> {
    run(
        connection,
        "INSERT INTO jobs (seq, id, name, status, low_priority, is_sync, created_ms, queued_ms, ttl_ms, timeout_ms,
         webhook, input_bytes, input) VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            record.seq,
            record.id,
            record.name,
            record.low_priority,
            record.is_sync,
            record.created_ms,
            record.queued_ms,
            record.ttl_ms,
            record.timeout_ms,
            record.webhook,
            length(Some(input)),
            input.inline()
        ],
    )
}

fn run(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(parameters).map(drop)
}

fn inline(stored: Option<&Stored>) -> Option<&[u8]> {
    stored.and_then(Stored::inline)
}

fn length(stored: Option<&Stored>) -> i64 {
    i64::try_from(stored.map_or(0, Stored::len)).unwrap_or(i64::MAX)
}
