//! Encoded arguments: slices of the request's document, never parsed here.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{Error, SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One encoded argument: a slice of the request's JSON text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Payload<'a>(&'a [u8]);

impl<'a> Payload<'a> {
    /// A slice of a document that is a value by itself.
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self(json)
    }

    /// The JSON text, which is UTF-8: a quoted base64 string for cloudpickle, any value for JSON.
    pub fn json(self) -> &'a [u8] {
        self.0
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(raw.get().as_bytes()))
    }
}

/// Keyword arguments in the order the client wrote them; of a repeated name the last value counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeywordArguments<'a>(Vec<(String, Payload<'a>)>);

impl<'a> KeywordArguments<'a> {
    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Payload<'a>)> {
        self.0.iter().map(|(name, payload)| (name.as_str(), *payload))
    }

    /// The same, each payload exchanged.
    pub(super) fn map<'d>(
        self,
        mut exchange: impl FnMut(Payload<'a>) -> Payload<'d>,
    ) -> KeywordArguments<'d> {
        KeywordArguments(self.0.into_iter().map(|(name, payload)| (name, exchange(payload))).collect())
    }
}

impl Serialize for KeywordArguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, payload) in &self.0 {
            map.serialize_entry(name, payload)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for KeywordArguments<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = KeywordArguments<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of names to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(String, Payload<'de>)> = Vec::new();
                while let Some((name, payload)) = map.next_entry::<String, Payload<'de>>()? {
                    match entries.iter_mut().find(|(known, _)| *known == name) {
                        Some(entry) => entry.1 = payload,
                        None => entries.push((name, payload)),
                    }
                }
                Ok(KeywordArguments(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
