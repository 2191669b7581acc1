//! `farcall test-handler`: requests from files, one after another on one runner, checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use farcall_protocol::FunctionResponse;
use serde::Serialize;

use super::CommandError;
use super::case::{Case, plain_result};
use super::progress::ProgressLine;
use super::terminal::{Terminal, Tone, indent};
use crate::config::Config;
use crate::interpreter::Interpreter;
use crate::job::Job;
use crate::runner::pool::PoolSize;
use crate::supervisor::Supervisor;

/// Where RunPod's local test mode looks for a request.
const DEFAULT_INPUT: &str = "test_input.json";

/// Longest result shown beside a file's name, in characters.
const SHOWN_RESULT: usize = 80;

#[derive(Debug, Args)]
#[command(after_help = "\
A file holds one FunctionRequest, bare or as {\"input\": {...}}, and optionally \"expect\":
  success, result, json_result, error, error_contains, stdout, stdout_contains,
  instance_id, instance_info (the members given)
Files of a directory run in the order of their names and share one runner, so state lives
from one to the next. Exit code: 0 all as expected, 1 not, 64 nothing could be run.")]
pub(super) struct Options {
    #[arg(
        help = "Request files, or directories of *.json [default: ./test_input.json, as RunPod's local test]"
    )]
    paths: Vec<PathBuf>,
    /// Run this request instead of a file
    #[arg(long = "test_input", visible_alias = "test-input", value_name = "JSON", conflicts_with = "paths")]
    test_input: Option<String>,
    /// Write one JSON object a file to standard output, and nothing else
    #[arg(long)]
    json: bool,
    /// Show what each call printed
    #[arg(long, short, conflicts_with = "json")]
    output: bool,
}

/// What `--json` writes for a file.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a str,
    ok: bool,
    duration_ms: f64,
    response: &'a FunctionResponse,
}

pub(super) async fn run(
    options: Options,
    config: &Config,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let local_test = options.paths.is_empty();
    let cases = match &options.test_input {
        Some(json) => vec![Case::read("--test_input".to_owned(), json.clone().into_bytes())?],
        None if local_test => {
            if !Path::new(DEFAULT_INPUT).is_file() {
                return Ok(terminal.fail(1, "test_input.json not found, exiting."));
            }
            Case::read_all(&[DEFAULT_INPUT.into()])?
        }
        None => Case::read_all(&options.paths)?,
    };
    let interpreter = Interpreter::find(config).await?;
    let size = PoolSize { concurrency: 1, spare: 0, kept: config.idle_runners, template: false };
    let supervisor = Supervisor::start(config, interpreter, size, None);
    let started = Instant::now();
    let mut failed = 0;
    for case in &cases {
        let begun = Instant::now();
        let response = execute(&supervisor, case).await;
        let duration = begun.elapsed();
        let failures = case.check(&response);
        failed += usize::from(!failures.is_empty());
        if options.json {
            let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
            let report =
                Report { file: &case.name, ok: failures.is_empty(), duration_ms, response: &response };
            terminal.line(&serde_json::to_string(&report)?);
        } else {
            let report = Shown { case, response: &response, duration, failures: &failures };
            report.show(options.output, *terminal);
        }
    }
    if !options.json {
        let (passed, seconds) = (cases.len() - failed, started.elapsed().as_secs_f64());
        let summary = format!("{passed} passed, {failed} failed in {seconds:.2} s");
        terminal.line(&terminal.paint(if failed == 0 { Tone::Good } else { Tone::Bad }, &summary));
    }
    supervisor.stop().await;
    Ok(u8::from(failed > 0).into())
}

/// Runs a case; on a terminal, a line tells what is waited for meanwhile.
async fn execute(supervisor: &Supervisor, case: &Case) -> FunctionResponse {
    let mut job = Job::new(&*case.name, case.request.clone());
    let Some((line, follower)) = ProgressLine::begin() else {
        return supervisor.execute(job).await.into_response();
    };
    job.follower = Some(follower);
    let response = supervisor.execute(job).await.into_response();
    line.end().await;
    response
}

/// A case that has run, on its way to a person.
#[derive(Debug)]
struct Shown<'a> {
    case: &'a Case,
    response: &'a FunctionResponse,
    duration: Duration,
    failures: &'a [String],
}

impl Shown<'_> {
    fn show(&self, with_output: bool, terminal: Terminal) {
        let Self { case, response, duration, failures } = *self;
        let (mark, tone) = if failures.is_empty() { ("✓", Tone::Good) } else { ("✗", Tone::Bad) };
        let milliseconds = format!("{:7.1} ms", duration.as_secs_f64() * 1e3);
        let answer = if failures.is_empty() { answer(response) } else { failures[0].clone() };
        terminal.line(&format!(
            "{} {:32} {}  {answer}",
            terminal.paint(tone, mark),
            case.name,
            terminal.paint(Tone::Faint, &milliseconds)
        ));
        for failure in failures.iter().skip(1) {
            terminal.line(&indent(failure, 4));
        }
        let sections = [
            ("error", response.error.as_deref().filter(|_| !failures.is_empty())),
            ("output", response.stdout.as_deref().filter(|_| with_output || !failures.is_empty())),
        ];
        for (title, text) in sections {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                if !failures.is_empty() {
                    terminal.line(&indent(&format!("{title}:"), 4));
                }
                terminal.line(&terminal.paint(Tone::Faint, &indent(text, 6)));
            }
        }
    }
}

/// A short form of what came back.
fn answer(response: &FunctionResponse) -> String {
    if let Some(error) = &response.error {
        let first = error.lines().next().unwrap_or_default();
        return format!("error: {}", shorten(first));
    }
    match plain_result(response) {
        Some(value) => shorten(&value.to_string()),
        None => {
            format!("a pickle of {} bytes", response.result.as_ref().map_or(0, |result| result.len() / 4 * 3))
        }
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= SHOWN_RESULT {
        return text.to_owned();
    }
    text.chars().take(SHOWN_RESULT - 1).chain(['…']).collect()
}
