//! A bounded buffer: the beginning and the end of what was printed.

use std::collections::VecDeque;

/// The beginning and the end of what was printed; the middle is counted and dropped.
#[derive(Debug)]
pub struct OutputBuffer {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    dropped: usize,
}

impl OutputBuffer {
    /// A buffer that keeps `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), half: limit / 2, dropped: 0 }
    }

    /// Takes a piece.
    pub fn push(&mut self, bytes: &[u8]) {
        let (to_head, to_tail) = bytes.split_at(bytes.len().min(self.half.saturating_sub(self.head.len())));
        self.head.extend_from_slice(to_head);
        let kept = &to_tail[to_tail.len().saturating_sub(self.half)..];
        self.dropped += to_tail.len() - kept.len();
        let excess = (self.tail.len() + kept.len()).saturating_sub(self.half);
        self.tail.drain(..excess);
        self.dropped += excess;
        self.tail.extend(kept);
    }

    /// The text, with bytes that are no UTF-8 replaced and a line where something was left out.
    pub fn into_text(self) -> String {
        let mut bytes = self.head;
        let whole_tail = Vec::from(self.tail);
        if self.dropped == 0 {
            bytes.extend_from_slice(&whole_tail);
            return String::from_utf8(bytes).unwrap_or_else(|error| lossy(error.as_bytes()));
        }
        let (head, tail) = (without_cut_end(&bytes), without_cut_start(&whole_tail));
        let dropped = self.dropped + (bytes.len() - head.len()) + (whole_tail.len() - tail.len());
        format!("{}\n[farcall: {dropped} bytes of output left out]\n{}", lossy(head), lossy(tail))
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Without the beginning of a character whose end was dropped.
pub(crate) fn without_cut_end(bytes: &[u8]) -> &[u8] {
    // Judged from where its last character begins: what is before it may be no UTF-8 at all.
    let last =
        (bytes.len().saturating_sub(3)..bytes.len()).rev().find(|&index| !is_continuation(bytes[index]));
    let is_cut =
        |start: usize| std::str::from_utf8(&bytes[start..]).is_err_and(|error| error.error_len().is_none());
    &bytes[..last.filter(|&start| is_cut(start)).unwrap_or(bytes.len())]
}

/// Without the end of a character whose beginning was dropped.
fn without_cut_start(bytes: &[u8]) -> &[u8] {
    let cut = bytes.iter().take(3).take_while(|byte| is_continuation(**byte)).count();
    &bytes[cut..]
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(limit: usize, pieces: &[&[u8]]) -> String {
        let mut buffer = OutputBuffer::new(limit);
        pieces.iter().for_each(|piece| buffer.push(piece));
        buffer.into_text()
    }

    #[test]
    fn what_fits_is_kept_whole() {
        assert_eq!(text(8, &[b"abc", b"", b"defgh"]), "abcdefgh");
        assert_eq!(text(8, &[b"ab\xff", b"c"]), "ab\u{fffd}c");
    }

    #[test]
    fn of_more_the_beginning_and_the_end_are_kept_and_the_rest_is_counted() {
        assert_eq!(text(8, &[b"0123456789"]), "0123\n[farcall: 2 bytes of output left out]\n6789");
        assert_eq!(
            text(8, &[b"01", b"2345", b"67", b"89"]),
            "0123\n[farcall: 2 bytes of output left out]\n6789"
        );
        let many = b"x".repeat(100_000);
        assert_eq!(text(4, &[&many, b"yz"]), "xx\n[farcall: 99998 bytes of output left out]\nyz");
    }

    #[test]
    fn characters_are_not_cut_in_half() {
        let cut = text(6, &["aaé".as_bytes(), b"bbbbbb", "éc".as_bytes()]);
        assert_eq!(cut, "aa\n[farcall: 8 bytes of output left out]\néc");
        assert_eq!(
            text(8, &["éaéb".as_bytes(), b"cccc", "a€d".as_bytes()]),
            "éa\n[farcall: 8 bytes of output left out]\n€d"
        );
        assert_eq!(
            text(4, &["aéb".as_bytes(), "c€".as_bytes()]),
            "a\n[farcall: 7 bytes of output left out]\n"
        );
    }
}
