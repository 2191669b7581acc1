//! Bytes of a channel on their way to becoming messages. What has arrived is kept, however often whoever waits
//! for more gives up.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use farcall_protocol::codec::{self, CodecError, PRELUDE_BYTES, Prelude};
use farcall_protocol::frame::FromRunner;
use tokio::net::unix::pipe::Receiver;

/// Room asked for at least before each read.
const READ_AHEAD: usize = 4096;

/// Bodies from this size on are read to where they stay, without being copied from the buffer. In bytes.
const LARGE_BODY: usize = 64 << 10;

/// What has arrived and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    buffer: BytesMut,
    /// Bytes that the next message is known to lack.
    missing: usize,
    /// The message that is arriving, if its body is large.
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    message: FromRunner,
    body: Vec<u8>,
    length: usize,
}

impl Incoming {
    /// The next message and its body, if all of it is there.
    pub(super) fn take(&mut self) -> Result<Option<(FromRunner, Vec<u8>)>, CodecError> {
        if self.large.is_some() {
            let whole = self.large.take_if(|large| large.body.len() == large.length);
            return Ok(whole.map(|large| (large.message, large.body)));
        }
        let Some(prelude) = self.buffer.first_chunk::<PRELUDE_BYTES>() else {
            self.missing = PRELUDE_BYTES - self.buffer.len();
            return Ok(None);
        };
        let Prelude { header, body: length } = Prelude::decode(*prelude)?;
        let head = PRELUDE_BYTES + header;
        // Of a large one the head will do: its body is not to go through the buffer.
        let wanted = if length < LARGE_BODY { head + length } else { head };
        self.missing = wanted.saturating_sub(self.buffer.len());
        if self.missing > 0 {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to((head + length).min(self.buffer.len()));
        frame.advance(PRELUDE_BYTES);
        let message = codec::decode_header(&frame.split_to(header))?;
        if frame.len() == length {
            return Ok(Some((message, frame.into())));
        }
        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(&frame);
        self.large = Some(Large { message, body, length });
        Ok(None)
    }

    /// Waits for bytes and takes some in. Returns how many: none at the end. Cancel-safe.
    pub(super) async fn read(&mut self, socket: &Receiver) -> io::Result<usize> {
        loop {
            socket.readable().await?;
            let read = match &mut self.large {
                Some(Large { body, length, .. }) => {
                    let missing = *length - body.len();
                    socket.try_read_buf(&mut body.limit(missing))
                }
                None => {
                    self.buffer.reserve(self.missing.max(READ_AHEAD));
                    socket.try_read_buf(&mut self.buffer)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}
