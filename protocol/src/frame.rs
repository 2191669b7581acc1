//! Every message between the supervisor and a runner.
//!
//! A frame is a small JSON header, one of the enums here, and a body of raw bytes that belongs to it. Every
//! header that concerns an invocation carries its id. The channel is one stream socket, see [`crate::codec`].

use serde::{Deserialize, Serialize};

use crate::{InstanceInfo, ModulesKey};

/// Name of the file in a runner's scratch directory that holds the Python stacks of its threads, written when
/// the process crashes or is asked for them.
pub const STACKS_FILE: &str = "stacks.txt";

/// What the supervisor says to a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToRunner {
    /// First of all: where and how to work. Answered by [`FromRunner::Ready`]. Two descriptors may come with
    /// it, as with [`ToRunner::Fork`]: then the process forks at once, and says [`FromRunner::Forked`] first. What
    /// it forks waits for a setup of its own.
    Setup(Setup),
    /// Put an environment's packages in front of the interpreter's own, for good. Comes before the first
    /// invocation, and is not answered.
    Enter(Enter),
    /// See these GPUs only. Comes before the first invocation, and is not answered.
    UseGpus {
        /// The value of `CUDA_VISIBLE_DEVICES`.
        names: String,
    },
    /// Run a request. Body: the `FunctionRequest` as JSON. One descriptor may come with it: a new pipe for
    /// the runner's output.
    Invoke(Invoke),
    /// End an invocation of a shared runner: its task is cancelled.
    Cancel {
        /// The invocation.
        id: u64,
    },
    /// Fork a runner. Two descriptors come with it: the new runner's channel and its output pipe. Answered by
    /// [`FromRunner::Forked`]; the new runner waits for its own [`ToRunner::Setup`].
    Fork {
        /// It is likely to run asynchronous code: what that needs is to be there.
        asynchronous: bool,
    },
}

/// What a runner process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs one invocation at a time.
    Exclusive,
    /// Runs many invocations of asynchronous code on one event loop.
    Shared,
    /// Has done its imports and waits, single-threaded, to be forked.
    Template,
}

/// Header of [`ToRunner::Setup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// What the process is there for.
    pub role: Role,
    /// A directory of the runner's own; the supervisor removes it after the runner's end.
    pub scratch: String,
    /// Class instances to keep; beyond it the least recently used one goes.
    pub max_instances: usize,
}

/// Header of [`ToRunner::Enter`]: an environment, which has the layout of a virtual environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enter {
    /// Its directory.
    pub prefix: String,
    /// Where its packages are.
    pub site_packages: String,
}

/// Header of [`ToRunner::Invoke`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invoke {
    /// The invocation's id, unique while the runner lives.
    pub id: u64,
    /// Execute the source again instead of keeping its namespace from an earlier call.
    pub fresh: bool,
    /// Largest encoded result to send back, in bytes.
    pub max_result_bytes: u64,
    /// Send what a generator yields as [`FromRunner::Chunk`] instead of collecting it.
    pub stream: bool,
    /// The invocation before this one was interrupted, perhaps too late for it: drop an interrupt that is
    /// pending, then say so by [`FromRunner::Settled`], before which none is sent for this one.
    #[serde(default)]
    pub settle: bool,
    /// The files shipped along, where the request itself does not bring them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<KeptModules>,
}

/// A set of files that the supervisor has kept from an earlier request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptModules {
    /// Which.
    pub key: ModulesKey,
    /// The directory that has them, to be copied.
    pub directory: String,
}

/// What a runner says to the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRunner {
    /// The interpreter is up and waits for work.
    Ready(Ready),
    /// A process has been forked; or, without a process id, it could not be.
    Forked {
        /// The new process.
        pid: Option<u32>,
    },
    /// No interrupt of an earlier invocation is pending any more, as [`Invoke::settle`] asks.
    Settled {
        /// The invocation that begins.
        id: u64,
    },
    /// A generator has yielded. Body: the encoded value.
    Chunk(Chunk),
    /// User code tells how far it is. Body: a JSON value.
    Progress {
        /// The invocation it runs for.
        id: u64,
    },
    /// Python code of an invocation has printed, and not to the pipe: it shares its runner with others, or it
    /// runs on after its answer. Body: the bytes.
    Output {
        /// The invocation that printed.
        id: u64,
    },
    /// An asynchronous invocation is about to be interrupted. Body: where its task waits.
    Waits {
        /// The invocation.
        id: u64,
    },
    /// An invocation ended. Body: the encoded result, if there is one.
    Done(Done),
}

/// Header of [`FromRunner::Ready`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The interpreter's version, such as `3.11.7`.
    pub python_version: String,
}

/// Header of [`FromRunner::Chunk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The invocation whose generator it was.
    pub id: u64,
    /// Number of the chunk in its invocation, from 0.
    pub index: u64,
    /// What the body is.
    pub encoding: Encoding,
}

/// Header of [`FromRunner::Done`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The invocation that ended.
    pub id: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What the body is.
    pub encoding: Encoding,
    /// Text for the client when the outcome is a failure.
    pub error: Option<String>,
    /// The instance that was called, for class requests that got that far.
    pub instance: Option<Instance>,
    /// Id of the instance that had to go for this one.
    pub dropped_instance: Option<String>,
    /// The runner has started processes since it got its output pipe: they may write to it later.
    pub has_spawned: bool,
}

/// A class instance a call went to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id, the client's or one of the runner's making.
    pub id: String,
    /// Its bookkeeping.
    pub info: InstanceInfo,
}

/// The ends an invocation can come to while its runner lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It returned.
    Succeeded,
    /// The user's code raised.
    Raised,
    /// The request was wrong: it could not be read, its target does not exist, its arguments do not load.
    Rejected,
    /// The result could not be sent back.
    Unserializable,
    /// Its task was cancelled, as [`ToRunner::Cancel`] asks of a shared runner.
    Cancelled,
}

/// What the body of a [`Done`] frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Nothing.
    None,
    /// ASCII base64 of a pickle.
    Pickle,
    /// A JSON value.
    Json,
    /// No result, but what was raised, as a JSON object, for requests that ask for it.
    Exception,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_look_like_this_on_the_channel() {
        let invoke = ToRunner::Invoke(Invoke {
            modules: None,
            id: 7,
            fresh: false,
            max_result_bytes: 1024,
            stream: false,
            settle: false,
        });
        insta::assert_snapshot!(serde_json::to_string(&invoke).unwrap(), @r#"{"type":"invoke","id":7,"fresh":false,"max_result_bytes":1024,"stream":false,"settle":false}"#);
        let ready = FromRunner::Ready(Ready { python_version: "3.11.7".into() });
        insta::assert_snapshot!(serde_json::to_string(&ready).unwrap(), @r#"{"type":"ready","python_version":"3.11.7"}"#);
        let done = FromRunner::Done(Done {
            id: 7,
            outcome: Outcome::Succeeded,
            encoding: Encoding::Pickle,
            error: None,
            instance: None,
            dropped_instance: None,
            has_spawned: false,
        });
        insta::assert_snapshot!(serde_json::to_string(&done).unwrap(), @r#"{"type":"done","id":7,"outcome":"succeeded","encoding":"pickle","error":null,"instance":null,"dropped_instance":null,"has_spawned":false}"#);
    }
}
