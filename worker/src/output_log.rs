//! Output of calls in the worker's own log: a line at a time, as it is printed.
//!
//! On the platform (`RUNPOD_ENDPOINT_ID` is set) each line is a JSON object `{"requestId", "message", "level"}`,
//! which its log viewer reads (contract 2.11); elsewhere the line follows its job's id. Values of variables
//! that are named as secrets are masked. A log that nobody reads holds no call up: lines are dropped and
//! counted.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use aho_corasick::AhoCorasick;
use serde::Serialize;

/// Text that may wait to be written, in bytes.
const WAITING_BYTES: usize = 4 << 20;

/// Text that is written without gathering more of it: a pipe's default capacity.
const WRITTEN_BYTES: usize = 64 << 10;

/// Longest line written, in bytes; a longer one loses its middle.
const LONGEST_LINE: usize = 4096;

/// Words in the names of variables whose values are secrets.
const SECRET_NAMES: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"];

/// Shorter values are no secrets worth the name, and would mask ordinary text.
const SHORTEST_SECRET: usize = 8;

/// Where the lines of all calls go.
#[derive(Debug, Clone)]
pub struct LogSink(Arc<Sink>);

#[derive(Debug)]
struct Sink {
    lines: Sender<Lines>,
    backlog: Arc<Backlog>,
    secrets: Option<AhoCorasick>,
    as_json: bool,
}

/// What has not been written yet.
#[derive(Debug, Default)]
struct Backlog {
    waiting_bytes: AtomicUsize,
    dropped_lines: AtomicU64,
}

/// Lines as they are written, gathered from a piece of output.
#[derive(Debug, Default)]
struct Lines {
    text: String,
    count: u64,
}

/// A line on the platform.
#[derive(Serialize)]
struct JsonLine<'a> {
    #[serde(rename = "requestId")]
    job: &'a str,
    message: &'a str,
    level: &'static str,
}

/// The lines of one call.
#[derive(Debug, Clone)]
pub struct OutputLog {
    sink: LogSink,
    job: String,
    line: String,
}

impl LogSink {
    /// Writes lines to standard output; `environment` tells the secrets to mask.
    pub fn new(as_json: bool, environment: impl Iterator<Item = (String, String)>) -> Self {
        let (lines, waiting) = channel();
        let backlog = Arc::<Backlog>::default();
        let written = Arc::clone(&backlog);
        // A thread of its own: standard output may block for as long as its reader likes.
        let writer = thread::Builder::new().name("farcall-log".to_owned());
        let _ = writer.spawn(move || write_lines(&waiting, &written));
        Self(Arc::new(Sink { lines, backlog, secrets: secrets(environment), as_json }))
    }

    /// The log of one job.
    pub fn of_job(&self, job: &str) -> OutputLog {
        OutputLog { sink: self.clone(), job: job.to_owned(), line: String::new() }
    }

    fn add(&self, lines: &mut Lines, job: &str, line: &str) {
        let Sink { secrets, as_json, .. } = &*self.0;
        let masked = match secrets {
            Some(secrets) => Cow::Owned(secrets.replace_all(line, &vec!["********"; secrets.patterns_len()])),
            None => Cow::Borrowed(line),
        };
        let message = &*shorten(&masked);
        let Lines { text, count } = lines;
        if *as_json {
            let line = JsonLine { job, message, level: "INFO" };
            text.push_str(&serde_json::to_string(&line).expect("strings always serialise"));
        } else {
            text.extend([job, " | ", message]);
        }
        text.push('\n');
        *count += 1;
    }

    fn send(&self, lines: Lines) {
        let Sink { lines: sender, backlog, .. } = &*self.0;
        let bytes = lines.text.len();
        if backlog.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_BYTES {
            backlog.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            backlog.dropped_lines.fetch_add(lines.count, Ordering::Relaxed);
        } else if bytes > 0 {
            let _ = sender.send(lines); // without a thread to take it, there is no log
        }
    }
}

impl OutputLog {
    /// Takes a piece of output; whole lines are written.
    pub fn push(&mut self, text: &str) {
        let mut lines = Lines::default();
        for piece in text.split_inclusive('\n') {
            // A line that is whole as it comes needs no copy.
            let begun = std::mem::take(&mut self.line);
            let line = if begun.is_empty() { Cow::Borrowed(piece) } else { Cow::Owned(begun + piece) };
            // A progress bar or binary data is cut anyway.
            if piece.ends_with('\n') || line.len() > 2 * LONGEST_LINE {
                self.sink.add(&mut lines, &self.job, line.trim_end_matches(['\n', '\r']));
            } else {
                self.line = line.into_owned();
            }
        }
        self.sink.send(lines);
    }

    /// The output is over: a last line without an end is written, too.
    pub fn end(&mut self) {
        if !self.line.is_empty() {
            self.push("\n");
        }
    }
}

fn write_lines(waiting: &Receiver<Lines>, backlog: &Backlog) {
    let mut text = String::new();
    while let Ok(first) = waiting.recv() {
        let missing = backlog.dropped_lines.swap(0, Ordering::Relaxed);
        if missing > 0 {
            text = format!("[farcall: {missing} lines left out here: the log is not read fast enough]\n");
        }
        // What waits goes in one write: a write for each line is most of what a chatty call costs.
        for lines in std::iter::once(first).chain(waiting.try_iter()) {
            text.push_str(&lines.text);
            backlog.waiting_bytes.fetch_sub(lines.text.len(), Ordering::Relaxed);
            if text.len() > WRITTEN_BYTES {
                break;
            }
        }
        let _ = std::io::stdout().write_all(text.as_bytes());
        text.clear();
    }
}

fn secrets(environment: impl Iterator<Item = (String, String)>) -> Option<AhoCorasick> {
    let is_secret = |(name, value): &(String, String)| {
        let name = name.to_ascii_uppercase();
        value.len() >= SHORTEST_SECRET && SECRET_NAMES.iter().any(|word| name.contains(word))
    };
    let mut values: Vec<String> = environment.filter(is_secret).map(|(_, value)| value).collect();
    // Of two that overlap, the longer one is masked whole.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    if values.is_empty() {
        return None;
    }
    AhoCorasick::builder().match_kind(aho_corasick::MatchKind::LeftmostFirst).build(values).ok()
}

/// The platform's log keeps 4 KiB of a line; the end is worth as much as the beginning.
fn shorten(line: &str) -> Cow<'_, str> {
    if line.len() <= LONGEST_LINE {
        return line.into();
    }
    let half = LONGEST_LINE / 2;
    let (head, tail) = (line.floor_char_boundary(half), line.ceil_char_boundary(line.len() - half));
    format!("{} [... {} bytes ...] {}", &line[..head], tail - head, &line[tail..]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Option<AhoCorasick> {
        secrets(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn values_of_variables_named_as_secrets_are_secrets() {
        let found =
            environment(&[("HF_TOKEN", "hf_abcdefgh"), ("my_api_key", "0123456789"), ("HOME", "/home/user")]);
        let found = found.unwrap();
        assert_eq!(found.replace_all("x hf_abcdefgh 0123456789 /home/user", &["*", "*"]), "x * * /home/user");
        assert!(environment(&[("TOKEN", "short"), ("PATH", "/usr/bin:/bin")]).is_none());
    }

    #[test]
    fn a_long_line_loses_its_middle() {
        let whole = "é".repeat(4000);
        let line = shorten(&whole);
        assert!(line.len() < LONGEST_LINE + 50 && line.contains(" [... 3904 bytes ...] "), "{}", line.len());
    }
}
