//! The long-lived worker: what feeds it jobs, and its way down.

mod answer;
mod backoff;
mod execute;
mod http;
mod idle;
mod local;
mod ready;
mod runpod;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::{Config, PlatformConfig};
use crate::fitness::{FitnessCheck, check_fitness, check_gpu};
use crate::interpreter::{Interpreter, InterpreterError};
use crate::output_log::LogSink;
use crate::runner::pool::{PoolHealth, PoolSize};
use crate::supervisor::Supervisor;
use idle::Idle;
use local::{Endpoint, OpenedQueue};
pub use local::{SchemaError, StoreError};
use ready::Readiness;
use runpod::QueueWorker;

/// Time that answers have to reach their clients once the jobs have ended.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A running worker, shared by everything that serves requests.
#[derive(Debug)]
pub(crate) struct Worker {
    supervisor: Supervisor,
    /// Every job that was accepted and not answered yet.
    jobs: TaskTracker,
    /// Set once no more jobs are taken.
    draining: CancellationToken,
    /// Cancels all jobs.
    cancelled: CancellationToken,
    /// Version of the interpreter that runs user code.
    python: String,
    api_key: Option<String>,
    max_body_bytes: usize,
    cancel_on_disconnect: bool,
}

/// How the worker is doing, computed whenever somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Starting,
    Ready,
    Unhealthy,
}

/// Why the worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// Its runners cannot be kept alive.
    Broken,
    /// A fitness check failed.
    Unfit,
}

/// Why the worker could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}\nhint: set HOST and PORT, or stop what listens there")]
    Listen {
        /// Host and port.
        address: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Queue mode without a queue.
    #[error(
        "there is no queue to serve: RUNPOD_WEBHOOK_GET_JOB is not set\nhint: the platform sets it; elsewhere use `--mode http`"
    )]
    NoQueue,
    /// Others than this machine could have it run their code.
    #[error(
        "`{0}` can be reached from other machines, and whoever calls it runs code here\nhint: set FARCALL_API_KEY, or say --insecure"
    )]
    Open(String),
    /// The local endpoint's queue cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no Python to run user code with.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// The system refused something else.
    #[error("cannot serve")]
    System(#[from] io::Error),
}

impl Worker {
    /// How the worker is doing.
    pub(crate) fn health(&self) -> Health {
        if self.draining.is_cancelled() {
            return Health::Unhealthy;
        }
        match self.supervisor.health() {
            PoolHealth::Starting => Health::Starting,
            PoolHealth::Ready => Health::Ready,
            PoolHealth::Failing => Health::Unhealthy,
        }
    }
}

/// Where a worker's jobs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// HTTP: the load-balancer worker.
    Http,
    /// The platform's job queue.
    Queue,
    /// An endpoint of its own.
    Local,
}

/// `farcall serve`: serves until SIGTERM, SIGINT, or runners that cannot be kept alive.
pub async fn serve(config: &Config, mode: Mode) -> Result<End, ServeError> {
    match mode {
        Mode::Http => serve_http(config).await,
        Mode::Local => serve_local(config).await,
        Mode::Queue => match &config.platform {
            Some(platform) => serve_queue(config, platform).await,
            None => Err(ServeError::NoQueue),
        },
    }
}

async fn serve_http(config: &Config) -> Result<End, ServeError> {
    let signals = Signals::new()?;
    let readiness = Readiness::start();
    // The port is taken first: probes find the worker starting, not absent.
    let listener = listen(&config.host, config.port).await?;
    let health_listener = match config.health_port {
        port if port == config.port => None,
        port => Some(listen(&config.host, port).await?),
    };
    let worker = Worker::start(config).await?;
    readiness.watch(&worker);
    info!(address = %listener.local_addr()?, "serving HTTP");
    tokio::spawn(tell_gpu(config.clone()));
    // Health checks are answered to the end: only that tells them that no more work is taken.
    let (servers, closing) = (TaskTracker::new(), CancellationToken::new());
    servers.spawn(http::serve(listener, http::routes(&worker), closing.clone()));
    if let Some(listener) = health_listener {
        servers.spawn(http::serve(listener, http::health_routes(&worker), closing.clone()));
    }
    let end = worker.run(config, signals).await;
    closing.cancel();
    servers.close();
    if tokio::time::timeout(LAST_ANSWERS, servers.wait()).await.is_err() {
        warn!("clients still connected are left behind");
    }
    info!("stopped");
    Ok(end)
}

async fn serve_local(config: &Config) -> Result<End, ServeError> {
    let mut signals = Signals::new()?;
    let readiness = Readiness::start();
    let is_loopback = check_address(config).await?;
    let listener = listen(&config.host, config.port).await?;
    let queue = OpenedQueue::open(config).await?;
    let worker = Worker::start(config).await?;
    readiness.watch(&worker);
    let endpoint = Endpoint::start(&worker, config, queue);
    let address = listener.local_addr()?;
    info!(%address, durable = !config.local.ephemeral, "serving HTTP");
    info!(url = format!("http://{address}/"), "the endpoint's page");
    tokio::spawn(tell_gpu(config.clone()));
    let (servers, closing) = (TaskTracker::new(), CancellationToken::new());
    let mut routes = endpoint.routes(is_loopback);
    if let Some(limit) = config.idle_exit {
        let idle = Idle::new(limit, worker.jobs.clone());
        routes = idle.watch(routes);
        signals.idle = Some(idle);
    }
    servers.spawn(http::serve(listener, routes, closing.clone()));
    let end = worker.run(config, signals).await;
    closing.cancel();
    servers.close();
    if tokio::time::timeout(LAST_ANSWERS, servers.wait()).await.is_err() {
        warn!("clients still connected are left behind");
    }
    endpoint.close().await;
    info!("stopped");
    Ok(end)
}

