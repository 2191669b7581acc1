//! Fitness: whether this machine can do the work (contract 1.1). Checked before a queue worker takes its first
//! job, and by `farcall doctor`.

use crate::config::{Config, FitnessConfig};
use crate::gpu;
use crate::job::with_causes;

/// One check and how it came out: what was found, or why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitnessCheck {
    /// `memory`, `disk` or `gpu`.
    pub name: &'static str,
    /// What was found; as an error if it is not enough. May end in a line with a hint.
    pub result: Result<String, String>,
}

/// Runs all checks that are not switched off. A machine without a GPU is asked for none, unless it is meant to
/// have one.
pub async fn check_fitness(config: &Config) -> Vec<FitnessCheck> {
    let fitness = &config.fitness;
    if fitness.skip {
        return Vec::new();
    }
    let mut checks = Vec::new();
    if !fitness.skip_system {
        checks.extend([memory(fitness), disk(fitness)].into_iter().flatten());
    }
    checks.extend(check_gpu(config).await);
    checks
}

/// The check of the GPU alone, if there is one to check.
pub(crate) async fn check_gpu(config: &Config) -> Option<FitnessCheck> {
    if config.fitness.skip || config.fitness.skip_gpu {
        return None;
    }
    let result = gpu::look(config).await?.map_err(|error| with_causes(&error));
    Some(FitnessCheck { name: "gpu", result })
}

fn memory(fitness: &FitnessConfig) -> Option<FitnessCheck> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes = line.split_whitespace().next()?.parse::<f64>().ok()?;
    let gigabytes = kilobytes / f64::from(1 << 20);
    Some(judge("memory", gigabytes, fitness.min_memory_gb, "GiB available"))
}

fn disk(fitness: &FitnessConfig) -> Option<FitnessCheck> {
    let disk = rustix::fs::statvfs("/").ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let percent = disk.f_bavail as f64 / disk.f_blocks.max(1) as f64 * 100.0;
    Some(judge("disk", percent, fitness.min_disk_percent, "per cent free"))
}

fn judge(name: &'static str, found: f64, least: f64, unit: &str) -> FitnessCheck {
    let result = if found < least {
        Err(format!("{found:.1} {unit}, at least {least} needed"))
    } else {
        Ok(format!("{found:.1} {unit}"))
    };
    FitnessCheck { name, result }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn too_little_fails_and_says_how_much_there_is() {
        let lookup = |name: &str| match name {
            "RUNPOD_MIN_MEMORY_GB" => Some("1000000".to_owned()),
            "RUNPOD_MIN_DISK_PERCENT" => Some("0".to_owned()),
            _ => None,
        };
        let checks = check_fitness(&Config::read(lookup).unwrap()).await;
        assert_eq!(checks.iter().map(|check| check.name).collect::<Vec<_>>(), ["memory", "disk"]);
        let reason = checks[0].result.as_ref().unwrap_err();
        assert!(reason.ends_with("GiB available, at least 1000000 needed"), "{reason}");
        assert!(checks[1].result.is_ok());
    }

    #[tokio::test]
    async fn checks_can_be_switched_off() {
        let only = |switched: &'static str| {
            let lookup = move |name: &str| (name == switched).then(|| "true".to_owned());
            Config::read(lookup).unwrap()
        };
        assert!(check_fitness(&only("RUNPOD_SKIP_FITNESS_CHECKS")).await.is_empty());
        assert!(check_fitness(&only("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS")).await.is_empty());
    }
}
