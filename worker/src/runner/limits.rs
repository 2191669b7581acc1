//! Limits a runner lives under: memory by a cgroup where one can be made, by address space elsewhere, and open
//! files.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tracing::debug;

/// What a runner may use. Zero means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    pub(crate) memory_bytes: u64,
    pub(crate) open_files: u64,
}

/// The limits of one runner, and how to tell that it hit the memory limit.
#[derive(Debug)]
pub(super) struct Limits {
    cgroup: Option<PathBuf>,
    kills_before: u64,
    memory_bytes: u64,
}

impl Limits {
    /// Puts a process under its limits.
    pub(super) fn apply(settings: LimitSettings, pid: Pid) -> Self {
        let limit = |resource, most: u64| {
            let limits = Rlimit { current: Some(most), maximum: Some(most) };
            if let Err(error) = prlimit(Some(pid), resource, limits) {
                debug!(%error, ?resource, "cannot limit the runner");
            }
        };
        if settings.open_files > 0 {
            limit(Resource::Nofile, settings.open_files);
        }
        let cgroup = (settings.memory_bytes > 0).then(|| make_cgroup(pid, settings.memory_bytes)).flatten();
        if settings.memory_bytes > 0 && cgroup.is_none() {
            limit(Resource::As, settings.memory_bytes);
        }
        let mut limits = Self { cgroup, kills_before: 0, memory_bytes: settings.memory_bytes };
        limits.kills_before = limits.kills();
        limits
    }

    /// Whether the kernel has killed for lack of memory in the runner's cgroup since it started.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.kills() > self.kills_before
    }

    /// The memory limit in bytes, 0 for none.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    fn kills(&self) -> u64 {
        let mut groups = self.cgroup.iter().cloned().chain(own_cgroups());
        groups.find_map(|group| out_of_memory_kills(&group)).unwrap_or(0)
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            let _ = fs::remove_dir(cgroup); // its processes are dead, or the system removes it with us
        }
    }
}

/// The cgroups that account this process's memory: version 2's, then version 1's.
fn own_cgroups() -> Vec<PathBuf> {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut groups = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next(), parts.next(), parts.next());
        let (Some(controllers), Some(path)) = (controllers, path) else { continue };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            list if list.split(',').any(|name| name == "memory") => "/sys/fs/cgroup/memory",
            _ => continue,
        };
        // In a container the mount may begin at our own group, whose path is then of no use.
        let inside = Path::new(root).join(path.trim_start_matches('/'));
        groups.extend([inside, PathBuf::from(root)]);
    }
    groups.retain(|group| out_of_memory_kills(group).is_some());
    groups
}

/// How often the kernel has killed in a cgroup for lack of memory.
fn out_of_memory_kills(group: &Path) -> Option<u64> {
    let counters = ["memory.events", "memory.oom_control"];
    let text = counters.iter().find_map(|file| fs::read_to_string(group.join(file)).ok())?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// A cgroup of the runner's own below ours, or `None` where that is not possible: most containers mount the
/// file system read-only, and version 2 gives controllers only to groups whose parent holds no process.
fn make_cgroup(pid: Pid, memory_bytes: u64) -> Option<PathBuf> {
    own_cgroups().into_iter().find_map(|parent| {
        let group = parent.join(format!("farcall-{}", pid.as_raw_nonzero()));
        fs::create_dir(&group).ok()?;
        let limits = ["memory.max", "memory.limit_in_bytes"];
        let limited = limits.iter().any(|file| fs::write(group.join(file), memory_bytes.to_string()).is_ok());
        // Without this, version 2 would let the runner swap instead of ending it.
        let _ = fs::write(group.join("memory.swap.max"), "0");
        let moved =
            limited && fs::write(group.join("cgroup.procs"), pid.as_raw_nonzero().to_string()).is_ok();
        if moved {
            return Some(group);
        }
        let _ = fs::remove_dir(&group);
        None
    })
}
