//! A job's outcome as a queue answers it (contract 2.3, 2.4, 5.2): the same here and on the platform.

use farcall_protocol::frame::{Chunk, Encoding};
use farcall_protocol::{FunctionRequest, FunctionResponse, SerializationFormat};
use serde_json::json;

/// Whether what a generator yields goes out piece by piece: 2.x clients speak JSON and take the items as they come;
/// 1.x clients need one object.
pub(super) fn is_streamed(request: &[u8]) -> bool {
    FunctionRequest::parse(request)
        .is_ok_and(|request| request.serialization_format == SerializationFormat::Json)
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

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_list(self) -> Vec<u8> {
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

    pub(super) fn new(response: &FunctionResponse, envelopes: Envelopes, was_streamed: bool) -> Self {
        // A failure without a text would look like a success.
        let fallback = (!response.success).then(|| "the call failed".to_owned());
        let error = response.error.clone().or(fallback);
        let output = if was_streamed { envelopes.into_list() } else { response.to_output_json() };
        Self { output: Some(output), error, is_stream: was_streamed }
    }

    /// What tells those who follow a stream that it failed.
    pub(super) fn failed_stream(&self) -> Option<Vec<u8>> {
        let error = self.error.as_ref().filter(|_| self.is_stream)?;
        Some(json!({"success": false, "__stream__": true, "error": error}).to_string().into())
    }
}
