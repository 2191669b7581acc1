//! The GPU: whether there is one, and whether its driver is new enough for what is to run on it.
//!
//! NVIDIA's own program is asked, in a process of its own with a deadline: its library is code of a driver's, which
//! may hang or crash, and is not let into the supervisor.

use std::path::Path;
use std::time::Duration;

use crate::config::{Config, CudaVersion};
use crate::interpreter::on_path;
use crate::runner::count_gpus;
use crate::subprocess::{Subprocess, SubprocessError};

/// A driver that has not answered by then is broken (contract 1.1).
const DEADLINE: Duration = Duration::from_secs(30);

/// Why the GPU is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GpuError {
    /// There is none where one is needed.
    #[error(
        "there is none, and this image is made for one\nhint: `docker run --gpus all`, or a GPU type of the platform; FARCALL_EXPECT_GPU=0 does without"
    )]
    Absent,
    /// `nvidia-smi` does not know of any.
    #[error("nvidia-smi lists none")]
    Unlisted,
    /// The driver does not answer.
    #[error("nvidia-smi does not tell")]
    Driver(#[source] SubprocessError),
    /// The driver knows an older CUDA than there is in the image.
    #[error(
        "the driver ({driver}) knows CUDA {known} at most, and the image has CUDA {needed}\nhint: a machine with a newer driver, or an image made for CUDA {}", known.major
    )]
    OldForImage {
        /// Its version.
        driver: String,
        /// The newest CUDA it can run.
        known: CudaVersion,
        /// What the image says it has.
        needed: CudaVersion,
    },
    /// The driver knows an older CUDA than was asked for.
    #[error(
        "the driver ({driver}) knows CUDA {known} at most, and RUNPOD_MIN_CUDA_VERSION asks for {needed}\nhint: a machine with a newer driver, or a lower RUNPOD_MIN_CUDA_VERSION"
    )]
    OldForAll {
        /// Its version.
        driver: String,
        /// The newest CUDA it can run.
        known: CudaVersion,
        /// What was asked for.
        needed: CudaVersion,
    },
}

/// What there is, in a line. `None`: there is no GPU, and none is needed.
pub(crate) async fn look(config: &Config) -> Option<Result<String, GpuError>> {
    let Some(program) = on_path(&config.path, Path::new("nvidia-smi")) else {
        return match count_gpus() {
            0 if config.gpu.expected => Some(Err(GpuError::Absent)),
            0 => None,
            count => Some(Ok(format!(
                "{count}, of which nothing is known without nvidia-smi\nhint: NVIDIA_DRIVER_CAPABILITIES=compute,utility brings it into a container"
            ))),
        };
    };
    Some(ask(&program, config).await)
}

async fn ask(program: &Path, config: &Config) -> Result<String, GpuError> {
    let fields = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let query = Subprocess::new(program).arguments(fields).deadline(DEADLINE);
    // The fields do not have the newest CUDA that the driver knows; only the table's head does.
    let table = Subprocess::new(program).deadline(DEADLINE);
    let (listed, table) = tokio::join!(query.run(), table.run());
    let listed = listed.map_err(GpuError::Driver)?.stdout;
    let gpus: Vec<&str> = listed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = gpus.first().ok_or(GpuError::Unlisted)?;
    let (gpu, driver) = first.rsplit_once(", ").unwrap_or((first, "unknown"));
    let count = if gpus.len() > 1 { format!("{} x ", gpus.len()) } else { String::new() };
    let known = table.ok().and_then(|table| known_cuda(&table.stdout));
    let Some(known) = known else { return Ok(format!("{count}{gpu}, driver {driver}")) };
    let driver = driver.to_owned();
    match config.gpu.image_cuda {
        // Programs of one major version run on every driver of it.
        Some(needed) if known.major < needed.major => {
            return Err(GpuError::OldForImage { driver, known, needed });
        }
        _ => {}
    }
    let needed = config.fitness.min_cuda;
    if known < needed {
        return Err(GpuError::OldForAll { driver, known, needed });
    }
    Ok(format!("{count}{gpu}, driver {driver}, CUDA {known}"))
}

fn known_cuda(table: &str) -> Option<CudaVersion> {
    let (_, rest) = table.split_once("CUDA Version:")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_the_table_tells_the_cuda_a_driver_knows() {
        let table = "| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4     |";
        assert_eq!(known_cuda(table), Some(CudaVersion { major: 12, minor: 4 }));
        assert_eq!(known_cuda("| Driver Version: 390.1   CUDA Version: N/A |"), None);
        assert_eq!(known_cuda(""), None);
    }
}
