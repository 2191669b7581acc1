//! What a process has started and left behind: found by the directory the process was given.
//!
//! A process group misses whoever made a session of its own, and a parent's id is gone once the parent is. But
//! a program inherits the environment, which names the directory, and a fork that runs no program keeps the
//! files open that its parent had in it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Searches until nothing is found, at most: what is killed may have been starting something.
const ROUNDS: usize = 3;

/// The children of this process, adopted ones included.
pub fn children() -> Vec<Pid> {
    children_of("self")
}

/// Every process there is.
pub fn everybody() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Kills those of `candidates` that belong to `directory`, with everything below them. Returns how many.
pub fn kill(directory: &Path, candidates: impl Fn() -> Vec<Pid>) -> usize {
    let mut killed = 0;
    for _ in 0..ROUNDS {
        let found = candidates().into_iter().filter(|pid| belongs_to(*pid, directory)).collect::<Vec<_>>();
        if found.is_empty() {
            break;
        }
        for pid in found {
            killed += kill_tree(pid);
        }
    }
    killed
}

fn kill_tree(pid: Pid) -> usize {
    let below = children_of(&pid.as_raw_nonzero().to_string());
    let _ = kill_process(pid, Signal::KILL);
    1 + below.into_iter().map(kill_tree).sum::<usize>()
}

fn belongs_to(pid: Pid, directory: &Path) -> bool {
    let process = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    let name = directory.as_os_str().as_bytes();
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    if environment.windows(name.len()).any(|part| part == name) {
        return true;
    }
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file.starts_with(directory))
}

fn children_of(process: &str) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let parse = |pid: &str| Pid::from_raw(pid.parse().ok()?);
    lists.flat_map(|list| list.split_whitespace().filter_map(parse).collect::<Vec<_>>()).collect()
}
