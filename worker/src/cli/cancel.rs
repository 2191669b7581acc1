//! `farcall cancel`: ends jobs, waiting or running.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::CommandError;
use super::remote::EndpointOptions;
use super::terminal::Terminal;
use crate::config::Config;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 all of them are cancelled, 1 some had ended before, 64 refused, 75 endpoint unreachable.")]
pub(super) struct Options {
    /// Ids of jobs
    #[arg(required = true)]
    jobs: Vec<String>,
    /// Write JSON: a job a line
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
    let mut all_cancelled = true;
    for job in &options.jobs {
        let answer = remote.post(&format!("cancel/{job}"), &json!({})).await?;
        let status = answer["status"].as_str().unwrap_or_default();
        all_cancelled &= status == "CANCELLED";
        terminal.line(&if options.json { answer.to_string() } else { format!("{job}  {status}") });
    }
    Ok(u8::from(!all_cancelled).into())
}
