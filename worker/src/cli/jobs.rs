//! `farcall jobs`: the jobs of an endpoint, the latest first.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::CommandError;
use super::remote::EndpointOptions;
use super::terminal::{Terminal, Tone};
use crate::config::Config;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 listed, 64 refused, 75 endpoint unreachable. Endpoints on RunPod have no such list.")]
pub(super) struct Options {
    /// Only those with this status, such as FAILED
    #[arg(long)]
    status: Option<String>,
    /// Only those whose id or name begins so
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: u16,
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
    let mut query = vec![("limit", options.limit.to_string())];
    query.extend(options.status.clone().map(|status| ("status", status)));
    query.extend(options.search.clone().map(|search| ("search", search)));
    let listed = remote.get("jobs", &query).await?;
    let jobs = listed["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if jobs.is_empty() && !options.json {
        terminal.line("no jobs");
    }
    for job in jobs {
        terminal.line(&if options.json { job.to_string() } else { summary(job, *terminal) });
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(job: &Value, terminal: Terminal) -> String {
    let text = |field: &str| job[field].as_str().unwrap_or_default();
    let status = text("status");
    let tone = match status {
        "COMPLETED" => Tone::Good,
        "FAILED" | "TIMED_OUT" => Tone::Bad,
        "IN_PROGRESS" => Tone::Warning,
        _ => Tone::Faint,
    };
    let times =
        format!("waited {:>8}  ran {:>8}", duration(&job["delayTime"]), duration(&job["executionTime"]));
    format!(
        "{:44}  {}  {}  {}{}",
        text("id"),
        terminal.paint(tone, &format!("{status:11}")),
        terminal.paint(Tone::Faint, &times),
        text("name"),
        job["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default()
    )
}

/// `12 ms`, `3.4 s`, `5.6 min`.
fn duration(milliseconds: &Value) -> String {
    let milliseconds = milliseconds.as_f64().unwrap_or_default();
    match milliseconds {
        ..1e3 => format!("{milliseconds:.0} ms"),
        ..6e4 => format!("{:.1} s", milliseconds / 1e3),
        ..3.6e6 => format!("{:.1} min", milliseconds / 6e4),
        _ => format!("{:.1} h", milliseconds / 3.6e6),
    }
}
