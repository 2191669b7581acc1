//! `farcall env`: the environments that packages were installed into, for people.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::terminal::{Terminal, Tone};
use super::{CommandError, EXIT_USAGE};
use crate::config::Config;
use crate::environment::store::{Kept, Store};

/// Digits of a key that are shown, and that are enough to name one.
const SHOWN_KEY: usize = 12;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
    /// Write JSON: an object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List all environments, the most recently used first
    List,
    /// Show what an environment holds
    Show {
        /// The beginning of its key
        key: String,
    },
    /// Remove environments that are not in use, the least recently used first
    Prune {
        /// Keep so many GiB
        #[arg(long, value_name = "GIB", default_value_t = 0)]
        keep_gb: u32,
    },
}

pub(super) fn run(options: &Options, config: &Config, terminal: Terminal) -> Result<ExitCode, CommandError> {
    let store = Store::new(&config.cache_directory);
    match &options.command {
        Command::List => {
            let kept = store.list();
            if kept.is_empty() && !options.json {
                terminal.line("no environments: nothing has been installed for a request yet");
            }
            for kept in &kept {
                terminal.line(&if options.json { as_json(&store, kept).to_string() } else { summary(kept) });
            }
        }
        Command::Show { key } => {
            let kept = find(&store, key)?;
            if options.json {
                terminal.line(&as_json(&store, &kept).to_string());
            } else {
                show(&store, &kept, terminal);
            }
        }
        Command::Prune { keep_gb } => {
            let removed = store.prune(u64::from(*keep_gb) << 30);
            if options.json {
                removed.iter().for_each(|kept| terminal.line(&as_json(&store, kept).to_string()));
            } else {
                let bytes = removed.iter().map(|kept| kept.record.bytes).sum();
                let in_use = store.list().iter().filter(|kept| kept.in_use).count();
                let rest = if in_use > 0 { format!("; {in_use} in use kept") } else { String::new() };
                terminal.line(&format!("removed {} ({}){rest}", count(removed.len()), size(bytes)));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn find(store: &Store, key: &str) -> Result<Kept, CommandError> {
    let mut matching: Vec<Kept> = store.list().into_iter().filter(|kept| kept.key.starts_with(key)).collect();
    match matching.len() {
        1 => Ok(matching.remove(0)),
        0 => Err(usage(format!("there is no environment `{key}`\nhint: `farcall env list` lists them"))),
        several => {
            Err(usage(format!("`{key}` begins the keys of {several} environments\nhint: give more of it")))
        }
    }
}

fn usage(text: String) -> CommandError {
    CommandError { code: EXIT_USAGE, text }
}

fn summary(kept: &Kept) -> String {
    let record = &kept.record;
    format!(
        "{}  python {:8} {:>9}  used {:>12}{}  {}",
        &kept.key[..SHOWN_KEY.min(kept.key.len())],
        record.python,
        size(record.bytes),
        ago(kept.used),
        if kept.in_use { ", in use" } else { "" },
        record.requirements.join(" ")
    )
}

fn show(store: &Store, kept: &Kept, terminal: Terminal) {
    let record = &kept.record;
    let line = |name: &str, value: &str| {
        terminal.line(&format!("{} {value}", terminal.paint(Tone::Faint, &format!("{name:12}"))));
    };
    line("key", &kept.key);
    line("directory", &store.path(&kept.key).display().to_string());
    line("python", &format!("{} at {}", record.python, record.executable.display()));
    line("requested", &record.requirements.join(" "));
    line("installed", &record.installed.join(" "));
    if !record.shadowed.is_empty() {
        line("hides", &record.shadowed.join(" "));
    }
    line("size", &size(record.bytes));
    line("built in", &format!("{:.2} s", record.build_s));
    line("used", &format!("{}{}", ago(kept.used), if kept.in_use { ", in use now" } else { "" }));
}

fn as_json(store: &Store, kept: &Kept) -> Value {
    let used = kept.used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "key": kept.key,
        "directory": store.path(&kept.key),
        "used_at": used.as_secs(),
        "in_use": kept.in_use,
        "record": kept.record,
    })
}

fn count(environments: usize) -> String {
    format!("{environments} environment{}", if environments == 1 { "" } else { "s" })
}

/// `12.3 MiB`.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.1} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

/// `3 min ago`.
fn ago(time: SystemTime) -> String {
    let seconds = time.elapsed().unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86400),
    }
}
