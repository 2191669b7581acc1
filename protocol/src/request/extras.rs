//! What the `farcall` field of a request asks for. Without it, an answer is byte for byte what other clients know.

use serde::{Deserialize, Serialize};

/// Additions to a request and its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    /// Describe a failure in [`crate::FunctionResponse::failure`], not only in words.
    pub failure: bool,
    /// Tell what a generator yields piece by piece, whatever the serialization format.
    pub stream: bool,
}

impl Extras {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
