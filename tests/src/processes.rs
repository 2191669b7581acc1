//! Processes, as `/proc` shows them.

use std::fs;
use std::process::{Child, Command};

/// Whether a process runs: a zombie does not.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Children of a process, zombies included.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Everything below a process.
pub fn descendants(pid: u32) -> Vec<u32> {
    let children = children(pid);
    let below = children.iter().flat_map(|child| descendants(*child)).collect::<Vec<_>>();
    [children, below].concat()
}

/// Children of a process that have ended and were not waited for.
pub fn zombies(pid: u32) -> usize {
    children(pid).into_iter().filter(|child| state(*child) == Some('Z')).count()
}

/// Files a process has open.
pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Resident memory of a process, in KiB.
pub fn resident_kilobytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Sends a signal, such as `TERM`.
pub fn signal(pid: u32, name: &str) {
    // The shell's own: a test machine need not have `/bin/kill`.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid} 2>/dev/null")]).status();
    assert!(sent.is_ok(), "sh can be started");
}

/// Kills a process with all that it has started, and waits for it.
pub fn end(process: &mut Child) {
    let family = descendants(process.id());
    let _ = process.kill();
    let _ = process.wait();
    family.into_iter().filter(|pid| is_alive(*pid)).for_each(|pid| signal(pid, "KILL"));
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, brackets too.
    stat.rsplit_once(") ")?.1.chars().next()
}
