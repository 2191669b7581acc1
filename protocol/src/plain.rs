//! Text that stands in JSON as it is: printable ASCII without quotes and backslashes, such as base64.

/// Bytes that are looked at together, without an early end: the compiler vectorises that.
const BLOCK: usize = 256;

/// Bytes that are looked at one by one before: most strings are short.
const SHORT: usize = 64;

/// Whether a text needs no escapes in JSON.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    plain_length(text) == text.len()
}

/// How many bytes at the start of a text are plain.
pub(crate) fn plain_length(text: &[u8]) -> usize {
    let one_by_one = |from: &[u8]| from.iter().take_while(|byte| needs_no_escape(**byte)).count();
    let (short, rest) = text.split_at(text.len().min(SHORT));
    let plain = one_by_one(short);
    if plain < short.len() {
        return plain;
    }
    let blocks = rest.chunks(BLOCK).take_while(|block| is_plain_block(block));
    let plain = (blocks.count() * BLOCK).min(rest.len());
    short.len() + plain + one_by_one(&rest[plain..])
}

fn is_plain_block(block: &[u8]) -> bool {
    block.iter().fold(true, |plain, byte| plain & needs_no_escape(*byte))
}

fn needs_no_escape(byte: u8) -> bool {
    (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_ends_where_json_would_escape() {
        for length in [0, 1, 63, 64, 65, 319, 320, 321, 600] {
            let text = "A".repeat(length);
            assert!(is_plain(text.as_bytes()));
            for odd in ["\"", "\\", "\n", "\u{7f}", "é"] {
                let text = format!("{text}{odd}{text}");
                assert_eq!(plain_length(text.as_bytes()), length, "{odd:?} after {length}");
            }
        }
    }
}
