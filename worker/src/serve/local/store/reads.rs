//! What is read from the database.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::super::job::{Record, Status};
use super::{Contents, Store, StoreError};

/// The columns of a [`Record`].
const COLUMNS: &str =
    "seq, id, name, status, low_priority, is_sync, attempts, retries, created_ms, queued_ms, started_ms,
    finished_ms, ttl_ms, timeout_ms, webhook, input_bytes, error";

/// Rows that one transaction removes: others wait meanwhile.
const MOST_REMOVED: i64 = 500;

/// Jobs that a search sorts: sorting more takes longer than looking at the latest.
const MOST_SORTED: i64 = 1000;

/// Which jobs to list, the latest first.
#[derive(Debug, Clone, Default)]
pub(in crate::serve::local) struct Filter {
    pub(in crate::serve::local) status: Option<Status>,
    /// What their ids or names begin with.
    pub(in crate::serve::local) search: Option<String>,
    /// Those that came before this one.
    pub(in crate::serve::local) before: Option<i64>,
    pub(in crate::serve::local) limit: i64,
}

/// A payload as the row has it: bytes, nothing, or a file of some length.
#[derive(Debug, Clone)]
pub(in crate::serve::local) enum Payload {
    Inline(Bytes),
    File,
    Missing,
}

/// A job's payloads.
#[derive(Debug)]
pub(in crate::serve::local) struct Payloads {
    pub(in crate::serve::local) input: Payload,
    pub(in crate::serve::local) output: Payload,
    pub(in crate::serve::local) events: Payload,
}

/// What has been removed.
#[derive(Debug)]
pub(in crate::serve::local) struct Removed {
    /// Ids, and whether a payload lies in a file.
    pub(in crate::serve::local) jobs: Vec<(String, bool)>,
    pub(in crate::serve::local) bytes: u64,
    pub(in crate::serve::local) by_status: [u64; 6],
}

impl Store {
    /// A job, if it is known.
    pub(in crate::serve::local) async fn find(
        &self,
        id: &str,
    ) -> Result<Option<(Record, Payloads)>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS}, output_bytes, events_bytes, input, output, events FROM jobs WHERE id = ?1"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            statement
                .query_row([id], |row| {
                    let input = payload(row, "input", "input_bytes")?;
                    let output = payload(row, "output", "output_bytes")?;
                    let events = payload(row, "events", "events_bytes")?;
                    Ok((record(row)?, Payloads { input, output, events }))
                })
                .optional()
        })
        .await
    }

    /// Jobs, the latest first.
    pub(in crate::serve::local) async fn list(&self, filter: Filter) -> Result<Vec<Record>, StoreError> {
        self.read(move |connection| {
            let mut conditions = vec!["1".to_owned()];
            let mut values: Vec<Value> = Vec::new();
            if let Some(before) = filter.before {
                values.push(before.into());
                conditions.push(format!("seq < ?{}", values.len()));
            }
            if let Some(status) = filter.status {
                values.push((status as i64).into());
                conditions.push(format!("status = ?{}", values.len()));
            }
            if let Some(search) = filter.search {
                let beyond = format!("{search}\u{10ffff}");
                // Few are found by the indexes of ids and names, then sorted; many, by walking from the latest.
                let plus = if is_common(connection, &search, &beyond)? { "+" } else { "" };
                values.extend([search.into(), beyond.into()]);
                let (from, to) = (values.len() - 1, values.len());
                conditions.push(format!(
                    "(({plus}id >= ?{from} AND {plus}id < ?{to}) OR ({plus}name >= ?{from} AND {plus}name < ?{to}))"
                ));
            }
            values.push(filter.limit.into());
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs WHERE {} ORDER BY seq DESC LIMIT ?{}",
                conditions.join(" AND "),
                values.len()
            );
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_map(params_from_iter(values), record)?.collect()
        })
        .await
    }

    /// Has a job wait again that has ended, unless it is not there any more or may not. Says whether it does.
    pub(in crate::serve::local) async fn revive(&self, seq: i64, queued_ms: i64) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE jobs SET status = 0, queued_ms = ?2, retries = retries + 1, started_ms = NULL,
                 finished_ms = NULL, expires_ms = NULL, webhook_due = 0, error = NULL, output = NULL,
                 output_bytes = 0, events = NULL, events_bytes = 0 WHERE seq = ?1 AND status >= 3",
            )?;
            Ok(statement.execute(params![seq, queued_ms])? > 0)
        })
        .await
    }

    /// Removes jobs that are kept no longer: those over their time, or simply the oldest results.
    pub(in crate::serve::local) async fn remove(&self, expired_at: i64) -> Result<Removed, StoreError> {
        self.read(move |connection| remove(connection, expired_at)).await
    }
}

