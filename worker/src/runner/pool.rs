//! The runners of a worker, and who gets which next.
//!
//! Requests wait in order of arrival. One that names an instance waits for the runner the instance lives in;
//! any other takes an idle runner that has its packages, preferably its source, too, or a fresh one. At most `concurrency` run at a
//! time; a spare runner stands by to replace one that dies. Runners are forked from a template once there is
//! one, and started fresh until then.
//!
//! All decisions are made in [`queue`], a plain data structure; this file carries them out.

mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farcall_protocol::frame::Role;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::shared::SharedRunner;
use super::template::Template;
use super::{Assignment, Ending, Factory, Report, Runner, Sprout, StartError};
use crate::environment::Packages;
pub use queue::Wish;
use queue::{Grant, Making, Queue, Unwanted};

/// Starts that fail in a row until the worker gives up.
const MOST_FAILURES: u32 = 5;

/// Pause after the first failed start; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How many runners there are to be.
#[derive(Debug, Clone, Copy)]
pub struct PoolSize {
    /// Invocations at a time.
    pub concurrency: usize,
    /// Runners beyond that, waiting to replace one that dies.
    pub spare: usize,
    /// Runners kept idle beyond `concurrency`, for calls that want other packages than the latest.
    pub kept: usize,
    /// Whether to fork runners from a template.
    pub template: bool,
}

/// The state of a pool, for health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolHealth {
    /// No runner has been ready yet.
    Starting,
    /// Runners are there.
    Ready,
    /// The last starts have failed and there is no runner.
    Failing,
}

/// The runners of a worker.
#[derive(Debug)]
pub struct Pool {
    factory: Factory,
    size: PoolSize,
    max_output_bytes: usize,
    queue: Mutex<Queue>,
    /// Whether the first runner was started, and what it has forked for a template to be made of.
    has_started: AtomicBool,
    sprout: Mutex<Option<Sprout>>,
    /// Asynchronous code has come.
    asynchronous: AtomicBool,
    /// Held while forking. `None` until there is a template, and again if it can no longer fork.
    template: tokio::sync::Mutex<Option<Template>>,
    /// Set when runners cannot be kept alive.
    broken: CancellationToken,
    closed: CancellationToken,
}

/// The right to run one invocation.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    wish: Wish,
    grant: Option<Grant>,
}

/// A place in the queue. Whoever gives it up may have been granted a runner at that very moment.
struct WaitingPlace {
    pool: Arc<Pool>,
    wish: Wish,
    granted: oneshot::Receiver<Grant>,
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.granted.close();
        if let Ok(grant) = self.granted.try_recv() {
            drop(Lease { pool: Arc::clone(&self.pool), wish: self.wish.clone(), grant: Some(grant) });
        }
    }
}

impl Pool {
    /// Starts the first runner and returns; the rest follows once it is ready.
    pub fn start(factory: Factory, size: PoolSize, max_output_bytes: usize) -> Arc<Self> {
        let pool = Arc::new(Self {
            factory,
            size,
            max_output_bytes,
            queue: Mutex::new(Queue::new(size)),
            has_started: AtomicBool::new(false),
            asynchronous: AtomicBool::new(false),
            sprout: Mutex::default(),
            template: tokio::sync::Mutex::new(None),
            broken: CancellationToken::new(),
            closed: CancellationToken::new(),
        });
        // Templates take longer and are in the way of the first request; fresh runners come one at a time
        // until there is one.
        pool.queue().is_full_size = !size.template;
        pool.replenish();
        pool
    }

    /// Waits for a runner, in order of arrival. Dropping the future gives up the place.
    pub async fn lease(self: &Arc<Self>, wish: Wish) -> Result<Lease, Arc<StartError>> {
        if wish.asynchronous {
            self.asynchronous.store(true, Ordering::Relaxed);
        }
        let (sender, granted) = oneshot::channel();
        let waiting = self.queue().enter(wish.clone(), sender);
        let mut place = WaitingPlace { pool: Arc::clone(self), wish, granted };
        self.dispatch();
        match (&mut place.granted).await {
            Ok(grant) => Ok(Lease { pool: Arc::clone(self), wish: place.wish.clone(), grant: Some(grant) }),
            Err(_) => Err(self.queue().last_failure()),
        }
        .inspect_err(|_| debug!(waiting, "no runner for a request"))
    }

