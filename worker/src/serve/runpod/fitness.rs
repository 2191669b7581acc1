//! Fitness: whether this machine can do the work, before the first job is taken (contract 1.1).

use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use super::QueueWorker;
use crate::config::{Config, FitnessConfig};
use crate::interpreter::on_path;
use crate::subprocess::Subprocess;

/// The platform hears of a failed check, or does not, within this.
const REPORT_TIME: Duration = Duration::from_secs(2);

/// The platform keeps so much of a reason, in characters.
const LONGEST_REASON: usize = 256;

/// A driver that has not answered by then is broken.
const GPU_TIME: Duration = Duration::from_secs(30);

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fitness check `{check}` failed: {reason}")]
pub(in crate::serve) struct Unfit {
    pub(in crate::serve) check: &'static str,
    pub(in crate::serve) reason: String,
}

/// Runs all checks that are not switched off. Each one's result is in the log.
pub(in crate::serve) async fn check_fitness(config: &Config) -> Result<(), Unfit> {
    let fitness = &config.fitness;
    if fitness.skip {
        return Ok(());
    }
    if !fitness.skip_system {
        check_memory(fitness)?;
        check_disk(fitness)?;
    }
    if !fitness.skip_gpu
        && let Some(program) = on_path(&config.path, Path::new("nvidia-smi"))
    {
        check_gpu(&program).await?;
    }
    Ok(())
}

impl QueueWorker {
    /// Tells the platform why this worker ends.
    pub(in crate::serve) async fn report_unfit(&self, unfit: &Unfit) {
        let reason: String = unfit.reason.chars().take(LONGEST_REASON).collect();
        let unhealthy = Some((unfit.check, reason.as_str()));
        if let Err(error) = self.platform.ping(&[], unhealthy, REPORT_TIME).await {
            warn!(%error, "the platform could not be told");
        }
    }
}

fn check_memory(fitness: &FitnessConfig) -> Result<(), Unfit> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let Some(gigabytes) = kilobytes.map(|kilobytes| kilobytes / f64::from(1 << 20)) else { return Ok(()) };
    judge("memory", gigabytes, fitness.min_memory_gb, "GiB of memory available")
}

fn check_disk(fitness: &FitnessConfig) -> Result<(), Unfit> {
    let Ok(disk) = rustix::fs::statvfs("/") else { return Ok(()) };
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let percent = disk.f_bavail as f64 / disk.f_blocks.max(1) as f64 * 100.0;
    judge("disk", percent, fitness.min_disk_percent, "per cent of the disk free")
}

fn judge(check: &'static str, found: f64, least: f64, unit: &str) -> Result<(), Unfit> {
    if found < least {
        return Err(Unfit { check, reason: format!("{found:.1} {unit}, at least {least} needed") });
    }
    info!(check, "{found:.1} {unit}");
    Ok(())
}

async fn check_gpu(program: &Path) -> Result<(), Unfit> {
    let arguments = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let command = Subprocess {
        program: program.to_owned(),
        arguments: arguments.into_iter().map(Into::into).collect(),
        deadline: GPU_TIME,
    };
    match command.run().await {
        Ok(finished) if !finished.stdout.trim().is_empty() => {
            info!(check = "gpu", "{}", finished.stdout.trim());
            Ok(())
        }
        Ok(_) => Err(Unfit { check: "gpu", reason: "nvidia-smi lists no GPU".to_owned() }),
        Err(error) => Err(Unfit { check: "gpu", reason: error.to_string() }),
    }
}
