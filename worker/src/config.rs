//! Every variable the worker reads, parsed once.
//!
//! `docs/configuration.md` is made from [`VARIABLES`]; a test keeps the two the same.

mod gpu;
mod local;
mod platform;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

pub use gpu::{CudaVersion, GpuConfig, GpusPerRunner};
pub use local::{ClientConfig, LocalConfig, QueueSync};
pub use platform::{FitnessConfig, PlatformConfig};
pub use variables::{VARIABLES, Variable, reference};

/// Where the platform mounts a network volume.
const PLATFORM_VOLUME: &str = "/runpod-volume";

/// What the worker was told by its environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `FARCALL_PYTHON`
    pub python: Option<PathBuf>,
    /// `FARCALL_LIBPYTHON`
    pub libpython: LibpythonUse,
    /// `VIRTUAL_ENV`
    pub virtual_environment: Option<PathBuf>,
    /// `PATH`
    pub path: String,
    /// `FARCALL_CACHE_DIR`
    pub cache_directory: PathBuf,
    /// `FARCALL_LOG_LEVEL`
    pub log_level: Option<String>,
    /// `HOST`
    pub host: String,
    /// `PORT`
    pub port: u16,
    /// `PORT_HEALTH`
    pub health_port: u16,
    /// `FARCALL_API_KEY`
    pub api_key: Option<String>,
    /// `FARCALL_CONCURRENCY`
    pub concurrency: usize,
    /// `FARCALL_TIMEOUT_S`
    pub timeout: Option<Duration>,
    /// `FARCALL_CANCEL_GRACE_S`
    pub cancel_grace: Duration,
    /// `FARCALL_CANCEL_ON_DISCONNECT`
    pub cancel_on_disconnect: bool,
    /// `FARCALL_GRACE_S`
    pub shutdown_grace: Duration,
    /// `FARCALL_MAX_BODY_MB`, in bytes
    pub max_body_bytes: usize,
    /// `FARCALL_RUNNER_MEMORY_MB`, in bytes; 0 for no limit
    pub runner_memory_bytes: u64,
    /// `FARCALL_RUNNER_OPEN_FILES`; 0 for no limit
    pub runner_open_files: u64,
    /// Whether `RUNPOD_ENDPOINT_ID` is set
    pub logs_as_json: bool,
    /// The platform's job queue, if `RUNPOD_WEBHOOK_GET_JOB` is set
    pub platform: Option<PlatformConfig>,
    /// What the platform's variables say this worker is for, where no `--mode` does
    pub suggested_mode: SuggestedMode,
    /// The endpoint that is served where there is no platform
    pub local: LocalConfig,
    /// Endpoints that commands call
    pub client: ClientConfig,
    /// Checks before the first job is taken
    pub fitness: FitnessConfig,
    /// GPUs: which there are, and who sees them
    pub gpu: GpuConfig,
    /// `FARCALL_MAX_OUTPUT_KB`, in bytes
    pub max_output_bytes: usize,
    /// `FARCALL_MAX_RESULT_MB`, in bytes
    pub max_result_bytes: u64,
    /// `FARCALL_MAX_INSTANCES`
    pub max_instances: usize,
    /// `FARCALL_FRESH_NAMESPACE`
    pub fresh_namespace: bool,
    /// `FARCALL_IDLE_EXIT_S`: an endpoint of its own ends when nobody has needed it for so long
    pub idle_exit: Option<Duration>,
    /// `FARCALL_START_TIMEOUT_S`
    pub start_timeout: Duration,
    /// `FARCALL_IDLE_RUNNERS`
    pub idle_runners: usize,
    /// `FARCALL_INSTALL_TIMEOUT_S`
    pub install_timeout: Duration,
    /// `FARCALL_CACHE_GB`, in bytes
    pub cache_bytes: u64,
    /// `FARCALL_VOLUME`, if there is such a directory
    pub volume: Option<PathBuf>,
    /// `FARCALL_VOLUME_GB`, in bytes
    pub volume_bytes: u64,
}

/// Which kind of worker the environment asks for, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuggestedMode {
    /// The platform's job queue.
    Queue,
    /// The platform's load balancer; the variable that says so.
    LoadBalancer(&'static str),
    /// Nothing does.
    None,
}

