//! What a runner prints: one pipe for descriptors 1 and 2, and what becomes of it during a call.

mod buffer;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use tokio::net::unix::pipe::Receiver;
use tracing::debug;

use super::{Event, Follower};
use crate::output_log::OutputLog;
pub use buffer::OutputBuffer;

/// Capacity asked for: fewer switches between a chatty runner and the supervisor. Unprivileged users get up
/// to 1 MiB; where it is refused, the default of 64 KiB works as well.
const PIPE_BYTES: usize = 1 << 20;

/// How long a call waits for a follower that does not read before it goes on without it.
const FOLLOWER_PATIENCE: Duration = Duration::from_secs(10);

/// How long processes that outlived their call wait after each chunk that is read from them: one that prints
/// without end must not keep the worker busy.
const ABANDONED_PAUSE: Duration = Duration::from_millis(5);

/// Chunks read before other tasks get their turn.
const CHUNKS_IN_A_ROW: usize = 8;

/// Text a follower of a shared runner's call may lag behind, in bytes.
const MOST_UNTOLD: usize = 4 << 20;

/// The reading end of a runner's output.
#[derive(Debug)]
pub(super) struct OutputPipe {
    pipe: Receiver,
    chunk: Vec<u8>,
    chunks_in_a_row: usize,
    /// The most bytes it can hold: what was written before now is within the next so many.
    capacity: usize,
}

impl OutputPipe {
    /// A pipe; the second part is the runner's end.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        let capacity = fcntl_getpipe_size(&write)?;
        Ok((
            Self {
                pipe: Receiver::from_owned_fd(read)?,
                chunk: vec![0; 64 << 10],
                chunks_in_a_row: 0,
                capacity,
            },
            write,
        ))
    }

    /// Waits for output and takes what is there. Never returns once every writer is gone. Cancel-safe: what
    /// was read is in `output` before anything is waited for.
    pub(super) async fn read_into(&mut self, output: &mut CallOutput) {
        output.deliver().await;
        let text = self.read_some().await;
        output.take(&text);
    }

    /// Takes everything that has been written, without waiting for more, and tells the follower all of it.
    pub(super) async fn drain(&mut self, output: &mut CallOutput) {
        let mut taken = 0;
        while let Some(length) = self.read_now(taken) {
            taken += length;
            output.take(&self.chunk[..length]);
            output.deliver().await;
        }
        output.deliver().await; // what was taken before, too
    }

    /// Reads what is there into the chunk: the descriptor itself, as tokio's idea of its readiness lags behind.
    /// `None` once there is nothing left of what had been written when the first `taken` bytes were read: a
    /// program that prints without end would keep us here for ever.
    fn read_now(&mut self, taken: usize) -> Option<usize> {
        if taken >= self.capacity {
            return None;
        }
        rustix::io::read(&self.pipe, &mut *self.chunk).ok().filter(|length| *length > 0)
    }

    /// Waits for output and returns what is there. Never returns once every writer is gone. Cancel-safe.
    pub(super) async fn read_some(&mut self) -> Vec<u8> {
        if self.chunks_in_a_row >= CHUNKS_IN_A_ROW {
            self.chunks_in_a_row = 0;
            // A pipe that is never empty would keep all other tasks of this thread from running.
            tokio::task::yield_now().await;
        }
        loop {
            if self.pipe.readable().await.is_err() {
                return std::future::pending().await;
            }
            match self.pipe.try_read(&mut self.chunk) {
                Ok(0) => return std::future::pending().await,
                Ok(length) => {
                    self.chunks_in_a_row += 1;
                    return self.chunk[..length].to_vec();
                }
                Err(_) => {} // a false alarm: wait again
            }
        }
    }

    /// Everything that has been written, without waiting.
    pub(super) fn take_all(&mut self) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(length) = self.read_now(taken.len()) {
            taken.extend_from_slice(&self.chunk[..length]);
        }
        taken
    }

    /// Drops what has been written since the last call ended; it belongs to no call. Returns its length.
    pub(super) fn discard(&mut self) -> usize {
        self.take_all().len()
    }

    /// Goes on reading until every writer is gone, so that none of them blocks. What they write belongs to no
    /// call.
    pub(super) fn abandon(mut self) {
        tokio::spawn(async move {
            let mut dropped = 0;
            while self.pipe.readable().await.is_ok() {
                match self.pipe.try_read(&mut self.chunk) {
                    Ok(0) => break,
                    Ok(length) => {
                        dropped += length;
                        tokio::time::sleep(ABANDONED_PAUSE).await;
                    }
                    Err(_) => {}
                }
            }
            if dropped > 0 {
                debug!(bytes = dropped, "output of processes that outlived their call dropped");
            }
        });
    }
}