    /// How the pool is doing.
    pub fn health(&self) -> PoolHealth {
        self.queue().health()
    }

    /// Waits until runners cannot be kept alive.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Ends all runners that are not in use; those in use end when they come back. Nobody gets one any more.
    pub async fn close(&self) {
        self.closed.cancel();
        let runners = self.queue().close();
        drop(self.sprout().take());
        let template = self.template.lock().await.take();
        let stops = runners.into_iter().map(|runner| tokio::spawn(runner.stop())).collect::<Vec<_>>();
        if let Some(template) = template {
            template.stop().await;
        }
        for stop in stops {
            let _ = stop.await;
        }
    }

    /// Grants what can be granted, and starts what is missing.
    fn dispatch(self: &Arc<Self>) {
        let (wanted_shared, unwanted) = {
            let mut queue = self.queue();
            queue.dispatch();
            (queue.take_wanted_shared(), queue.take_unwanted())
        };
        for Unwanted { runner, instances } in unwanted {
            debug!(instances, "idle runner dropped: least recently used of too many");
            tokio::spawn(runner.stop());
        }
        for packages in wanted_shared {
            let pool = Arc::clone(self);
            tokio::spawn(async move { pool.add_shared(packages).await });
        }
        self.replenish();
    }

    fn replenish(self: &Arc<Self>) {
        let missing = if self.closed.is_cancelled() { 0 } else { self.queue().take_missing() };
        for _ in 0..missing {
            let pool = Arc::clone(self);
            tokio::spawn(async move { pool.add_runner().await });
        }
    }

    async fn add_runner(self: Arc<Self>) {
        match self.make(Role::Exclusive).await {
            Ok(runner) => {
                let is_first = self.queue().add(Box::new(runner));
                self.dispatch();
                if is_first && self.size.template {
                    self.add_template().await;
                }
            }
            Err(failure) => self.note_failure(failure, Making::Exclusive).await,
        }
    }

    async fn add_shared(self: Arc<Self>, packages: Packages) {
        match self.make(Role::Shared).await {
            Ok(mut runner) => {
                runner.enter(&packages).await;
                self.queue().set_shared(&packages, SharedRunner::new(runner));
                self.dispatch();
            }
            Err(failure) => self.note_failure(failure, Making::Shared(packages)).await,
        }
    }

    async fn note_failure(self: &Arc<Self>, failure: StartError, making: Making) {
        warn!(error = %failure, "runner did not start");
        let failures = self.queue().note_failure(failure);
        if failures >= MOST_FAILURES {
            error!(failures, "runners cannot be kept alive");
            self.queue().fail_all();
            self.broken.cancel();
            return;
        }
        let pause = FIRST_PAUSE * 2_u32.pow(failures - 1);
        tokio::select! {
            () = tokio::time::sleep(pause) => {
                self.queue().may_retry(&making);
                self.dispatch();
            }
            () = self.closed.cancelled() => {}
        }
    }

    /// A ready runner: forked if there is a template, fresh otherwise.
    async fn make(self: &Arc<Self>, role: Role) -> Result<Runner, StartError> {
        let mut template = self.template.lock().await;
        if let Some(forkable) = template.as_mut() {
            let asynchronous = role == Role::Shared || self.asynchronous.load(Ordering::Relaxed);
            match self.factory.fork(forkable, role, asynchronous).await {
                Ok(starting) => {
                    drop(template);
                    return starting.ready().await;
                }
                Err(error) => {
                    warn!(%error, "runner template lost; starting fresh runners until there is a new one");
                    *template = None;
                    let pool = Arc::clone(self);
                    tokio::spawn(async move { pool.add_template().await });
                }
            }
        }
        drop(template);
        let is_first = role == Role::Exclusive && !self.has_started.swap(true, Ordering::Relaxed);
        if !is_first || !self.size.template {
            return self.factory.start(role)?.ready().await;
        }
        let (runner, sprout) = self.factory.start_first()?.ready_with_sprout().await?;
        *self.sprout() = sprout;
        Ok(runner)
    }

