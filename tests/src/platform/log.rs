//! Requests as they came.

use std::time::Instant;

use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri};
use serde_json::Value;

use super::route::{Query, Route};

/// A request.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// When its body had arrived.
    pub at: Instant,
    /// What it was about.
    pub route: Route,
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as it came.
    pub body: Bytes,
}

impl Recorded {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        Query::of(&self.uri).get(name).map(str::to_owned)
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
