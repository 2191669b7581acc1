//! The supervisor's end of the channel to a runner.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use bytes::{Buf, Bytes, BytesMut};
use farcall_protocol::codec::{self, CodecError, PRELUDE_BYTES, Prelude};
use farcall_protocol::frame::{FromRunner, ToRunner};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::WriteHalf;

/// Room asked for at least before each read.
const READ_AHEAD: usize = 4096;

/// Frames to and from one runner.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    received: BytesMut,
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
        Ok(Self { stream: UnixStream::from_std(stream)?, received: BytesMut::new(), left_unread: false })
    }

    /// Sends a message without a body that fits the socket's buffer.
    pub(super) fn send_now(&mut self, message: &ToRunner) -> io::Result<()> {
        let head = codec::encode_head(message, 0).map_err(io::Error::other)?;
        // A fresh socket is writable, but tokio has not seen that yet and would make us wait for it.
        let sent = rustix::io::write(&self.stream, &head)?;
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
            let send = || Ok(send_with_descriptors(&self.stream, &head, descriptors)?);
            match self.stream.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                result => break self.note(result)?,
            }
        };
        let written = self.stream.write_all_buf(&mut Buf::chain(&head[sent..], body)).await;
        Ok(self.note(written)?)
    }

    /// Sends a message and its body.
    pub(super) async fn send(&mut self, message: &ToRunner, body: &[u8]) -> Result<(), ChannelError> {
        let head = codec::encode_head(message, body.len())?;
        let written = self.stream.write_all_buf(&mut Buf::chain(head.as_slice(), body)).await;
        Ok(self.note(written)?)
    }

    /// The next message and its body. Cancel-safe: what has arrived so far stays in the channel.
    pub(super) async fn receive(&mut self) -> Result<(FromRunner, Vec<u8>), ChannelError> {
        loop {
            let missing = match self.take_frame()? {
                Frame::Complete(message, body) => return Ok((message, body)),
                Frame::Missing(bytes) => bytes,
            };
            self.received.reserve(missing.max(READ_AHEAD));
            let read = self.stream.read_buf(&mut self.received).await;
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
            let missing = match self.take_frame()? {
                Frame::Complete(message, body) => return Ok((message, body)),
                Frame::Missing(bytes) => bytes,
            };
            self.received.reserve(missing.max(READ_AHEAD));
            while outgoing.front().is_some_and(Bytes::is_empty) {
                outgoing.pop_front();
            }
            let (mut reader, mut writer) = self.stream.split();
            let result = tokio::select! {
                read = reader.read_buf(&mut self.received) => read.map(|length| length == 0),
                written = write_front(&mut writer, outgoing) => written.map(|()| false),
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
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
    }

    /// Remembers what an error tells: the system reports a reset where the other side's unread data was lost.
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};

        result.inspect_err(|error| self.left_unread |= matches!(error.kind(), BrokenPipe | ConnectionReset))
    }

    fn take_frame(&mut self) -> Result<Frame, CodecError> {
        let Some(prelude) = self.received.first_chunk::<PRELUDE_BYTES>() else {
            return Ok(Frame::Missing(PRELUDE_BYTES));
        };
        let prelude = Prelude::decode(*prelude)?;
        let length = PRELUDE_BYTES + prelude.header + prelude.body;
        if self.received.len() < length {
            return Ok(Frame::Missing(length - self.received.len()));
        }
        let mut frame = self.received.split_to(length);
        frame.advance(PRELUDE_BYTES);
        let message = codec::decode_header(&frame.split_to(prelude.header))?;
        Ok(Frame::Complete(message, frame.into()))
    }
}

async fn write_front(writer: &mut WriteHalf<'_>, outgoing: &mut VecDeque<Bytes>) -> io::Result<()> {
    match outgoing.front_mut() {
        Some(bytes) => writer.write_buf(bytes).await.map(drop),
        None => std::future::pending().await,
    }
}

fn send_with_descriptors(
    socket: &UnixStream,
    head: &[u8],
    descriptors: &[&OwnedFd],
) -> rustix::io::Result<usize> {
    let descriptors: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    debug_assert!(fits, "at most two descriptors are sent");
    sendmsg(socket, &[IoSlice::new(head)], &mut ancillary, SendFlags::NOSIGNAL)
}

enum Frame {
    Complete(FromRunner, Vec<u8>),
    Missing(usize),
}
