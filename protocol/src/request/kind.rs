//! The two fields that say what kind of request it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `execution_type`: what the request names. Values other than `"class"` take the function path, as the
/// reference worker does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionType {
    /// A plain function.
    #[default]
    Function,
    /// A method of a class.
    Class,
    /// A value this worker does not know.
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for ExecutionType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Function => "function",
            Self::Class => "class",
            Self::Other(name) => name,
        })
    }
}

/// `serialization_format`: how arguments and the result travel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SerializationFormat {
    /// base64 of a cloudpickle; the result goes to `result`.
    #[default]
    Cloudpickle,
    /// Plain JSON; the result goes to `json_result`.
    Json,
    /// A value this worker does not know; refused by [`FunctionRequest::target`].
    #[serde(untagged)]
    Other(String),
}
