//! Which request is which.

use std::fmt::Write as _;

use hyper::Uri;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// `job-take`
    Take,
    /// `job-take-batch`
    Batch,
    /// `job-stop`
    Stop,
    /// `job-done`
    Done,
    /// `job-stream`
    Stream,
    /// `ping`
    Ping,
    /// The clients' side of the data plane.
    Client,
    /// Everything that makes and lists endpoints.
    Control,
}

/// A path, cut at its slashes.
#[derive(Debug)]
pub(super) struct Path<'a> {
    pub(super) segments: Vec<&'a str>,
}

impl<'a> Path<'a> {
    pub(super) fn of(uri: &'a Uri) -> Self {
        Self { segments: uri.path().split('/').filter(|segment| !segment.is_empty()).collect() }
    }

    pub(super) fn route(&self) -> Route {
        match self.segments[..] {
            ["v2", "serverless" | "catalog" | "network-volumes" | "global-volumes" | "registries", ..] => {
                Route::Control
            }
            ["v2", _, "job-take", _] => Route::Take,
            ["v2", _, "job-take-batch", _] => Route::Batch,
            ["v2", _, "job-stop", _] => Route::Stop,
            ["v2", _, "job-done", _, _] => Route::Done,
            ["v2", _, "job-stream", _, _] => Route::Stream,
            ["v2", _, "ping", _] => Route::Ping,
            ["v2" | "ai", _, ..] => Route::Client,
            _ => Route::Control,
        }
    }
}

/// A query string, decoded.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl std::fmt::Display for Query {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_char('&')?;
            }
            write!(formatter, "{name}={value}")?;
        }
        Ok(())
    }
}
