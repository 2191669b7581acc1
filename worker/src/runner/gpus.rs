//! Which GPUs a runner sees: those that the fewest other runners hold.
//!
//! A runner gets its own with its first call and holds them until its end: what it has loaded is in their memory.
//! Code that takes "the GPU" then uses one that is free, and two calls do not meet on the first while the second
//! idles. A runner that many asynchronous calls share sees all of them.

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{Config, GpusPerRunner};

/// The GPUs of a worker that deals them out.
#[derive(Debug)]
pub(super) struct Gpus {
    names: Vec<String>,
    per_runner: usize,
    /// How many runners hold each.
    holders: Mutex<Vec<usize>>,
}

/// The GPUs of one runner. They are free again when it goes.
#[derive(Debug)]
pub(super) struct OwnGpus {
    all: Arc<Gpus>,
    indices: Vec<usize>,
}

impl Gpus {
    /// `None` where every runner is to see all there are.
    pub(super) fn of(config: &Config) -> Option<Arc<Self>> {
        let names = config.gpu.visible.clone();
        let names = names.unwrap_or_else(|| (0..count_gpus()).map(|number| number.to_string()).collect());
        Self::new(names, config.gpu.per_runner, config.concurrency)
    }

    fn new(names: Vec<String>, per_runner: GpusPerRunner, concurrency: usize) -> Option<Arc<Self>> {
        let per_runner = match per_runner {
            GpusPerRunner::All => return None,
            GpusPerRunner::Auto if concurrency == 1 => return None,
            GpusPerRunner::Auto => 1,
            GpusPerRunner::Number(number) => number,
        };
        let holders = Mutex::new(vec![0; names.len()]);
        (per_runner < names.len()).then(|| Arc::new(Self { names, per_runner, holders }))
    }

    /// Those that the fewest runners hold, in the order of the worker's own list.
    pub(super) fn take(self: &Arc<Self>) -> OwnGpus {
        let mut holders = self.holders();
        let mut indices: Vec<usize> = (0..self.names.len()).collect();
        indices.sort_by_key(|index| holders[*index]);
        indices.truncate(self.per_runner);
        indices.sort_unstable();
        indices.iter().for_each(|index| holders[*index] += 1);
        OwnGpus { all: Arc::clone(self), indices }
    }

    fn holders(&self) -> MutexGuard<'_, Vec<usize>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnGpus {
    /// The value of `CUDA_VISIBLE_DEVICES`.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.indices.iter().map(|index| self.all.names[*index].as_str()).collect();
        names.join(",")
    }
}

impl Drop for OwnGpus {
    fn drop(&mut self) {
        let mut holders = self.all.holders();
        self.indices.iter().for_each(|index| holders[*index] -= 1);
    }
}

/// How many GPUs this machine has. A container has those that were given to it.
pub(crate) fn count_gpus() -> usize {
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten();
    devices.filter(|device| is_gpu(&device.file_name().to_string_lossy())).count()
}

/// `nvidia0` is one, `nvidiactl` and `nvidia-uvm` are not.
fn is_gpu(device: &str) -> bool {
    device
        .strip_prefix("nvidia")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(count: usize, per_runner: GpusPerRunner, concurrency: usize) -> Option<Arc<Gpus>> {
        Gpus::new((0..count).map(|number| format!("GPU-{number}")).collect(), per_runner, concurrency)
    }

    #[test]
    fn a_runner_gets_what_the_fewest_others_hold() {
        let gpus = gpus(3, GpusPerRunner::Number(2), 1).unwrap();
        let (first, second) = (gpus.take(), gpus.take());
        assert_eq!((first.names(), second.names()), ("GPU-0,GPU-1".into(), "GPU-0,GPU-2".into()));
        drop(first);
        assert_eq!(gpus.take().names(), "GPU-0,GPU-1");
    }

    #[test]
    fn they_are_dealt_out_only_where_calls_would_meet_on_them() {
        assert!(gpus(2, GpusPerRunner::Auto, 1).is_none());
        assert!(gpus(1, GpusPerRunner::Auto, 4).is_none());
        assert!(gpus(2, GpusPerRunner::All, 4).is_none());
        assert!(gpus(2, GpusPerRunner::Number(2), 4).is_none());
        assert_eq!(gpus(2, GpusPerRunner::Auto, 2).unwrap().take().names(), "GPU-0");
    }

    #[test]
    fn devices_that_are_no_gpu_are_not_counted() {
        assert!(is_gpu("nvidia0") && is_gpu("nvidia15"));
        for other in ["nvidia", "nvidiactl", "nvidia-uvm", "nvidia-caps", "null"] {
            assert!(!is_gpu(other), "{other}");
        }
    }
}
