//! What the local endpoint is told: its queue, its limits, who may call it.

use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, Variables};

/// The settings of `farcall serve` as an endpoint of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// `FARCALL_DATA_DIR`: where the queue is kept
    pub data_directory: PathBuf,
    /// `FARCALL_ENDPOINT_ID`: the only id that is answered, if it is set
    pub endpoint: Option<String>,
    /// `FARCALL_QUEUE_SYNC`: when a job counts as written
    pub sync: QueueSync,
    /// `FARCALL_RESULT_RETENTION_S`: how long jobs from `run` are kept after their end
    pub retention: Duration,
    /// `FARCALL_SYNC_RETENTION_S`: the same, for `runsync`
    pub sync_retention: Duration,
    /// `FARCALL_JOB_TTL_S`: how long a job may live that does not say it itself
    pub ttl: Duration,
    /// `FARCALL_MAX_ATTEMPTS`: how often a job is begun whose worker dies under it
    pub max_attempts: u32,
    /// `FARCALL_MAX_QUEUED_JOBS`: jobs that wait, until more are refused
    pub max_queued_jobs: usize,
    /// `FARCALL_QUEUE_GB`, in bytes: requests and results kept, until more are refused
    pub max_queue_bytes: u64,
    /// `FARCALL_RUN_BODY_MB`, in bytes
    pub run_body_bytes: usize,
    /// `FARCALL_RUNSYNC_BODY_MB`, in bytes
    pub runsync_body_bytes: usize,
    /// `FARCALL_WEBHOOK_SECRET`: signs what webhooks get
    pub webhook_secret: Option<String>,
    /// `FARCALL_ALLOWED_HOSTS`: more names the endpoint answers to
    pub allowed_hosts: Vec<String>,
    /// `--ephemeral`: the queue is in memory only
    pub ephemeral: bool,
    /// `--insecure`: other machines may call it without a key
    pub insecure: bool,
}

/// Endpoints of others, for the commands that call them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// `FARCALL_ENDPOINT`: which one, if no `--endpoint` says so
    pub endpoint: Option<String>,
    /// `RUNPOD_ENDPOINT_BASE_URL`: where endpoints are that are named by an id
    pub base_url: String,
    /// `RUNPOD_API_KEY`: sent to those
    pub api_key: Option<String>,
}

impl ClientConfig {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(from: &Variables<F>) -> Self {
        let base_url = from.text("RUNPOD_ENDPOINT_BASE_URL");
        Self {
            endpoint: from.text("FARCALL_ENDPOINT"),
            base_url: base_url.unwrap_or_else(|| "https://api.runpod.ai/v2".to_owned()),
            api_key: from.text("RUNPOD_API_KEY"),
        }
    }
}

/// When a job counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueSync {
    /// When the system has it: it survives the end of the process, however it ends.
    Process,
    /// When the disk has it: it survives the end of the machine, too.
    Machine,
}

impl LocalConfig {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(from: &Variables<F>) -> Result<Self, ConfigError> {
        let data = from
            .path("FARCALL_DATA_DIR")
            .or_else(|| from.path("XDG_DATA_HOME").map(|data| data.join("farcall")))
            .or_else(|| from.path("HOME").map(|home| home.join(".local/share/farcall")));
        let seconds = |name, default| from.number(name, default).map(Duration::from_secs);
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let hosts = from.text("FARCALL_ALLOWED_HOSTS").unwrap_or_default();
        Ok(Self {
            data_directory: data.unwrap_or_else(|| std::env::temp_dir().join("farcall-data")),
            endpoint: from.parse(
                "FARCALL_ENDPOINT_ID",
                None,
                "an id of letters, digits, `-` and `_`",
                |value| {
                    value
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
                        .then(|| Some(value.to_owned()))
                },
            )?,
            sync: from.parse("FARCALL_QUEUE_SYNC", QueueSync::Process, "process or machine", |value| {
                match value {
                    "process" => Some(QueueSync::Process),
                    "machine" => Some(QueueSync::Machine),
                    _ => None,
                }
            })?,
            retention: seconds("FARCALL_RESULT_RETENTION_S", 30 * 60)?,
            sync_retention: seconds("FARCALL_SYNC_RETENTION_S", 60)?,
            ttl: seconds("FARCALL_JOB_TTL_S", 24 * 60 * 60)?,
            max_attempts: u32::try_from(from.number("FARCALL_MAX_ATTEMPTS", 3)?).unwrap_or(u32::MAX),
            max_queued_jobs: size(from.number("FARCALL_MAX_QUEUED_JOBS", 1_000_000)?),
            max_queue_bytes: from.number("FARCALL_QUEUE_GB", 10)? << 30,
            run_body_bytes: size(from.number("FARCALL_RUN_BODY_MB", 10)? << 20),
            runsync_body_bytes: size(from.number("FARCALL_RUNSYNC_BODY_MB", 20)? << 20),
            webhook_secret: from.text("FARCALL_WEBHOOK_SECRET"),
            allowed_hosts: hosts
                .split(',')
                .map(|host| host.trim().to_ascii_lowercase())
                .filter(|host| !host.is_empty())
                .collect(),
            ephemeral: false,
            insecure: false,
        })
    }
}
