//! `farcall serve`: the long-lived worker.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tracing::info;

use super::{CommandError, EXIT_UNAVAILABLE};
use crate::config::{Config, SuggestedMode};
use crate::serve::{self, End, serve};

#[derive(Debug, Args)]
#[command(after_help = "\
Local mode is an endpoint like RunPod's in one process: queue, API and a page to look at
  POST /v2/ID/run, /v2/ID/runsync, GET /v2/ID/status/JOB and so on; GET /docs lists all
  GET  /          the page

HTTP mode answers (and local mode does, too)
  GET  /ping      204 while starting, 200 when ready, 503 when unhealthy
  POST /execute   a FunctionRequest, with its FunctionResponse; with
                  `Accept: text/event-stream`, with events as they happen

SIGTERM stops it: running calls may end, then are cancelled and answered (FARCALL_GRACE_S).
Queue mode takes jobs from RunPod's queue, as its variables say.

Exit code: 0 stopped, 1 unfit machine, 64 wrong configuration, 75 runners cannot be kept alive.")]
pub(super) struct Options {
    /// Where requests come from [default: what the platform's variables say, else local]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Address to listen on [default: HOST, else 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 picks a free one [default: PORT, else 8000]
    #[arg(long)]
    port: Option<u16>,
    /// Local mode: keep the queue in memory only
    #[arg(long)]
    ephemeral: bool,
    /// Local mode: let other machines call without an API key
    #[arg(long)]
    insecure: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// The load-balancer worker: requests by HTTP
    Http,
    /// The queue worker: jobs from RunPod's queue
    Queue,
    /// An endpoint of its own: a durable queue, RunPod's API, a page
    Local,
}

pub(super) async fn run(options: Options, config: &Config) -> Result<ExitCode, CommandError> {
    let mut config = config.clone();
    if let Some(host) = options.host {
        config.host = host;
    }
    if let Some(port) = options.port {
        if config.health_port == config.port {
            config.health_port = port;
        }
        config.port = port;
    }
    config.local.ephemeral = options.ephemeral;
    config.local.insecure = options.insecure;
    let (mode, because) = choose(options.mode, config.suggested_mode);
    info!(?mode, because, "mode");
    Ok(match serve(&config, mode).await? {
        End::Stopped => ExitCode::SUCCESS,
        End::Broken => EXIT_UNAVAILABLE.into(),
        End::Unfit => ExitCode::FAILURE,
    })
}

/// The mode to serve in, and why.
fn choose(asked: Option<Mode>, suggested: SuggestedMode) -> (serve::Mode, &'static str) {
    match (asked, suggested) {
        (Some(Mode::Http), _) => (serve::Mode::Http, "--mode"),
        (Some(Mode::Queue), _) => (serve::Mode::Queue, "--mode"),
        (Some(Mode::Local), _) => (serve::Mode::Local, "--mode"),
        (None, SuggestedMode::Queue) => (serve::Mode::Queue, "RUNPOD_WEBHOOK_GET_JOB"),
        (None, SuggestedMode::LoadBalancer(because)) => (serve::Mode::Http, because),
        (None, SuggestedMode::None) => (serve::Mode::Local, "no platform"),
    }
}
