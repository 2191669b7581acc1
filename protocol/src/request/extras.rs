//! What the `farcall` field of a request asks for. Without it, an answer is byte for byte what other clients know.

use serde::{Deserialize, Serialize};

use super::ModulesKey;

/// Additions to a request and its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    /// Describe a failure in [`crate::FunctionResponse::failure`], not only in words.
    pub failure: bool,
    /// Tell what a generator yields piece by piece, whatever the serialization format.
    pub stream: bool,
    /// The files shipped along, by their content: a worker that has seen them needs no
    /// [`crate::FunctionRequest::modules`]. Where both are there, the worker keeps the files for later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules: Option<ModulesKey>,
}

impl Extras {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
