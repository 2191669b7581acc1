//! The way of a job from its request to its outcome: the only orchestration.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farcall_protocol::frame::{Invoke, KeptModules};
use farcall_protocol::{ExecutionType, FunctionRequest};
use tracing::{Instrument, debug_span, info, warn};

use crate::config::Config;
use crate::environment::{Environments, Needs, Notices, Packages};
use crate::interpreter::Interpreter;
use crate::job::{Job, JobOutcome, on_one_line};
use crate::output_log::LogSink;
use crate::rest::Rest;
use crate::runner::pool::{Pool, PoolHealth, PoolSize, Wish};
use crate::runner::{Assignment, Ending, Factory, Report};
use crate::shipped::ShippedModules;

/// Runners found dead before they took a job, until it is answered as if they had died of it.
const MOST_DEAD_RUNNERS: usize = 5;

/// Runs jobs.
#[derive(Debug)]
pub struct Supervisor {
    pool: Arc<Pool>,
    environments: Environments,
    shipped: ShippedModules,
    fresh: bool,
    max_result_bytes: u64,
    default_timeout: Option<Duration>,
    concurrency: usize,
    log: Option<LogSink>,
    next_invocation: AtomicU64,
    rest: Rest,
}

impl Supervisor {
    /// A supervisor whose runners use `interpreter`. The first runner starts at once. `log` gets what jobs
    /// print, as they print it.
    pub fn start(config: &Config, interpreter: Interpreter, size: PoolSize, log: Option<LogSink>) -> Self {
        farcall_heap::keep_freed();
        let environments = Environments::new(config, interpreter.clone());
        let factory = Factory::new(config, interpreter);
        Self {
            environments,
            shipped: ShippedModules::new(&config.cache_directory),
            pool: Pool::start(factory, size, config.max_output_bytes),
            fresh: config.fresh_namespace,
            max_result_bytes: config.max_result_bytes,
            default_timeout: config.timeout,
            concurrency: size.concurrency,
            log,
            next_invocation: AtomicU64::new(1),
            rest: Rest::default(),
        }
    }

    /// Runs one job to its end, whatever that is. When this returns, its runner is free or replaced.
    pub async fn execute(&self, job: Job) -> JobOutcome {
        let span = debug_span!("job", id = job.id);
        let request_bytes = job.request.len();
        let outcome = self.run(job).instrument(span).await;
        let result_bytes = match &outcome {
            JobOutcome::Ran(Report { ending: Ending::Answered(_, body), .. }) => body.len(),
            _ => 0,
        };
        self.rest.after(request_bytes.max(result_bytes));
        outcome
    }

    /// How the worker's runners are doing.
    pub fn health(&self) -> PoolHealth {
        self.pool.health()
    }

    /// Waits until runners cannot be kept alive.
    pub async fn broken(&self) {
        self.pool.broken().await;
    }

    /// Ends the runners and what is being installed; jobs that still wait for either fail.
    pub async fn stop(&self) {
        tokio::join!(self.pool.close(), self.environments.close());
    }

    async fn run(&self, job: Job) -> JobOutcome {
        let request = match FunctionRequest::parse(&job.request) {
            Ok(request) => request,
            Err(error) => return JobOutcome::Rejected(error),
        };
        let (mut wish, timeout, needs) = (self.wish(&request), seconds(request.timeout), Needs::of(&request));
        let modules = match self.kept_modules(request).await {
            Ok(modules) => modules,
            Err(outcome) => return outcome,
        };
        let mut preface = String::new();
        if let Some(needs) = needs {
            match self.prepare(&job, &needs).await {
                Ok((packages, said)) => (wish.packages, preface) = (packages, said),
                Err(outcome) => return outcome,
            }
        }
        let invoke = Invoke {
            id: self.next_invocation.fetch_add(1, Ordering::Relaxed),
            fresh: self.fresh,
            max_result_bytes: self.max_result_bytes,
            stream: job.stream,
            settle: false, // whoever knows the runner's past decides
            modules,
        };
        let assignment = Assignment {
            invoke,
            request: job.request,
            timeout: job.timeout.or(timeout).or(self.default_timeout),
            cancelled: job.cancelled,
            follower: job.follower,
            log: self.log.as_ref().map(|log| log.of_job(&job.id)),
            preface,
        };
        for _ in 0..MOST_DEAD_RUNNERS {
            let lease = tokio::select! {
                biased;
                () = assignment.cancelled.cancelled() => return JobOutcome::CancelledWaiting,
                lease = self.pool.lease(wish.clone()) => lease,
            };
            let lease = match lease {
                Ok(lease) => lease,
                Err(error) => return JobOutcome::NotStarted(error),
            };
            if let Some(report) = lease.run(assignment.clone()).await {
                info!(job = job.id, ending = report.ending.name(), "job ended");
                self.environments.keep(&wish.packages);
                return JobOutcome::Ran(report);
            }
            info!(job = job.id, "its runner was dead: it goes to another one");
        }
        JobOutcome::Ran(Report::unknown_death())
    }

