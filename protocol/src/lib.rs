//! Farcall's wire types, without I/O.
//!
//! Two wires meet here:
//!
//! - what clients send and get back: [`FunctionRequest`] and [`FunctionResponse`], the union of the three
//!   generations of `RunPod` clients (flash 1.x, runpod 2.x, and the earlier protocol buffers era);
//! - what the supervisor and a runner say to each other: [`frame`], carried by [`codec`].
//!
//! Payloads (arguments, results) stay text or bytes that nobody here interprets.

#![forbid(unsafe_code)]

pub mod codec;
pub mod frame;
mod plain;
mod request;
mod response;

pub use request::{
    ExecutionType, Extras, FunctionRequest, KeywordArguments, ModulesKey, Payload, RequestError,
    SerializationFormat, Target,
};
pub use response::{FunctionResponse, InstanceInfo};