/// Whether only this machine can connect. Nobody else may without a key, unless that was asked for.
async fn check_address(config: &Config) -> Result<bool, ServeError> {
    let address = format!("{}:{}", config.host, config.port);
    let failed = |source| ServeError::Listen { address: address.clone(), source };
    let found = tokio::net::lookup_host((config.host.as_str(), config.port)).await.map_err(failed)?;
    let addresses: Vec<_> = found.map(|address| address.ip()).collect();
    if local::is_open_to_all(config, &addresses) {
        return Err(ServeError::Open(address));
    }
    Ok(addresses.iter().all(std::net::IpAddr::is_loopback))
}

async fn serve_queue(config: &Config, platform: &PlatformConfig) -> Result<End, ServeError> {
    let signals = Signals::new()?;
    let readiness = Readiness::start();
    let worker = Worker::start(config).await?;
    let queue = QueueWorker::new(Arc::clone(&worker), config, platform);
    for FitnessCheck { name, result } in check_fitness(config).await {
        match result {
            Ok(found) => info!(check = name, found, "fitness"),
            Err(reason) => {
                error!(check = name, reason, "this machine is not fit for work");
                queue.report_unfit(name, reason.lines().next().unwrap_or_default()).await;
                worker.supervisor.stop().await;
                return Ok(End::Unfit);
            }
        }
    }
    readiness.watch(&worker);
    let ended = CancellationToken::new();
    let taking = tokio::spawn(Arc::clone(&queue).run(ended.clone()));
    // Jobs whose response had begun to arrive are accepted before `run` counts what is left to do.
    let end = worker.run_after(config, signals, taking).await;
    ended.cancel();
    info!("stopped");
    Ok(end)
}

/// Says what GPU there is. Only a queue worker does not work without: others may be told by their load balancer.
async fn tell_gpu(config: Config) {
    match check_gpu(&config).await.map(|check| check.result) {
        Some(Ok(found)) => info!(found, "GPU"),
        Some(Err(reason)) => warn!(reason, "no GPU can be used"),
        None => {}
    }
}

/// What tells the worker to stop: signals, and that nobody needs it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    idle: Option<Idle>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            idle: None,
        })
    }

    async fn wait(&mut self) {
        let idle = self.idle.take(); // what insists on an end is a signal
        let over = async {
            match &idle {
                Some(idle) => idle.over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => {}
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Worker {
    /// Finds the interpreter and starts the first runner.
    async fn start(config: &Config) -> Result<Arc<Self>, InterpreterError> {
        let interpreter = Interpreter::find(config).await?;
        info!(python = interpreter.version, concurrency = config.concurrency, "starting runners");
        let log = LogSink::new(config.logs_as_json, std::env::vars());
        let size =
            PoolSize { concurrency: config.concurrency, spare: 1, kept: config.idle_runners, template: true };
        Ok(Arc::new(Self {
            python: interpreter.version.clone(),
            supervisor: Supervisor::start(config, interpreter, size, Some(log)),
            jobs: TaskTracker::new(),
            draining: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            api_key: config.api_key.clone(),
            max_body_bytes: config.max_body_bytes,
            cancel_on_disconnect: config.cancel_on_disconnect,
        }))
    }

    /// Works until told to stop, or until runners cannot be kept alive; then ends all jobs.
    async fn run(&self, config: &Config, signals: Signals) -> End {
        self.run_after(config, signals, tokio::spawn(async {})).await
    }

    /// The same, for jobs that another task brings: it ends by itself when the worker drains, and no job is
    /// counted out before.
    async fn run_after(&self, config: &Config, mut signals: Signals, bringing: JoinHandle<()>) -> End {
        let end = tokio::select! {
            () = signals.wait() => End::Stopped,
            () = self.supervisor.broken() => End::Broken,
        };
        self.draining.cancel();
        let _ = bringing.await;
        drain(self, config, signals.wait()).await;
        end
    }
}

/// Takes no more jobs, lets the running ones end, cancels them when their time is over or somebody insists, and
/// ends the runners. Every job is answered.
async fn drain(worker: &Worker, config: &Config, impatient: impl Future<Output = ()>) {
    info!(jobs = worker.jobs.len(), grace_s = config.shutdown_grace.as_secs(), "draining");
    worker.jobs.close();
    tokio::select! {
        () = worker.jobs.wait() => {}
        () = tokio::time::sleep(config.shutdown_grace) => warn!(jobs = worker.jobs.len(), "grace is over"),
        () = impatient => warn!(jobs = worker.jobs.len(), "told again to stop"),
    }
    worker.cancelled.cancel();
    worker.jobs.wait().await;
    worker.supervisor.stop().await;
}

async fn listen(host: &str, port: u16) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Listen { address: format!("{host}:{port}"), source };
    TcpListener::bind((host, port)).await.map_err(failed)
}
