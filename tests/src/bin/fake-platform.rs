//! The fake platform by hand:
//! `fake-platform [--host ADDRESS] [--port N] [--worker ID] [--slots N] [--requests FILE] [--preload N [--input JSON]]`.
//!
//! Prints what to put in a shell for a worker and for the clients, then serves. With `--preload` it queues so
//! many identical jobs, waits for their answers, reports how long they took, and ends; otherwise it ends with
//! its standard input. Every request is then in the file, a line of JSON each.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::platform::{Platform, Settings};
use serde_json::{Value, json};

/// What is waited for the answers at most.
const LIMIT: Duration = Duration::from_mins(10);

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "{problem}");
            ExitCode::from(64)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let arguments = arguments()?;
    let number = |name: &str| match arguments.get(name) {
        Some(text) => text.parse::<usize>().map(Some).map_err(|error| format!("--{name} `{text}`: {error}")),
        None => Ok(None),
    };
    let preload = number("preload")?.unwrap_or(0);
    let defaults = Settings::default();
    let port = u16::try_from(number("port")?.unwrap_or(0)).map_err(|error| format!("--port: {error}"))?;
    let host = match arguments.get("host") {
        Some(text) => text.parse().map_err(|error| format!("--host `{text}`: {error}"))?,
        None => defaults.host,
    };
    let requests = arguments.get("requests");
    let record = requests.is_some();
    let platform = Platform::with(Settings { host, port, record, slots: number("slots")?, ..defaults });
    let worker = arguments.get("worker").map_or("worker-1", String::as_str);
    let mut output = std::io::stdout();
    let mut say = |line: String| writeln!(output, "{line}").and_then(|()| output.flush());
    let variables = platform.env(worker).into_iter().chain(platform.client_env());
    for (name, value) in variables {
        say(format!("export {name}='{value}'")).map_err(|error| error.to_string())?;
    }
    say(format!("# listening on {}", platform.address())).map_err(|error| error.to_string())?;
    if preload == 0 {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    } else {
        let input = arguments.get("input").map_or(r#"{"x":1}"#, String::as_str);
        let input: Value = serde_json::from_str(input).map_err(|error| format!("--input: {error}"))?;
        let report = measure(&platform, preload, &input);
        say(report.to_string()).map_err(|error| error.to_string())?;
    }
    if let Some(path) = requests {
        write_requests(&platform, path).map_err(|error| format!("--requests `{path}`: {error}"))?;
    }
    let violations = platform.violations();
    for violation in &violations {
        say(format!("# {violation:?}")).map_err(|error| error.to_string())?;
    }
    Ok(if violations.is_empty() && platform.open_jobs() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// From the first job handed out to the last answer, as one line of JSON.
fn measure(platform: &Platform, count: usize, input: &Value) -> Value {
    let ids = platform.submit_many(count, input);
    let started = platform.wait_for_first(LIMIT).then(|| (Instant::now(), SystemTime::now()));
    let complete = platform.wait_for_all(LIMIT);
    let seconds = started.map_or(0.0, |(started, _)| started.elapsed().as_secs_f64());
    let first_take = started.and_then(|(_, time)| time.duration_since(UNIX_EPOCH).ok());
    let done = ids.len() - platform.open_jobs();
    #[expect(clippy::cast_precision_loss, reason = "counts of jobs are small")]
    let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
    json!({
        "jobs": done, "complete": complete, "seconds": seconds, "jobs_per_s": rate,
        "requeued": platform.requeued(), "violations": platform.violations().len(),
        "first_take_unix_s": first_take.map(|time| time.as_secs_f64()),
    })
}

fn write_requests(platform: &Platform, path: &str) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let requests = platform.requests();
    let first = requests.first().map(|request| request.at);
    for request in requests {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers: BTreeMap<_, _> =
            request.headers.iter().map(|(name, value)| (name.as_str(), text(value.as_bytes()))).collect();
        let since_first = first.map(|first| request.at.saturating_duration_since(first).as_secs_f64() * 1e3);
        let line = json!({
            "at_ms": since_first, "route": format!("{:?}", request.route), "method": request.method.as_str(),
            "uri": request.uri.to_string(), "headers": headers, "body": text(&request.body),
        });
        writeln!(file, "{line}")?;
    }
    file.flush()
}

fn arguments() -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.strip_prefix("--").filter(|name| {
            ["host", "port", "worker", "preload", "input", "slots", "requests"].contains(name)
        });
        let (Some(name), Some(value)) = (name, arguments.next()) else {
            return Err(format!(
                "`{argument}` is none of --host, --port, --worker, --slots, --requests, --preload, --input, with a value"
            ));
        };
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}
