//! What a worker must never do.

/// One breach of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub kind: ViolationKind,
    /// The worker, as its URL names it.
    pub worker: String,
    /// The job, where there is one.
    pub job: Option<String>,
    /// What was seen.
    pub detail: String,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ViolationKind {
    /// A job has one final answer.
    SecondAnswer,
    /// A worker answers jobs it was given.
    UnknownJob,
    /// Nothing is answered long after the worker was told to stop the job.
    AnswerAfterStop,
    /// No progress and no chunk follow the final answer.
    AfterFinal,
    /// The key is sent, raw.
    Authorization,
    /// Content type, `charset`, `X-Request-ID` and method of a post.
    Headers,
    /// The templates' own parameters are kept, ours are there.
    Query,
    /// Bodies are JSON objects of the known form.
    Body,
    /// `job_in_progress` says whether there is one.
    JobInProgress,
    /// A batch is asked for where more than one slot is free, and for no more than there are.
    BatchSize,
    /// A worker pings in time, and names only jobs it was given.
    Ping,
}
