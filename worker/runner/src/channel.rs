//! The runner's end of the channel: blocking frames, and a watch on the supervisor's life.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use farcall_protocol::codec::{self, CodecError, PRELUDE_BYTES, Prelude};
use farcall_protocol::frame::{FromRunner, ToRunner};
use farcall_reap::leftovers;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Signal, getpgrp, kill_process_group};

/// Descriptors below this are left to user code, which may expect small ones to be its own.
const LOWEST_PRIVATE_DESCRIPTOR: i32 = 100;

/// Descriptors that may come with a frame.
const MOST_DESCRIPTORS: usize = 2;

/// The watching thread only polls.
const WATCH_STACK: usize = 64 << 10;

/// The connection to the supervisor.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
    sender: Sender,
    /// A large message has come: its memory is free by now, and goes if nothing follows.
    holds_memory: bool,
}

/// The sending half, for any thread.
#[derive(Debug, Clone)]
pub(crate) struct Sender(Arc<Mutex<UnixStream>>);

/// A message with what belongs to it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) message: ToRunner,
    pub(crate) body: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// Takes the channel from standard input, where the supervisor put it, and leaves `/dev/null` there.
    pub(crate) fn take_standard_input() -> io::Result<Self> {
        let channel = Self::new(rustix::stdio::stdin())?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        Ok(channel)
    }

    fn new(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let stream = UnixStream::from(out_of_the_way(socket)?);
        let sender = Sender(Arc::new(Mutex::new(stream.try_clone()?)));
        Ok(Self { stream, sender, holds_memory: false })
    }

    /// Goes on with another socket: a forked runner has its own.
    pub(crate) fn replace(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.stream = UnixStream::from(out_of_the_way(socket)?);
        // The sender is shared with the output streams: they follow.
        *self.sender.0.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.try_clone()?;
        Ok(())
    }

    /// The sending half.
    pub(crate) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// The socket, for an event loop to watch.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Ends this process and its group as soon as the supervisor is gone, whatever user code is doing: the
    /// thread never takes the GIL. A supervisor that only closes its sending side does not trigger it.
    pub(crate) fn watch_for_orphanhood(&self, scratch: &Path) -> io::Result<()> {
        let stream = self.stream.try_clone()?;
        let scratch = scratch.to_owned();
        let watch = move || {
            loop {
                let mut hangup = [PollFd::new(&stream, PollFlags::empty())];
                if poll(&mut hangup, None).is_ok() && hangup[0].revents().intersects(PollFlags::HUP) {
                    let itself = rustix::process::getpid();
                    let others = || {
                        let mut everybody = leftovers::everybody();
                        everybody.retain(|process| *process != itself);
                        everybody
                    };
                    leftovers::kill(&scratch, others);
                    // The supervisor would have done it.
                    let _ = std::fs::remove_dir_all(&scratch);
                    // The group holds what user code started, too. It includes this process.
                    let _ = kill_process_group(getpgrp(), Signal::KILL);
                }
            }
        };
        thread::Builder::new().name("farcall-orphan".to_owned()).stack_size(WATCH_STACK).spawn(watch)?;
        Ok(())
    }

    /// Whether the supervisor is gone, and has not only closed its sending side.
    pub(crate) fn is_orphaned(&self) -> bool {
        let mut hangup = [PollFd::new(&self.stream, PollFlags::empty())];
        let now = rustix::time::Timespec::default();
        poll(&mut hangup, Some(&now)).is_ok() && hangup[0].revents().intersects(PollFlags::HUP)
    }

    /// The next message, or `None` when the supervisor has closed its side.
    pub(crate) fn receive(&mut self, py: Python<'_>) -> io::Result<Option<Frame>> {
        py.detach(|| self.read_frame())
    }

    fn read_frame(&mut self) -> io::Result<Option<Frame>> {
        if std::mem::take(&mut self.holds_memory) && self.is_quiet() {
            farcall_heap::give_back();
        }
        let mut prelude = [0; PRELUDE_BYTES];
        let mut descriptors = Vec::new();
        let mut filled = 0;
        while filled < PRELUDE_BYTES {
            match receive_some(self.stream.as_fd(), &mut prelude[filled..], &mut descriptors)? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => filled += length,
            }
        }
        let prelude = Prelude::decode(prelude).map_err(invalid_data)?;
        let message = codec::decode_header(&self.read_bytes(prelude.header)?).map_err(invalid_data)?;
        let body = self.read_bytes(prelude.body)?;
        self.holds_memory = body.len() >= farcall_heap::LARGE;
        Ok(Some(Frame { message, body, descriptors }))
    }

    /// Reads exactly `length` bytes without zeroing the buffer first.
    fn read_bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        let read = (&mut self.stream).take(length as u64).read_to_end(&mut bytes)?;
        if read == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Whether nothing comes for a while.
    fn is_quiet(&self) -> bool {
        let mut readable = [PollFd::new(&self.stream, PollFlags::IN)];
        let rest = rustix::time::Timespec::try_from(farcall_heap::REST).ok();
        poll(&mut readable, rest.as_ref()).is_ok_and(|ready| ready == 0)
    }
}

impl Sender {
    /// Sends a message and its body. Blocks while the supervisor does not read: call it without the GIL.
    pub(crate) fn send(&self, message: &FromRunner, body: &[u8]) -> io::Result<()> {
        let head = codec::encode_head(message, body.len()).map_err(invalid_data)?;
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if body.len() < 4096 {
            return stream.write_all(&[head.as_slice(), body].concat());
        }
        stream.write_all(&head)?;
        stream.write_all(body)
    }
}

/// A duplicate with a number that user code does not reckon with.
pub(crate) fn out_of_the_way(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match fcntl_dupfd_cloexec(descriptor, LOWEST_PRIVATE_DESCRIPTOR) {
        // The limit of open files is below it.
        Err(rustix::io::Errno::INVAL) => Ok(fcntl_dupfd_cloexec(descriptor, 3)?),
        duplicated => Ok(duplicated?),
    }
}

/// Reads bytes, and the descriptors that come with the first of them.
fn receive_some(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok(received.bytes)
}

fn invalid_data(error: CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
