//! The variables `RunPod` sets for a queue worker, and those of its fitness checks (contract 1.1).

use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, CudaVersion, Variables};

/// The platform's job queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformConfig {
    /// `RUNPOD_WEBHOOK_GET_JOB`: where jobs are taken; `$ID` is the worker's id.
    pub take_url: String,
    /// `RUNPOD_WEBHOOK_POST_OUTPUT`: where they are answered; `$RUNPOD_POD_ID` is the worker's id, `$ID` the job's.
    pub answer_url: String,
    /// `RUNPOD_WEBHOOK_POST_STREAM`: where chunks go; substituted the same.
    pub stream_url: Option<String>,
    /// `RUNPOD_WEBHOOK_PING`: where heartbeats go.
    pub ping_url: Option<String>,
    /// `RUNPOD_PING_INTERVAL`
    pub ping_interval: Duration,
    /// `RUNPOD_POD_ID`
    pub worker_id: Option<String>,
    /// `RUNPOD_AI_API_KEY`, sent as it is
    pub key: Option<String>,
    /// `FARCALL_MAX_PAYLOAD_MB`, in bytes
    pub max_payload_bytes: usize,
    /// `FARCALL_SPOOL_DIR`
    pub spool_directory: Option<PathBuf>,
}

impl PlatformConfig {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(
        from: &Variables<F>,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(take_url) = from.text("RUNPOD_WEBHOOK_GET_JOB") else { return Ok(None) };
        let Some(answer_url) = from.text("RUNPOD_WEBHOOK_POST_OUTPUT") else {
            let (variable, value) = ("RUNPOD_WEBHOOK_POST_OUTPUT", String::new());
            return Err(ConfigError {
                variable,
                value,
                expected: "a URL, which RUNPOD_WEBHOOK_GET_JOB needs beside it",
            });
        };
        // The SDK takes anything below a second for "without a pause".
        let interval = Duration::from_millis(from.number("RUNPOD_PING_INTERVAL", 10_000)?);
        Ok(Some(Self {
            take_url,
            answer_url,
            stream_url: from.text("RUNPOD_WEBHOOK_POST_STREAM"),
            ping_url: from.text("RUNPOD_WEBHOOK_PING"),
            ping_interval: interval.max(Duration::from_millis(100)),
            worker_id: from.text("RUNPOD_POD_ID"),
            key: from.text("RUNPOD_AI_API_KEY"),
            max_payload_bytes: usize::try_from(from.number("FARCALL_MAX_PAYLOAD_MB", 20)? << 20)
                .unwrap_or(usize::MAX),
            spool_directory: from.path("FARCALL_SPOOL_DIR"),
        }))
    }
}

/// Which fitness checks run, and what they ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct FitnessConfig {
    /// None at all: `RUNPOD_SKIP_FITNESS_CHECKS`
    pub skip: bool,
    /// Not memory and disk: `RUNPOD_SKIP_AUTO_SYSTEM_CHECKS`
    pub skip_system: bool,
    /// Not the GPU: `RUNPOD_SKIP_GPU_CHECK`
    pub skip_gpu: bool,
    /// `RUNPOD_MIN_MEMORY_GB`
    pub min_memory_gb: f64,
    /// `RUNPOD_MIN_DISK_PERCENT`
    pub min_disk_percent: f64,
    /// `RUNPOD_MIN_CUDA_VERSION`
    pub min_cuda: CudaVersion,
}

impl FitnessConfig {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(from: &Variables<F>) -> Result<Self, ConfigError> {
        let amount = |name, default| {
            from.parse(name, default, "a number", |value| {
                value.parse::<f64>().ok().filter(|number| *number >= 0.0)
            })
        };
        Ok(Self {
            skip: from.switch("RUNPOD_SKIP_FITNESS_CHECKS", false)?,
            skip_system: from.switch("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", false)?,
            skip_gpu: from.switch("RUNPOD_SKIP_GPU_CHECK", false)?,
            min_memory_gb: amount("RUNPOD_MIN_MEMORY_GB", 4.0)?,
            min_cuda: from.parse(
                "RUNPOD_MIN_CUDA_VERSION",
                CudaVersion { major: 11, minor: 8 },
                "a version, such as 12.4",
                |value| value.parse().ok(),
            )?,
            min_disk_percent: amount("RUNPOD_MIN_DISK_PERCENT", 10.0)?,
        })
    }
}