impl SuggestedMode {
    fn read<F: Fn(&str) -> Option<String>>(from: &Variables<F>) -> Self {
        let is_on_platform =
            ["RUNPOD_ENDPOINT_ID", "RUNPOD_POD_ID"].iter().any(|name| from.text(name).is_some());
        let says = |name: &str, value: &str| from.text(name).is_some_and(|text| text == value);
        if from.text("RUNPOD_WEBHOOK_GET_JOB").is_some() {
            Self::Queue
        } else if says("FLASH_ENDPOINT_TYPE", "lb") {
            Self::LoadBalancer("FLASH_ENDPOINT_TYPE")
        } else if says("RUNPOD_RUNTIME_KIND", "api") {
            Self::LoadBalancer("RUNPOD_RUNTIME_KIND")
        } else if is_on_platform {
            Self::LoadBalancer("RUNPOD_ENDPOINT_ID without RUNPOD_WEBHOOK_GET_JOB")
        } else {
            Self::None
        }
    }
}

/// Whether runners load an interpreter's shared library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibpythonUse {
    /// Where there is one.
    Auto,
    /// Not even then: the interpreter's executable is run.
    Never,
}

/// A variable's value that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{variable}={value:?} is not {expected}")]
pub struct ConfigError {
    variable: &'static str,
    value: String,
    expected: &'static str,
}

impl Config {
    /// Reads the configuration; `variable` looks one up, usually in the process's environment.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let from = Variables(variable);
        let cache = from
            .path("FARCALL_CACHE_DIR")
            .or_else(|| from.path("XDG_CACHE_HOME").map(|cache| cache.join("farcall")))
            .or_else(|| from.path("HOME").map(|home| home.join(".cache/farcall")));
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let platform = ["RUNPOD_ENDPOINT_ID", "RUNPOD_POD_ID"].iter().any(|name| from.text(name).is_some());
        let port = from.port_number("PORT", if platform { 80 } else { 8000 })?;
        let timeout = from.count("FARCALL_TIMEOUT_S", 0)?;
        let idle_exit = from.count("FARCALL_IDLE_EXIT_S", 0)?;
        Ok(Self {
            python: from.path("FARCALL_PYTHON"),
            libpython: from.libpython()?,
            virtual_environment: from.path("VIRTUAL_ENV"),
            path: from.text("PATH").unwrap_or_default(),
            cache_directory: cache.unwrap_or_else(|| std::env::temp_dir().join("farcall-cache")),
            log_level: from.text("FARCALL_LOG_LEVEL"),
            host: from
                .text("HOST")
                .unwrap_or_else(|| (if platform { "0.0.0.0" } else { "127.0.0.1" }).to_owned()),
            port,
            health_port: from.port_number("PORT_HEALTH", port)?,
            api_key: from.text("FARCALL_API_KEY"),
            concurrency: size(
                from.number("FARCALL_CONCURRENCY", from.number("RUNPOD_MAX_CONCURRENCY", 1).unwrap_or(1))?,
            ),
            timeout: (timeout > 0).then(|| Duration::from_secs(timeout)),
            cancel_grace: Duration::from_secs(from.count("FARCALL_CANCEL_GRACE_S", 3)?),
            cancel_on_disconnect: from.switch("FARCALL_CANCEL_ON_DISCONNECT", true)?,
            shutdown_grace: Duration::from_secs(from.count("FARCALL_GRACE_S", 30)?),
            max_body_bytes: size(from.number("FARCALL_MAX_BODY_MB", 64)? << 20),
            runner_memory_bytes: from.count("FARCALL_RUNNER_MEMORY_MB", 0)? << 20,
            runner_open_files: from.count("FARCALL_RUNNER_OPEN_FILES", 0)?,
            logs_as_json: from.text("RUNPOD_ENDPOINT_ID").is_some(),
            platform: PlatformConfig::read(&from)?,
            suggested_mode: SuggestedMode::read(&from),
            local: LocalConfig::read(&from)?,
            client: ClientConfig::read(&from),
            fitness: FitnessConfig::read(&from)?,
            gpu: GpuConfig::read(&from)?,
            max_output_bytes: size(from.number("FARCALL_MAX_OUTPUT_KB", 8192)? << 10),
            max_result_bytes: from.number("FARCALL_MAX_RESULT_MB", 512)? << 20,
            max_instances: size(from.number("FARCALL_MAX_INSTANCES", 64)?),
            fresh_namespace: from.switch("FARCALL_FRESH_NAMESPACE", false)?,
            idle_exit: (idle_exit > 0).then(|| Duration::from_secs(idle_exit)),
            start_timeout: Duration::from_secs(from.number("FARCALL_START_TIMEOUT_S", 60)?),
            idle_runners: size(from.count("FARCALL_IDLE_RUNNERS", 4)?),
            install_timeout: Duration::from_secs(from.number("FARCALL_INSTALL_TIMEOUT_S", 300)?),
            cache_bytes: from.gibibytes("FARCALL_CACHE_GB", 20)?,
            volume: Some(from.path("FARCALL_VOLUME").unwrap_or_else(|| PLATFORM_VOLUME.into()))
                .filter(|directory| directory.is_dir()),
            volume_bytes: from.gibibytes("FARCALL_VOLUME_GB", 20)?,
        })
    }

    /// Reads the configuration from this process's environment.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }
}

