//! Length-prefixed frames: the bytes on the channel between supervisor and runner.
//!
//! ```text
//! | header length: u32 LE | body length: u64 LE | header: JSON | body: raw bytes |
//! ```
//!
//! Pure arithmetic on buffers; reading and writing the socket is each side's own business.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the fixed part in front of every frame.
pub const PRELUDE_BYTES: usize = 12;

/// Largest header accepted, in bytes. Error texts are cut well below this before they are sent.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

/// Largest body accepted, in bytes: far over any platform's payload limit, small enough that a broken
/// length cannot exhaust memory.
pub const MAX_BODY_BYTES: u64 = 4 << 30;

/// The lengths in front of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prelude {
    /// Length of the header in bytes.
    pub header: usize,
    /// Length of the body in bytes.
    pub body: usize,
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The header's length is over [`MAX_HEADER_BYTES`].
    #[error("frame header of {0} bytes is over the limit of {MAX_HEADER_BYTES}")]
    HeaderTooLarge(usize),
    /// The body's length is over [`MAX_BODY_BYTES`].
    #[error("frame body of {0} bytes is over the limit of {MAX_BODY_BYTES}")]
    BodyTooLarge(u64),
    /// The header is no message this side knows.
    #[error("frame header is not a known message")]
    Header(#[source] serde_json::Error),
}

impl Prelude {
    /// Reads the lengths, refusing those over the limits.
    pub fn decode(bytes: [u8; PRELUDE_BYTES]) -> Result<Self, CodecError> {
        let [h0, h1, h2, h3, body @ ..] = bytes;
        let header = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
        let body = u64::from_le_bytes(body);
        if header > MAX_HEADER_BYTES {
            return Err(CodecError::HeaderTooLarge(header));
        }
        match usize::try_from(body) {
            Ok(length) if body <= MAX_BODY_BYTES => Ok(Self { header, body: length }),
            _ => Err(CodecError::BodyTooLarge(body)),
        }
    }
}

/// Encodes prelude and header of a frame; `body_bytes` of body must follow it.
pub fn encode_head<H: Serialize>(header: &H, body_bytes: usize) -> Result<Vec<u8>, CodecError> {
    let body = body_bytes as u64;
    if body > MAX_BODY_BYTES {
        return Err(CodecError::BodyTooLarge(body));
    }
    let mut head = vec![0; PRELUDE_BYTES];
    serde_json::to_writer(&mut head, header).map_err(CodecError::Header)?;
    let header = head.len() - PRELUDE_BYTES;
    let length = u32::try_from(header).ok().filter(|_| header <= MAX_HEADER_BYTES);
    let length = length.ok_or(CodecError::HeaderTooLarge(header))?;
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..PRELUDE_BYTES].copy_from_slice(&body.to_le_bytes());
    Ok(head)
}

/// Decodes a frame's header.
pub fn decode_header<H: DeserializeOwned>(header: &[u8]) -> Result<H, CodecError> {
    serde_json::from_slice(header).map_err(CodecError::Header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Invoke, ToRunner};

    #[test]
    fn what_is_encoded_decodes() {
        let message = ToRunner::Invoke(Invoke {
            modules: None,
            id: 1,
            fresh: true,
            max_result_bytes: 9,
            stream: false,
            settle: false,
        });
        let head = encode_head(&message, 5).unwrap();
        let (prelude, header) = head.split_first_chunk::<PRELUDE_BYTES>().unwrap();
        let prelude = Prelude::decode(*prelude).unwrap();
        assert_eq!(prelude, Prelude { header: header.len(), body: 5 });
        assert_eq!(decode_header::<ToRunner>(header).unwrap(), message);
    }

    #[test]
    fn lengths_over_the_limits_are_refused_before_anything_is_allocated() {
        let mut bytes = [0xff; PRELUDE_BYTES];
        assert!(matches!(Prelude::decode(bytes), Err(CodecError::HeaderTooLarge(_))));
        bytes[..4].fill(0);
        assert!(matches!(Prelude::decode(bytes), Err(CodecError::BodyTooLarge(_))));
        assert!(matches!(encode_head(&"x".repeat(MAX_HEADER_BYTES), 0), Err(CodecError::HeaderTooLarge(_))));
    }
}
