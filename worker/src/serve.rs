//! The long-lived worker: what feeds it jobs, and its way down.

mod execute;
mod http;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::interpreter::Interpreter;
use crate::output_log::LogSink;
use crate::runner::pool::{PoolHealth, PoolSize};
use crate::supervisor::Supervisor;

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

/// `farcall serve --mode http`: serves until SIGTERM, SIGINT, or runners that cannot be kept alive.
pub async fn serve_http(config: &Config) -> Result<End, ServeError> {
    // The port is taken first: probes find the worker starting, not absent.
    let listener = listen(&config.host, config.port).await?;
    let health_listener = match config.health_port {
        port if port == config.port => None,
        port => Some(listen(&config.host, port).await?),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let interpreter = match Interpreter::find(config).await {
        Ok(interpreter) => interpreter,
        Err(error) => {
            error!(%error, "no usable interpreter");
            return Ok(End::Broken);
        }
    };
    info!(address = %listener.local_addr()?, python = interpreter.version, "serving HTTP");
    let log = LogSink::new(config.logs_as_json, std::env::vars());
    let size = PoolSize { concurrency: config.concurrency, spare: 1, template: true };
    let worker = Arc::new(Worker {
        supervisor: Supervisor::start(config, interpreter, size, Some(log)),
        jobs: TaskTracker::new(),
        draining: CancellationToken::new(),
        cancelled: CancellationToken::new(),
        api_key: config.api_key.clone(),
        max_body_bytes: config.max_body_bytes,
        cancel_on_disconnect: config.cancel_on_disconnect,
    });
    // Health checks are answered to the end: only that tells them that no more work is taken.
    let (servers, closing) = (TaskTracker::new(), CancellationToken::new());
    servers.spawn(http::serve(listener, http::routes(&worker), closing.clone()));
    if let Some(listener) = health_listener {
        servers.spawn(http::serve(listener, http::health_routes(&worker), closing.clone()));
    }

    let end = tokio::select! {
        _ = terminate.recv() => End::Stopped,
        _ = interrupt.recv() => End::Stopped,
        () = worker.supervisor.broken() => End::Broken,
    };
    let impatient = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    drain(&worker, config, impatient).await;
    closing.cancel();
    servers.close();
    if tokio::time::timeout(LAST_ANSWERS, servers.wait()).await.is_err() {
        warn!("clients still connected are left behind");
    }
    info!("stopped");
    Ok(end)
}

/// Takes no more jobs, lets the running ones end, cancels them when their time is over or somebody insists, and
/// ends the runners. Every job is answered.
async fn drain(worker: &Worker, config: &Config, impatient: impl Future<Output = ()>) {
    info!(jobs = worker.jobs.len(), grace_s = config.shutdown_grace.as_secs(), "draining");
    worker.draining.cancel();
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
