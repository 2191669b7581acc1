//! The files that a request ships along, and the name that a set of them has by its content.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The content of a set of files: sha256 over each path and source, in the order of the paths, each behind its
/// length in bytes as 8 bytes, least significant first. On the wire it is 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModulesKey([u8; 32]);

impl ModulesKey {
    /// The key of `files`.
    pub fn of(files: &BTreeMap<String, String>) -> Self {
        let mut hash = Sha256::new();
        for text in files.iter().flat_map(|(path, source)| [path, source]) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }

    /// The digest.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut key = [0; 32];
        if digits.len() != 2 * key.len() {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Some(Self(key))
    }
}

impl fmt::Display for ModulesKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Serialize for ModulesKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModulesKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected a sha256 as 64 lower-case hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let files = BTreeMap::from([("a.py".to_owned(), "x = 1".to_owned())]);
        let key = ModulesKey::of(&files);
        // python3 -c 'import hashlib as h; print(h.sha256(b"\4"+b"\0"*7+b"a.py"+b"\5"+b"\0"*7+b"x = 1").hexdigest())'
        assert_eq!(key.to_string(), "97d3ccc1580d442113e6ee45315bb32171011ec7bea870a9c9eef6bb6d2b0f40");
        assert_eq!(ModulesKey::parse(&key.to_string()), Some(key));
    }

    #[test]
    fn what_is_no_digest_is_no_key() {
        let good = "0a".repeat(32);
        assert!(ModulesKey::parse(&good).is_some());
        for bad in [String::new(), good.to_uppercase(), format!("{good}00"), format!("../{}", &good[3..])] {
            assert_eq!(ModulesKey::parse(&bad), None, "{bad}");
        }
    }
}