/// Whether many jobs call something whose name is in this range.
fn is_common(connection: &Connection, from: &str, to: &str) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE name >= ?1 AND name < ?2 LIMIT ?3)",
    )?;
    let found: i64 = statement.query_row(params![from, to, MOST_SORTED], |row| row.get(0))?;
    Ok(found == MOST_SORTED)
}

fn remove(connection: &Connection, expired_at: i64) -> rusqlite::Result<Removed> {
    let mut removed = Removed { jobs: Vec::new(), bytes: 0, by_status: [0; 6] };
    let transaction = connection.unchecked_transaction()?;
    {
        let mut statement = transaction.prepare_cached(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)
             RETURNING id, input_bytes + output_bytes + events_bytes, max(input_bytes, output_bytes, events_bytes), status",
        )?;
        let mut rows = statement.query(params![expired_at, MOST_REMOVED])?;
        while let Some(row) = rows.next()? {
            let largest: i64 = row.get(2)?;
            let is_in_file = largest > i64::try_from(super::super::files::LARGEST_INLINE).unwrap_or(0);
            removed.jobs.push((row.get(0)?, is_in_file));
            removed.bytes += row.get::<_, i64>(1)?.cast_unsigned();
            removed.by_status[Status::of_number(row.get(3)?) as usize] += 1;
        }
    }
    transaction.commit()?;
    Ok(removed)
}

/// What the database holds.
pub(super) fn contents(connection: &Connection) -> rusqlite::Result<Contents> {
    let mut counts = [0; 6];
    let mut statement = connection.prepare("SELECT status, count(*) FROM jobs GROUP BY status")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        counts[Status::of_number(row.get(0)?) as usize] += row.get::<_, i64>(1)?.cast_unsigned();
    }
    let open = format!("SELECT {COLUMNS} FROM jobs WHERE status < 2");
    let open = connection.prepare(&open)?.query_map([], record)?.collect::<Result<_, _>>()?;
    let (last_seq, payload_bytes) = connection.query_row(
        "SELECT coalesce(max(seq), 0), coalesce(sum(input_bytes + output_bytes + events_bytes), 0) FROM jobs",
        [],
        |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())),
    )?;
    let mut statement = connection.prepare("SELECT id FROM jobs WHERE webhook_due = 1 ORDER BY seq")?;
    let webhooks_due = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Contents { open, counts, last_seq, payload_bytes, webhooks_due })
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        seq: row.get("seq")?,
        id: row.get("id")?,
        name: row.get("name")?,
        status: Status::of_number(row.get("status")?),
        low_priority: row.get("low_priority")?,
        is_sync: row.get("is_sync")?,
        attempts: row.get("attempts")?,
        retries: row.get("retries")?,
        created_ms: row.get("created_ms")?,
        queued_ms: row.get("queued_ms")?,
        started_ms: row.get("started_ms")?,
        finished_ms: row.get("finished_ms")?,
        ttl_ms: row.get("ttl_ms")?,
        timeout_ms: row.get("timeout_ms")?,
        webhook: row.get("webhook")?,
        input_bytes: row.get("input_bytes")?,
        error: row.get("error")?,
    })
}

fn payload(row: &Row<'_>, column: &str, bytes: &str) -> rusqlite::Result<Payload> {
    Ok(match row.get::<_, Option<Vec<u8>>>(column)? {
        Some(payload) => Payload::Inline(payload.into()),
        None if row.get::<_, i64>(bytes)? > 0 => Payload::File,
        None => Payload::Missing,
    })
}

impl Removed {
    /// Whether there may be no more to remove.
    pub(in crate::serve::local) fn is_last(&self) -> bool {
        i64::try_from(self.jobs.len()).unwrap_or(i64::MAX) < MOST_REMOVED
    }
}
