//! The thread that owns the database.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tracing::warn;

use super::owed::Owed;
use super::{Change, StoreError, schema};

/// How long changes may wait that nobody waits for.
const LINGER: Duration = Duration::from_millis(3);

/// Changes in one transaction: beyond it the first of them would wait too long.
const MOST_AT_ONCE: usize = 1000;

/// How often what is in the log goes to the disk, and from there into the database.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);

/// Pages of 4 KiB in the log, until writing stops for a checkpoint: one beside it cannot keep up.
const MOST_LOG_PAGES: i64 = 64 << 8;

/// What the thread is asked for.
pub(super) enum Command {
    /// To write; and to tell, if anybody waits for it.
    Change(Change, Option<Done>),
    /// To read, after all that was sent before is written.
    Read(Box<dyn FnOnce(&Connection) + Send>),
    /// To end.
    Close,
}

type Done = oneshot::Sender<Result<(), StoreError>>;

/// Changes to be written together.
#[derive(Default)]
struct Batch {
    changes: Vec<(Change, Option<Done>)>,
    is_waited_for: bool,
}

/// Works until it is told to end, or nobody is left to tell it.
pub(super) fn run(mut connection: Connection, commands: &Receiver<Command>, file: Option<&Path>) {
    let (tick, ticks) = std::sync::mpsc::sync_channel(1);
    let checkpoints = file.map(Path::to_owned).map(|file| {
        std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || make_checkpoints(&file, &ticks))
    });
    let (mut batch, mut owed) = (Batch::default(), Owed::default());
    while let Ok(command) = owed.next_command(commands, &mut connection) {
        let mut next = Some(command);
        let linger_until = Instant::now() + LINGER;
        let mut is_closed = false;
        while let Some(command) = next {
            match command {
                Command::Change(change, done) => batch.add(change, done),
                Command::Read(read) => {
                    batch.commit(&mut connection, &mut owed);
                    read(&connection);
                }
                Command::Close => {
                    is_closed = true;
                    break;
                }
            }
            next = batch.take_next(commands, linger_until);
        }
        batch.commit(&mut connection, &mut owed);
        if is_closed {
            break;
        }
        let _ = tick.try_send(());
    }
    drop(tick);
    if let Some(Ok(thread)) = checkpoints {
        let _ = thread.join();
    }
    let _ = connection.close(); // the last connection empties the log
}

impl Batch {
    fn add(&mut self, change: Change, done: Option<Done>) {
        self.is_waited_for |= done.is_some();
        self.changes.push((change, done));
    }

    /// What else goes into the same transaction.
    fn take_next(&self, commands: &Receiver<Command>, linger_until: Instant) -> Option<Command> {
        if self.changes.len() >= MOST_AT_ONCE {
            return None;
        }
        if self.is_waited_for || self.changes.is_empty() {
            return commands.try_recv().ok();
        }
        commands.recv_timeout(linger_until.saturating_duration_since(Instant::now())).ok()
    }

    fn commit(&mut self, connection: &mut Connection, owed: &mut Owed) {
        let changes = std::mem::take(&mut self.changes);
        self.is_waited_for = false;
        if changes.is_empty() {
            return;
        }
        owed.pay(connection);
        if owed.is_empty() {
            let Err(failure) = apply(connection, changes.iter().map(|(change, _)| change)) else {
                changes.into_iter().filter_map(|(_, done)| done).for_each(|done| drop(done.send(Ok(()))));
                return;
            };
            warn!(error = %failure, changes = changes.len(), "a transaction failed: its changes are tried one by one");
        }
        for (change, done) in changes {
            let result = owed.apply(connection, change, done.is_some());
            if let Some(done) = done {
                let _ = done.send(result.map_err(StoreError::from));
            }
        }
    }
}

pub(super) fn apply<'a>(
    connection: &mut Connection,
    changes: impl Iterator<Item = &'a Change>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for change in changes {
        change.apply(&transaction)?;
    }
    transaction.commit()
}

/// Takes what is in the log to the disk and into the database, while the other thread goes on writing.
fn make_checkpoints(file: &Path, ticks: &Receiver<()>) {
    let Ok(connection) = schema::open_again(file) else { return };
    while ticks.recv().is_ok() {
        let due = Instant::now() + CHECKPOINT_PAUSE;
        loop {
            match ticks.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        let checkpoint = |mode: &str| {
            connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(1))
        };
        let pages = checkpoint("PASSIVE").unwrap_or_else(|error| {
            warn!(%error, "no checkpoint could be made");
            0
        });
        if pages > MOST_LOG_PAGES {
            let _ = checkpoint("TRUNCATE");
        }
    }
}