/// Looks variables up and parses them.
struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn text(&self, name: &str) -> Option<String> {
        self.0(name).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    fn parse<T>(
        &self,
        name: &'static str,
        default: T,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let Some(value) = self.text(name) else { return Ok(default) };
        parse(&value).ok_or(ConfigError { variable: name, value, expected })
    }

    /// Bounded, so that no unit's multiple overflows.
    fn count(&self, name: &'static str, default: u64) -> Result<u64, ConfigError> {
        self.parse(name, default, "a whole number", |value| Some(value.parse::<u32>().ok()?.into()))
    }

    fn number(&self, name: &'static str, default: u64) -> Result<u64, ConfigError> {
        let parse = |value: &str| value.parse::<u32>().ok().filter(|number| *number > 0).map(u64::from);
        self.parse(name, default, "a whole number above 0", parse)
    }

    /// In bytes; may have a fraction.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
    fn gibibytes(&self, name: &'static str, default: u64) -> Result<u64, ConfigError> {
        let is_size = |number: &f64| (0.0..=f64::from(u32::MAX)).contains(number);
        self.parse(name, default << 30, "a number that is not negative", |value| {
            Some((value.parse().ok().filter(is_size)? * f64::from(1 << 30)) as u64)
        })
    }

    fn port_number(&self, name: &'static str, default: u16) -> Result<u16, ConfigError> {
        self.parse(name, default, "a port number", |value| value.parse().ok())
    }

    fn switch(&self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.parse(name, default, "0 or 1", |value| match value {
            "0" | "false" | "no" | "off" => Some(false),
            "1" | "true" | "yes" | "on" => Some(true),
            _ => None,
        })
    }

    fn libpython(&self) -> Result<LibpythonUse, ConfigError> {
        self.parse("FARCALL_LIBPYTHON", LibpythonUse::Auto, "auto or never", |value| match value {
            "auto" => Some(LibpythonUse::Auto),
            "never" => Some(LibpythonUse::Never),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let lookup =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::read(lookup)
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        let error = read(&[("FARCALL_MAX_INSTANCES", "many")]).unwrap_err().to_string();
        assert_eq!(error, r#"FARCALL_MAX_INSTANCES="many" is not a whole number above 0"#);
        let error = read(&[("FARCALL_FRESH_NAMESPACE", "2")]).unwrap_err().to_string();
        assert_eq!(error, r#"FARCALL_FRESH_NAMESPACE="2" is not 0 or 1"#);
        let error = read(&[("FARCALL_LIBPYTHON", "sometimes")]).unwrap_err().to_string();
        assert_eq!(error, r#"FARCALL_LIBPYTHON="sometimes" is not auto or never"#);
        assert!(read(&[("FARCALL_MAX_RESULT_MB", "0")]).is_err());
    }

    #[test]
    fn disk_space_may_have_a_fraction() {
        assert_eq!(read(&[("FARCALL_CACHE_GB", "0.5")]).unwrap().cache_bytes, 1 << 29);
        assert_eq!(read(&[]).unwrap().cache_bytes, 20 << 30);
        for bad in ["-1", "NaN", "inf", "much"] {
            assert!(read(&[("FARCALL_CACHE_GB", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn empty_means_unset() {
        assert_eq!(
            read(&[("FARCALL_PYTHON", ""), ("FARCALL_MAX_OUTPUT_KB", "")]).unwrap(),
            read(&[]).unwrap()
        );
    }

    #[test]
    fn the_reference_page_is_made_from_the_variables() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        if std::env::var_os("FARCALL_UPDATE_DOCS").is_some() {
            std::fs::write(page, reference()).unwrap();
        }
        let written = std::fs::read_to_string(page).unwrap();
        assert_eq!(
            written,
            reference(),
            "run the test with FARCALL_UPDATE_DOCS=1 to write docs/configuration.md"
        );
    }
}
