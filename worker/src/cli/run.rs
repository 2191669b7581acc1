//! `farcall run`: a function of a file, run on an endpoint, and what it prints as it prints it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::CommandError;
use super::remote::{EndpointOptions, Remote, Told};
use super::terminal::{Terminal, Tone};
use crate::config::Config;

/// The job was cancelled: as a program that Ctrl-C ends.
const EXIT_CANCELLED: u8 = 130;
/// It took too long: as `timeout` says it.
const EXIT_TIMED_OUT: u8 = 124;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  farcall run code.py::add --args '[1, 2]'
  farcall run model.py::Model.generate --kwargs '{\"prompt\": \"hello\"}' --with torch
  farcall run train.py::train --endpoint abc123 --detach

What the code prints goes to standard output as it is printed, then the result as JSON.
Ctrl-C cancels the job.

Exit code: 0 completed, 1 failed, 124 timed out, 130 cancelled, 64 refused, 75 endpoint unreachable.")]
pub(super) struct Options {
    #[arg(help = "What to run: FILE.py::function or FILE.py::Class.method")]
    target: String,
    /// Arguments: a JSON array, or an object of keyword arguments
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
    /// Keyword arguments: a JSON object
    #[arg(long, value_name = "JSON")]
    kwargs: Option<String>,
    /// A package that the code needs, as pip names it; may be repeated
    #[arg(long = "with", value_name = "PACKAGE")]
    packages: Vec<String>,
    /// Seconds the call may run
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Only submit it, and print the job's id
    #[arg(long, short)]
    detach: bool,
    /// Write JSON: an event a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: EndpointOptions,
}

pub(super) async fn run(
    options: Options,
    config: &Config,
    terminal: &Terminal,
) -> Result<ExitCode, CommandError> {
    let remote = options.endpoint.connect(config)?;
    let mut job = json!({"input": options.request()?});
    if let Some(seconds) = options.timeout {
        if !(seconds.is_finite() && seconds > 0.0) {
            return Err(CommandError::usage("--timeout is not a number of seconds above 0"));
        }
        job["policy"] = json!({"executionTimeout": (seconds * 1000.0).ceil()});
    }
    let submitted = remote.post("run", &job).await?;
    let id = submitted["id"].as_str().unwrap_or_default().to_owned();
    if options.detach {
        terminal.line(&if options.json { submitted.to_string() } else { id });
        return Ok(ExitCode::SUCCESS);
    }
    let document = tokio::select! {
        document = remote.follow(&id, true, |told| show(told, options.json, *terminal)) => document?,
        _ = tokio::signal::ctrl_c() => return cancel(&remote, &id, *terminal).await,
    };
    Ok(finish(&document, &id, options.json, *terminal))
}

async fn cancel(remote: &Remote, id: &str, terminal: Terminal) -> Result<ExitCode, CommandError> {
    remote.post(&format!("cancel/{id}"), &json!({})).await?;
    Ok(terminal.fail(EXIT_CANCELLED, &format!("job {id} was cancelled")))
}

/// Shows an event as it comes.
pub(super) fn show(told: &Told, as_json: bool, terminal: Terminal) {
    if as_json {
        let Told { event, id, data } = told;
        return terminal.line(&json!({"event": event, "id": id, "data": data}).to_string());
    }
    match told.event.as_str() {
        "output" => {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(told.data["text"].as_str().unwrap_or_default().as_bytes());
            let _ = out.flush();
        }
        "chunk" if told.data.get("error").is_none() => {
            let pickle = told.data["result"].as_str().map(|_| json!("(a pickle)"));
            terminal.line(&pickle.unwrap_or_else(|| told.data["json_result"].clone()).to_string());
        }
        "progress" => {
            let text = format!("progress: {}", told.data);
            let _ = writeln!(std::io::stderr().lock(), "{}", terminal.paint(Tone::Faint, &text));
        }
        _ => {}
    }
}

/// Shows how a job ended. Returns the exit code that says it.
pub(super) fn finish(document: &Value, id: &str, as_json: bool, terminal: Terminal) -> ExitCode {
    let code = match document["status"].as_str() {
        Some("COMPLETED") => 0,
        Some("TIMED_OUT") => EXIT_TIMED_OUT,
        Some("CANCELLED") => EXIT_CANCELLED,
        _ => 1,
    };
    if as_json {
        return code.into();
    }
    if code != 0 {
        let error = document["error"].as_str().unwrap_or("it has ended without a reason");
        return terminal.fail(code, &format!("job {id}: {}", error.trim_end()));
    }
    match &document["output"] {
        Value::Object(answer) if answer.contains_key("success") => {
            let result = answer.get("json_result").filter(|result| !result.is_null());
            if let Some(result) = result {
                terminal.line(&result.to_string());
            }
        }
        // Its items were shown as they came.
        Value::Array(_) | Value::Null => {}
        other => terminal.line(&other.to_string()),
    }
    code.into()
}

impl Options {
    /// The `FunctionRequest`.
    fn request(&self) -> Result<Value, CommandError> {
        let (file, name) = self.target.rsplit_once("::").ok_or_else(|| {
            CommandError::usage(format!(
                "`{}` is not FILE.py::function or FILE.py::Class.method",
                self.target
            ))
        })?;
        let code = std::fs::read_to_string(PathBuf::from(file))
            .map_err(|error| CommandError::usage(format!("cannot read `{file}`: {error}")))?;
        let (args, mut kwargs) = arguments(self.args.as_deref())?;
        if let Some(text) = &self.kwargs {
            let given: Map<String, Value> = parse("--kwargs", "a JSON object", text)?;
            kwargs.extend(given);
        }
        let mut request = match name.split_once('.') {
            None => json!({"execution_type": "function", "function_name": name, "function_code": code}),
            Some((class, method)) => json!({
                "execution_type": "class", "class_name": class, "class_code": code, "method_name": method,
            }),
        };
        request["args"] = args.into();
        request["kwargs"] = kwargs.into();
        request["serialization_format"] = "json".into();
        if !self.packages.is_empty() {
            request["dependencies"] = json!(self.packages);
        }
        Ok(request)
    }
}

fn arguments(given: Option<&str>) -> Result<(Vec<Value>, Map<String, Value>), CommandError> {
    match given.map(|text| parse("--args", "a JSON array or object", text)).transpose()? {
        None => Ok((Vec::new(), Map::new())),
        Some(Value::Array(args)) => Ok((args, Map::new())),
        Some(Value::Object(kwargs)) => Ok((Vec::new(), kwargs)),
        Some(_) => Err(CommandError::usage("--args is not a JSON array or object")),
    }
}

fn parse<T: serde::de::DeserializeOwned>(option: &str, what: &str, text: &str) -> Result<T, CommandError> {
    serde_json::from_str(text)
        .map_err(|error| CommandError::usage(format!("{option} is not {what}: {error}")))
}
