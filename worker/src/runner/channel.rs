//! The supervisor's end of the channel to a runner.
//!
//! The runtime watches the socket for reading only. Watched for writing as well, it would wake the supervisor
//! whenever the runner takes a message in, for nothing, once a call. What does not fit the socket's buffer is
//! waited for with a registration of its own.

mod incoming;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use bytes::{Buf, Bytes};
use farcall_protocol::codec::{self, CodecError};
use farcall_protocol::frame::{FromRunner, ToRunner};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::net::unix::pipe::{Receiver, Sender};

use incoming::Incoming;

/// Frames to and from one runner.
#[derive(Debug)]
pub(super) struct Channel {
    /// Of tokio's types, the one that reads a descriptor and asks for nothing else. It is no pipe, but reading
    /// is the same.
    socket: Receiver,
    incoming: Incoming,
    left_unread: bool,
}

/// Why the channel cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error("the runner closed the channel")]
    Closed,
    #[error("the channel failed")]
    Io(#[from] io::Error),
    #[error("the runner sent something that is no frame")]
    Codec(#[from] CodecError),
}

impl Channel {
    pub(super) fn new(stream: StdUnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let socket = Receiver::from_owned_fd_unchecked(stream.into())?;
        Ok(Self { socket, incoming: Incoming::default(), left_unread: false })
    }

    /// Sends a message without a body that fits the socket's buffer, and descriptors that come with it.
    pub(super) fn send_now(&mut self, message: &ToRunner, descriptors: &[&OwnedFd]) -> io::Result<()> {
        let head = codec::encode_head(message, 0).map_err(io::Error::other)?;
        let sent = send_with_descriptors(self.socket.as_fd(), &head, descriptors)?;
        if sent == head.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Whether the runner has gone without reading all that was sent to it.
    pub(super) fn left_unread(&self) -> bool {
        self.left_unread
    }

    /// Sends a message, its body, and descriptors that come with it.
    pub(super) async fn send_with(
        &mut self,
        message: &ToRunner,
        body: &[u8],
        descriptors: &[&OwnedFd],
    ) -> Result<(), ChannelError> {
        let head = codec::encode_head(message, body.len())?;
        let sent = loop {
            match send_with_descriptors(self.socket.as_fd(), &head, descriptors) {
                Err(Errno::AGAIN) => writable(self.socket.as_fd()).await?,
                result => break self.note(result.map_err(io::Error::from))?,
            }
        };
        let written = write_all(self.socket.as_fd(), Buf::chain(&head[sent..], body)).await;
        Ok(self.note(written)?)
    }

    /// Sends a message and its body.
    pub(super) async fn send(&mut self, message: &ToRunner, body: &[u8]) -> Result<(), ChannelError> {
        let head = codec::encode_head(message, body.len())?;
        let written = write_all(self.socket.as_fd(), Buf::chain(head.as_slice(), body)).await;
        Ok(self.note(written)?)
    }

    /// The next message and its body. Cancel-safe: what has arrived so far stays in the channel.
    pub(super) async fn receive(&mut self) -> Result<(FromRunner, Vec<u8>), ChannelError> {
        loop {
            if let Some(message) = self.incoming.take()? {
                return Ok(message);
            }
            let read = self.incoming.read(&self.socket).await;
            if self.note(read)? == 0 {
                return Err(ChannelError::Closed);
            }
        }
    }

    /// The next message and its body; sends what is in `outgoing` meanwhile. Cancel-safe.
    pub(super) async fn exchange(
        &mut self,
        outgoing: &mut VecDeque<Bytes>,
    ) -> Result<(FromRunner, Vec<u8>), ChannelError> {
        loop {
            if let Some(message) = self.incoming.take()? {
                return Ok(message);
            }
            while outgoing.front().is_some_and(Bytes::is_empty) {
                outgoing.pop_front();
            }
            let result = tokio::select! {
                read = self.incoming.read(&self.socket) => read.map(|length| length == 0),
                written = write_front(self.socket.as_fd(), outgoing) => written.map(|()| false),
            };
            if self.note(result)? {
                return Err(ChannelError::Closed);
            }
        }
    }

    /// A message that has arrived already, if there is one: for a runner that has ended.
    pub(super) async fn receive_waiting(&mut self) -> Option<(FromRunner, Vec<u8>)> {
        // The peer is closed, so this ends with a frame or the end of the stream; unless a grandchild holds
        // the socket, for which the wait is bounded.
        let wait = std::time::Duration::from_millis(20);
        tokio::time::timeout(wait, self.receive()).await.ok()?.ok()
    }

    /// Tells the runner that nothing more will come.
    pub(super) fn close(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Remembers what an error tells: the system reports a reset where the other side's unread data was lost.
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};

        result.inspect_err(|error| self.left_unread |= matches!(error.kind(), BrokenPipe | ConnectionReset))
    }
}

/// Writes something of the first piece. Cancel-safe: what was written is gone from it.
async fn write_front(socket: BorrowedFd<'_>, outgoing: &mut VecDeque<Bytes>) -> io::Result<()> {
    let Some(bytes) = outgoing.front_mut() else { return std::future::pending().await };
    write_some(socket, bytes).await
}

async fn write_all(socket: BorrowedFd<'_>, mut bytes: impl Buf) -> io::Result<()> {
    while bytes.has_remaining() {
        write_some(socket, &mut bytes).await?;
    }
    Ok(())
}

async fn write_some(socket: BorrowedFd<'_>, bytes: &mut impl Buf) -> io::Result<()> {
    loop {
        let mut parts = [IoSlice::new(&[]); 2];
        let count = bytes.chunks_vectored(&mut parts);
        match rustix::io::writev(socket, &parts[..count]) {
            Ok(written) => {
                bytes.advance(written);
                return Ok(());
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => writable(socket).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the socket's buffer has room.
async fn writable(socket: BorrowedFd<'_>) -> io::Result<()> {
    Sender::from_owned_fd_unchecked(socket.try_clone_to_owned()?)?.writable().await
}

fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    head: &[u8],
    descriptors: &[&OwnedFd],
) -> rustix::io::Result<usize> {
    let descriptors: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = descriptors.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    debug_assert!(fits, "at most two descriptors are sent");
    sendmsg(socket, &[IoSlice::new(head)], &mut ancillary, SendFlags::NOSIGNAL)
}