    /// The files that a request refers to by their content, if it does not bring them; if it does, they are kept.
    async fn kept_modules(&self, request: FunctionRequest<'_>) -> Result<Option<KeptModules>, JobOutcome> {
        let Some(key) = request.farcall.modules else { return Ok(None) };
        let kept = self.shipped.find(key);
        if request.modules.is_empty() {
            return kept.map(Some).ok_or(JobOutcome::ModulesMissing(key));
        }
        // A request that is wrong is rejected by the runner.
        if kept.is_none() && request.target().is_ok() {
            let (shipped, files) = (self.shipped.clone(), request.modules);
            let keeping = tokio::task::spawn_blocking(move || shipped.keep(key, &files)).await;
            match keeping {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "shipped files are not kept: they have to be sent again"),
                Err(error) => warn!(%error, "shipped files are not kept"),
            }
        }
        Ok(None)
    }

    /// Installs what a job needs. Returns the packages it is to see and what was said meanwhile.
    async fn prepare(&self, job: &Job, needs: &Needs) -> Result<(Packages, String), JobOutcome> {
        let log = self.log.as_ref().map(|log| log.of_job(&job.id));
        let notices = Notices::new(log, job.follower.clone());
        let prepared = tokio::select! {
            biased;
            () = job.cancelled.cancelled() => return Err(JobOutcome::CancelledWaiting),
            prepared = self.environments.prepare(needs, &notices) => prepared,
        };
        let said = notices.into_text();
        match prepared {
            Ok(packages) => Ok((packages, said)),
            Err(error) => {
                info!(job = job.id, error = on_one_line(&*error), "dependencies not installed");
                Err(JobOutcome::NotInstalled(error, said))
            }
        }
    }

    fn wish(&self, request: &FunctionRequest<'_>) -> Wish {
        let is_class = request.execution_type == ExecutionType::Class;
        let (code, name) = if is_class {
            (&request.class_code, Some(&request.method_name))
        } else {
            (&request.function_code, request.function_name.as_ref())
        };
        let code = code.as_deref().unwrap_or_default();
        let mut source = DefaultHasher::new();
        match request.farcall.modules {
            Some(key) => (code, key).hash(&mut source),
            None => (code, &request.modules).hash(&mut source),
        }
        // Files shipped along are importable by one call at a time only.
        let asynchronous = name.is_some_and(|name| defines_asynchronous(code, name));
        let shareable = self.concurrency > 1 && !request.ships_modules() && asynchronous;
        Wish {
            instance: request.instance_id.clone().filter(|_| is_class),
            source: source.finish(),
            asynchronous,
            shareable,
            packages: Packages::Base,
        }
    }
}

/// Whether a source seems to define an asynchronous function or method. A wrong guess costs concurrency, not
/// correctness: either kind of runner runs either kind of function.
fn defines_asynchronous(code: &str, name: &str) -> bool {
    let definitions =
        code.match_indices("async def ").map(|(start, text)| code[start + text.len()..].trim_start());
    let is_end = |c: char| !(c.is_alphanumeric() || c == '_');
    let mut names = definitions.map(|rest| rest.split(is_end).next().unwrap_or_default());
    names.any(|defined| defined == name)
}

fn seconds(timeout: Option<f64>) -> Option<Duration> {
    timeout.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asynchronous_definitions_are_recognised() {
        assert!(defines_asynchronous("@cached\nasync def work(x):\n    pass", "work"));
        assert!(defines_asynchronous("class A:\n    async def  go(self): ...", "go"));
        assert!(!defines_asynchronous("async def worker(): ...\ndef work(): ...", "work"));
        assert!(!defines_asynchronous("def work(): ...", "work"));
    }
}
