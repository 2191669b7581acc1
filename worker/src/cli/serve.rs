//! `farcall serve`: the long-lived worker.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{CommandError, EXIT_UNAVAILABLE};
use crate::config::Config;
use crate::serve::{End, serve_http};

#[derive(Debug, Args)]
#[command(after_help = "\
HTTP mode answers
  GET  /ping      204 while starting, 200 when ready, 503 when unhealthy
  POST /execute   a FunctionRequest, with its FunctionResponse; with
                  `Accept: text/event-stream`, with events as they happen

SIGTERM stops it: running calls may end, then are cancelled and answered (FARCALL_GRACE_S).
Exit code: 0 stopped, 64 wrong configuration, 75 runners cannot be kept alive.")]
pub(super) struct Options {
    /// Where requests come from
    #[arg(long, value_enum, default_value_t = Mode::Http)]
    mode: Mode,
    /// Address to listen on [default: HOST, else 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 picks a free one [default: PORT, else 8000]
    #[arg(long)]
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// The load-balancer worker: requests by HTTP
    Http,
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
    let end = match options.mode {
        Mode::Http => serve_http(&config).await?,
    };
    Ok(match end {
        End::Stopped => ExitCode::SUCCESS,
        End::Broken => EXIT_UNAVAILABLE.into(),
    })
}
