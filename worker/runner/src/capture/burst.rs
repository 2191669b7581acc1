//! Output on its way to a descriptor: written through, or gathered while it comes in bursts.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use farcall_protocol::frame::FromRunner;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::channel::Sender;

/// How long gathered output may wait: well under what a person notices, and under the 100 ms promised for
/// live output.
pub(super) const PROMPT: Duration = Duration::from_millis(2);

/// Writes in a row that still go straight through. A person's prints never come near it, so their order
/// against C's and subprocesses' output is exact.
const WRITTEN_THROUGH: u32 = 64;

/// A pause that ends a row of writes.
const PAUSE: Duration = Duration::from_millis(1);

/// Gathered bytes that are written without waiting: a pipe's default capacity.
const FULL: usize = 64 << 10;

/// Where output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A descriptor of this process: 1 or 2.
    Descriptor(i32),
    /// The supervisor, labelled with the invocation that printed it.
    Invocation(u64),
}

/// The output state shared by both streams and the thread that hands on what was gathered.
#[derive(Debug)]
pub(super) struct Burst {
    state: Mutex<State>,
    gathered: Condvar,
    sender: Sender,
}

#[derive(Debug)]
struct State {
    buffer: Vec<u8>,
    target: Target,
    row: u32,
    last: Instant,
    has_thread: bool,
}

impl Burst {
    pub(super) fn new(sender: Sender) -> Arc<Self> {
        let state = State {
            buffer: Vec::new(),
            target: Target::Descriptor(1),
            row: 0,
            last: Instant::now(),
            has_thread: false,
        };
        Arc::new(Self { state: Mutex::new(state), gathered: Condvar::new(), sender })
    }

    /// Gathers `bytes` if they are part of a burst and this needs neither waiting nor a system call; `false`
    /// leaves them to [`Burst::write_through`]. Never blocks: it is called with the GIL held.
    pub(super) fn gather(self: &Arc<Self>, target: Target, bytes: &[u8]) -> bool {
        let Ok(mut state) = self.state.try_lock() else { return false };
        let now = Instant::now();
        state.row = if now.duration_since(state.last) > PAUSE { 1 } else { state.row.saturating_add(1) };
        state.last = now;
        let fits = state.buffer.len() + bytes.len() <= FULL;
        if state.row <= WRITTEN_THROUGH || !fits || (!state.buffer.is_empty() && state.target != target) {
            return false;
        }
        if state.buffer.is_empty() {
            state.target = target;
            self.call_thread(&mut state);
        }
        state.buffer.extend_from_slice(bytes);
        true
    }

    /// Writes what was gathered, then `bytes`. Blocks while the pipe is full.
    pub(super) fn write_through(&self, target: Target, bytes: &[u8]) {
        let mut state = self.lock();
        state.write_out(&self.sender);
        target.write_all(bytes, &self.sender);
    }

    /// Writes what was gathered.
    pub(super) fn flush(&self) {
        self.lock().write_out(&self.sender);
    }

    fn call_thread(self: &Arc<Self>, state: &mut State) {
        if !state.has_thread {
            let burst = Arc::clone(self);
            let hand_on = move || burst.hand_on();
            let spawned =
                thread::Builder::new().name("farcall-output".to_owned()).stack_size(64 << 10).spawn(hand_on);
            state.has_thread = spawned.is_ok(); // without it, output waits for the next flush
        }
        self.gathered.notify_one();
    }

    fn hand_on(&self) {
        let mut state = self.lock();
        loop {
            while state.buffer.is_empty() {
                state = self.gathered.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            thread::sleep(PROMPT);
            state = self.lock();
            state.write_out(&self.sender);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write_out(&mut self, sender: &Sender) {
        if !self.buffer.is_empty() {
            self.target.write_all(&self.buffer, sender);
            self.buffer.clear();
        }
    }
}

impl Target {
    fn write_all(self, bytes: &[u8], sender: &Sender) {
        match self {
            Self::Descriptor(number) => write_descriptor(number, bytes),
            // A failure means that the supervisor is gone, and then so are we.
            Self::Invocation(id) => drop(sender.send(&FromRunner::Output { id }, bytes)),
        }
    }
}

fn write_descriptor(number: i32, mut bytes: &[u8]) {
    // SAFETY: 1 and 2 are open for the life of the runner; should user code close them, the write fails.
    #[expect(unsafe_code, reason = "user code may redirect the descriptors at any time")]
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    while !bytes.is_empty() {
        match rustix::io::write(descriptor, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => thread::sleep(PAUSE), // user code made the pipe non-blocking
            Err(_) => return,                          // closed: nobody is left to read it
        }
    }
}