    fn add_template(self: Arc<Self>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        // Boxed: making a runner may lead to making a template, whose loss leads here.
        Box::pin(async move {
            for failures in 0..MOST_FAILURES {
                if self.try_template().await {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(failures)) => {}
                    () = self.closed.cancelled() => return,
                }
            }
        })
    }

    /// Makes a template, or lets the pool do without for now. Returns whether it could be made.
    async fn try_template(self: &Arc<Self>) -> bool {
        let sprout = self.sprout().take();
        let made = self.factory.start_template(sprout).await;
        let is_made = made.is_ok();
        match made {
            Ok(template) if !self.closed.is_cancelled() => *self.template.lock().await = Some(template),
            Ok(template) => template.stop().await,
            Err(error) => warn!(%error, "no runner template: runners start fresh"),
        }
        self.queue().is_full_size = true;
        self.dispatch();
        is_made
    }

    fn sprout(&self) -> MutexGuard<'_, Option<Sprout>> {
        self.sprout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Runs an assignment. When this returns, the runner is free again, or its successor is on its way. `None`
    /// means that the runner was dead already, and nothing has run.
    pub async fn run(mut self, assignment: Assignment) -> Option<Report> {
        let pool = Arc::clone(&self.pool);
        match self.grant.take() {
            Some(Grant::Exclusive(member, runner)) => {
                // While it runs, only the place is held: should this future be dropped, the runner dies.
                self.grant = Some(Grant::Running(member));
                let (runner, report) = runner.invoke(assignment, &self.wish.packages).await;
                self.grant = None;
                pool.note_instances(&self.wish, report.as_ref(), &queue::Place::Runner(member));
                match runner {
                    Some(runner) => pool.give_back(member, Box::new(runner), self.wish.source),
                    None => pool.lose(member),
                }
                report
            }
            Some(Grant::Shared(runner, packages)) => {
                self.grant = Some(Grant::SharedRunning(packages.clone()));
                let report = runner.invoke(assignment, pool.max_output_bytes).await;
                self.grant = None;
                pool.note_instances(&self.wish, report.as_ref(), &queue::Place::Shared(packages));
                pool.queue().end_shared();
                pool.dispatch();
                report
            }
            _ => unreachable!("a lease is granted with something to run on"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.grant.take() {
            Some(Grant::Exclusive(member, runner)) => self.pool.give_back(member, runner, self.wish.source),
            Some(Grant::Running(member)) => self.pool.lose(member),
            Some(Grant::Shared(..) | Grant::SharedRunning(_)) => {
                self.pool.queue().end_shared();
                self.pool.dispatch();
            }
            None => {}
        }
    }
}

impl Pool {
    fn give_back(self: &Arc<Self>, member: u64, runner: Box<Runner>, source: u64) {
        let unwanted = self.queue().give_back(member, runner, source);
        if let Some(runner) = unwanted {
            tokio::spawn(runner.stop());
        }
        self.dispatch();
    }

    fn lose(self: &Arc<Self>, member: u64) {
        let instances = self.queue().lose(member);
        if instances > 0 {
            info!(instances, "class instances lost with their runner");
        }
        self.dispatch();
    }

    fn note_instances(&self, wish: &Wish, report: Option<&Report>, place: &queue::Place) {
        if let Some(Report { ending: Ending::Answered(done, _), .. }) = report {
            if let Some(dropped) = &done.dropped_instance {
                info!(instance = dropped, "class instance dropped: least recently used of too many");
                self.queue().forget_instance(dropped);
            }
            if let Some(instance) = &done.instance {
                self.queue().note_instance(instance.id.clone(), place.clone());
            } else if let Some(id) = &wish.instance {
                self.queue().unreserve(id);
            }
        }
    }
}
