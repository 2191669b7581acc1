//! A job's outcome as a queue answers it (contract 2.3, 2.4, 5.2): the same here and on the platform.

use farcall_protocol::frame::{Chunk, Encoding};
use farcall_protocol::{FunctionRequest, FunctionResponse};
use serde_json::json;

use crate::job::JobOutcome;

/// How the client of a request wants its answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    /// What a generator yields goes out piece by piece.
    pub(super) stream: bool,
    /// A failure is described.
    pub(super) failure: bool,
}

impl Wanted {
    /// As `request` says; a request that cannot be read says nothing.
    pub(super) fn by(request: &[u8]) -> Self {
        FunctionRequest::parse(request).map_or_else(
            |_| Self::default(),
            |request| Self { stream: request.wants_stream(), failure: request.farcall.failure },
        )
    }
}

/// The final answer of a job.
#[derive(Debug)]
pub(super) struct Answer {
    /// What the client finds under `output`, as JSON.
    pub(super) output: Option<Vec<u8>>,
    /// And under `error`. Its presence makes the job a failed one.
    pub(super) error: Option<String>,
    pub(super) is_stream: bool,
}

/// The items a generator has yielded, as 2.x clients read them.
#[derive(Debug, Default)]
pub(super) struct Envelopes(Vec<Vec<u8>>);

impl Envelopes {
    /// Adds a chunk of the job. Returns the envelope to post.
    pub(super) fn add(&mut self, chunk: &Chunk, body: &[u8]) -> Vec<u8> {
        let field = if chunk.encoding == Encoding::Json { "json_result" } else { "result" };
        let quote = if chunk.encoding == Encoding::Json { "" } else { "\"" };
        let head = format!("{{\"success\":true,\"__stream__\":true,\"{field}\":{quote}");
        let envelope = [head.as_bytes(), body, quote.as_bytes(), b"}"].concat();
        self.0.push(envelope.clone());
        envelope
    }

    /// These, if the job's result was streamed: it ended so, or it had begun to.
    pub(super) fn of_stream(self, outcome: &JobOutcome) -> Option<Self> {
        (outcome.was_streamed() || !self.0.is_empty()).then_some(self)
    }

    /// The items, and behind them why there are no more, for clients that want it described.
    fn into_list(mut self, response: &FunctionResponse) -> Vec<u8> {
        if let Some(failure) = &response.failure {
            let end = json!({"success": false, "__stream__": true, "failure": failure});
            self.0.push(end.to_string().into());
        }
        let mut list = self.0.join(&b","[..]);
        list.insert(0, b'[');
        list.push(b']');
        list
    }
}

impl Answer {
    /// A job that cannot be run.
    pub(super) fn rejected(reason: String) -> Self {
        Self { output: None, error: Some(reason), is_stream: false }
    }

    /// The answer that a response is; `envelopes`, if the result went out piece by piece.
    pub(super) fn new(response: &FunctionResponse, envelopes: Option<Envelopes>) -> Self {
        let is_stream = envelopes.is_some();
        // A failure without a text would look like a success.
        let fallback = (!response.success).then(|| "the call failed".to_owned());
        let error = response.error.clone().or(fallback);
        let output = envelopes.map_or_else(|| response.to_output_json(), |items| items.into_list(response));
        Self { output: Some(output), error, is_stream }
    }

    /// What tells those who follow a stream that it failed.
    pub(super) fn failed_stream(&self) -> Option<Vec<u8>> {
        let error = self.error.as_ref().filter(|_| self.is_stream)?;
        Some(json!({"success": false, "__stream__": true, "error": error}).to_string().into())
    }
}
