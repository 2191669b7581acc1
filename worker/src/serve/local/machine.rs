//! What the page shows of the worker itself: its runners, its environments.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::Endpoint;
use crate::environment::store::Store as Environments;

impl Endpoint {
    /// The worker: what it is, and the processes it has.
    pub(super) fn describe(&self) -> Value {
        let queue = self.queue();
        let uptime: Duration = self.started.elapsed();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "python": self.worker.python,
            "concurrency": self.concurrency,
            "running": queue.running,
            "uptimeMs": u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            "durable": !self.config.ephemeral,
            "payloadBytes": queue.payload_bytes,
            "memoryBytes": resident_bytes("/proc/self"),
            "runners": processes(),
        })
    }

    /// The environments of packages on this machine.
    pub(super) async fn environments(&self) -> Value {
        let store = Environments::new(&self.cache_directory);
        let kept = tokio::task::spawn_blocking(move || store.list()).await.unwrap_or_default();
        let rows = kept.iter().map(|kept| {
            json!({
                "key": kept.key,
                "python": kept.record.python,
                "requirements": kept.record.requirements,
                "installed": kept.record.installed,
                "bytes": kept.record.bytes,
                "buildSeconds": kept.record.build_s,
                "inUse": kept.in_use,
                "usedSecondsAgo": kept.used.elapsed().unwrap_or_default().as_secs(),
            })
        });
        Value::Array(rows.collect())
    }
}

/// Our child processes: the runners, the one they are forked from, and whatever installs.
fn processes() -> Vec<Value> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let children = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .collect::<Vec<_>>()
        .join(" ");
    let mut processes: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    processes.sort_unstable();
    processes.into_iter().filter_map(describe_process).collect()
}

fn describe_process(pid: u32) -> Option<Value> {
    let directory = format!("/proc/{pid}");
    let name = fs::read_to_string(Path::new(&directory).join("comm")).ok()?;
    let status = fs::read_to_string(Path::new(&directory).join("stat")).ok()?;
    // The name in parentheses may hold anything; what follows it does not.
    let state = status.rsplit(") ").next()?.chars().next()?;
    let state = match state {
        'R' => "runs",
        'S' | 'D' => "waits",
        'T' | 't' => "stopped",
        _ => "ends",
    };
    Some(
        json!({"pid": pid, "name": name.trim_end(), "state": state, "memoryBytes": resident_bytes(&directory)}),
    )
}

fn resident_bytes(directory: &str) -> u64 {
    let pages = fs::read_to_string(Path::new(directory).join("statm")).ok();
    let resident = pages.and_then(|pages| pages.split_whitespace().nth(1)?.parse::<u64>().ok());
    resident.unwrap_or(0) * rustix::param::page_size() as u64
}
