//! `farcall logs`: what a job has printed, and prints.

use std::process::ExitCode;

use clap::Args;

use super::CommandError;
use super::remote::{EndpointOptions, is_final};
use super::run::{finish, show};
use super::terminal::Terminal;
use crate::config::Config;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 shown; with --follow, how the job ended: 0 completed, 1 failed, 124 timed out,
130 cancelled; 64 refused, 75 endpoint unreachable.")]
pub(super) struct Options {
    /// The job's id
    job: String,
    /// Go on until the job is over
    #[arg(long, short)]
    follow: bool,
    /// Write JSON: an event a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: EndpointOptions,
}

pub(super) async fn run(
    options: &Options,
    config: &Config,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let remote = options.endpoint.connect(config)?;
    let told = remote.follow(&options.job, options.follow, |told| show(told, options.json, *terminal));
    let document = told.await?;
    if !is_final(&document) {
        return Ok(ExitCode::SUCCESS);
    }
    let ended = finish(&document, &options.job, options.json, *terminal);
    Ok(if options.follow { ended } else { ExitCode::SUCCESS })
}
