//! The runner's end of the channel: blocking frames, and a watch on the supervisor's life.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use farcall_protocol::codec::{self, CodecError, PRELUDE_BYTES, Prelude};
use farcall_protocol::frame::{FromRunner, ToRunner};
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Signal, getpgrp, kill_process_group};

/// Descriptors below this are left to user code, which may expect small ones to be its own.
pub(crate) const LOWEST_PRIVATE_DESCRIPTOR: i32 = 100;

/// The connection to the supervisor.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
}

impl Channel {
    /// Takes the channel from standard input, where the supervisor put it, and leaves `/dev/null` there.
    pub(crate) fn take_standard_input() -> io::Result<Self> {
        let stream = fcntl_dupfd_cloexec(rustix::stdio::stdin(), LOWEST_PRIVATE_DESCRIPTOR)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        Ok(Self { stream: stream.into() })
    }

    /// Ends this process and its group as soon as the supervisor is gone, whatever user code is doing: the
    /// thread never takes the GIL. A supervisor that only closes its sending side does not trigger it.
    pub(crate) fn watch_for_orphanhood(&self) -> io::Result<()> {
        let stream = self.stream.try_clone()?;
        let watch = move || {
            loop {
                let mut hangup = [PollFd::new(&stream, PollFlags::empty())];
                if poll(&mut hangup, None).is_ok() && hangup[0].revents().intersects(PollFlags::HUP) {
                    // The group holds what user code started, too. It includes this process.
                    let _ = kill_process_group(getpgrp(), Signal::KILL);
                }
            }
        };
        thread::Builder::new().name("farcall-orphan".to_owned()).stack_size(64 << 10).spawn(watch)?;
        Ok(())
    }

    /// The next message, or `None` when the supervisor has closed its side.
    pub(crate) fn receive(&mut self, py: Python<'_>) -> io::Result<Option<(ToRunner, Vec<u8>)>> {
        py.detach(|| self.read_frame())
    }

    /// Sends a message and its body.
    pub(crate) fn send(&mut self, py: Python<'_>, header: &FromRunner, body: &[u8]) -> io::Result<()> {
        let head = codec::encode_head(header, body.len()).map_err(invalid_data)?;
        py.detach(|| self.write_frame(&head, body))
    }

    fn read_frame(&mut self) -> io::Result<Option<(ToRunner, Vec<u8>)>> {
        let mut prelude = [0; PRELUDE_BYTES];
        match self.stream.read_exact(&mut prelude) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        let prelude = Prelude::decode(prelude).map_err(invalid_data)?;
        let header = codec::decode_header(&self.read_bytes(prelude.header)?).map_err(invalid_data)?;
        let body = self.read_bytes(prelude.body)?;
        Ok(Some((header, body)))
    }

    /// Reads exactly `length` bytes without zeroing the buffer first.
    fn read_bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        let read = (&mut self.stream).take(length as u64).read_to_end(&mut bytes)?;
        if read == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn write_frame(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        if body.len() < 4096 {
            return self.stream.write_all(&[head, body].concat());
        }
        self.stream.write_all(head)?;
        self.stream.write_all(body)
    }
}

fn invalid_data(error: CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