/// The output of one call: kept for its answer, and told to whoever follows it.
#[derive(Debug)]
pub(super) struct CallOutput {
    buffer: OutputBuffer,
    log: Option<OutputLog>,
    follower: Option<Follower>,
    /// The beginning of a character whose end has not arrived.
    cut: Vec<u8>,
    /// Text that has not been told yet.
    untold: String,
}

impl CallOutput {
    /// Keeps `limit` bytes.
    pub(super) fn new(limit: usize, log: Option<OutputLog>, follower: Option<Follower>) -> Self {
        Self { buffer: OutputBuffer::new(limit), log, follower, cut: Vec::new(), untold: String::new() }
    }

    /// Puts text in front of the output that everybody but the answer has been told.
    pub(super) fn begin_with(&mut self, preface: &str) {
        self.buffer.push(preface.as_bytes());
    }

    /// Takes a piece of output.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
        let is_followed = self.follower.as_ref().is_some_and(|follower| follower.wants_output);
        if self.log.is_none() && !is_followed {
            return;
        }
        self.cut.extend_from_slice(bytes);
        let whole = buffer::without_cut_end(&self.cut).len();
        let text = String::from_utf8_lossy(&self.cut[..whole]).into_owned();
        self.cut.drain(..whole);
        if let Some(log) = &mut self.log {
            log.push(&text);
        }
        if is_followed {
            self.untold.push_str(&text);
        }
    }

    /// Tells the follower an event, after all the output taken so far.
    pub(super) async fn tell(&mut self, event: Event) {
        self.deliver().await;
        self.send(event).await;
    }

    /// The whole output, its middle left out if it is over the limit.
    pub(super) fn into_text(mut self) -> String {
        if let Some(log) = &mut self.log {
            log.end();
        }
        self.buffer.into_text()
    }

    /// Tells the follower what it has not been told. Cancel-safe: text stays here until there is room for it.
    async fn deliver(&mut self) {
        if self.untold.is_empty() {
            return;
        }
        let Some(follower) = self.follower.clone() else { return self.untold.clear() };
        match tokio::time::timeout(FOLLOWER_PATIENCE, follower.events.reserve()).await {
            Ok(Ok(room)) => room.send(Event::Output(std::mem::take(&mut self.untold))),
            _ => self.give_up(),
        }
    }

    async fn send(&mut self, event: Event) {
        let Some(follower) = &self.follower else { return };
        if follower.events.send_timeout(event, FOLLOWER_PATIENCE).await.is_err() {
            self.give_up();
        }
    }

    /// Tells the follower at once, or not at all: for a task that serves several calls.
    pub(super) fn tell_now(&mut self, event: Event) {
        self.deliver_now();
        let is_told = self.follower.as_ref().is_none_or(|follower| follower.events.try_send(event).is_ok());
        if !is_told {
            self.give_up();
        }
    }

    /// Tells the follower what it has not been told, if it has room. It may lag behind by so much.
    pub(super) fn deliver_now(&mut self) {
        if self.untold.is_empty() {
            return;
        }
        let follower = self.follower.clone();
        match follower.as_ref().map(|follower| follower.events.try_reserve()) {
            Some(Ok(room)) => room.send(Event::Output(std::mem::take(&mut self.untold))),
            Some(Err(_)) if self.untold.len() <= MOST_UNTOLD => {}
            _ => self.give_up(),
        }
    }

    /// The follower has gone, or has not read for so long that it must not hold up the call any longer. Its
    /// stream ends here; the answer still carries the whole output.
    fn give_up(&mut self) {
        if self.follower.take().is_some_and(|follower| !follower.events.is_closed()) {
            debug!("a follower does not read: it is told nothing more");
        }
        self.untold.clear();
    }
}
