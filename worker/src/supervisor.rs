//! The way of a job from its request to its outcome.

use farcall_protocol::FunctionRequest;
use farcall_protocol::frame::Invoke;
use tracing::debug;

use crate::config::Config;
use crate::interpreter::Interpreter;
use crate::job::{Job, JobOutcome};
use crate::runner::{Runner, RunnerSpec, StartError};

/// Runs jobs one after another on a runner, which is replaced when it dies.
#[derive(Debug)]
pub struct Supervisor {
    spec: RunnerSpec,
    fresh: bool,
    max_result_bytes: u64,
    runner: Option<Runner>,
    invocations: u64,
}

impl Supervisor {
    /// A supervisor whose runners use `interpreter`. Nothing is started yet.
    pub fn new(config: &Config, interpreter: Interpreter) -> Self {
        Self {
            spec: RunnerSpec::new(config, interpreter),
            fresh: config.fresh_namespace,
            max_result_bytes: config.max_result_bytes,
            runner: None,
            invocations: 0,
        }
    }

    /// Starts a runner ahead of the first job; it becomes ready while the caller does something else.
    pub fn warm_up(&mut self) -> Result<(), StartError> {
        if self.runner.is_none() {
            self.runner = Some(Runner::start(&self.spec)?);
        }
        Ok(())
    }

    /// Runs one job to its end, whatever that is.
    pub async fn execute(&mut self, job: Job<'_>) -> JobOutcome {
        if let Err(error) = FunctionRequest::parse(job.request) {
            return JobOutcome::Rejected(error);
        }
        if let Err(error) = self.warm_up() {
            return JobOutcome::NotStarted(error);
        }
        let runner = match self.runner.take().expect("warmed up").ready().await {
            Ok(runner) => runner,
            Err(error) => return JobOutcome::NotStarted(error),
        };
        self.invocations += 1;
        let invoke =
            Invoke { id: self.invocations, fresh: self.fresh, max_result_bytes: self.max_result_bytes };
        match runner.invoke(&invoke, job.request).await {
            Ok((runner, answer)) => {
                self.runner = Some(runner);
                JobOutcome::Answered { done: answer.done, body: answer.body, output: answer.output }
            }
            Err(death) => {
                debug!(status = ?death.status, "runner died");
                JobOutcome::Died(death)
            }
        }
    }

    /// Ends the runner.
    pub async fn stop(&mut self) {
        if let Some(runner) = self.runner.take() {
            runner.stop().await;
        }
    }
}
