//! Every variable the worker reads, parsed once.
//!
//! `docs/configuration.md` is made from [`VARIABLES`]; a test keeps the two the same.

use std::path::PathBuf;
use std::time::Duration;

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
    pub log_level: String,
    /// `FARCALL_MAX_OUTPUT_KB`, in bytes
    pub max_output_bytes: usize,
    /// `FARCALL_MAX_RESULT_MB`, in bytes
    pub max_result_bytes: u64,
    /// `FARCALL_MAX_INSTANCES`
    pub max_instances: usize,
    /// `FARCALL_FRESH_NAMESPACE`
    pub fresh_namespace: bool,
    /// `FARCALL_START_TIMEOUT_S`
    pub start_timeout: Duration,
}

/// Whether runners load an interpreter's shared library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibpythonUse {
    /// Where there is one.
    Auto,
    /// Not even then: the interpreter's executable is run.
    Never,
}

/// A variable with its documentation.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// The value that counts when it is unset or empty.
    pub default: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// Every variable, in the order of the reference page.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "FARCALL_PYTHON",
        default: "the active virtual environment's, then `python3` on `PATH`",
        description: "The interpreter that runs user code: a path, or a name to look up on `PATH`. CPython 3.10 or later.",
    },
    Variable {
        name: "FARCALL_LIBPYTHON",
        default: "`auto`",
        description: "`auto` loads the interpreter's shared library where there is one; `never` runs the interpreter's executable instead of loading its shared library.",
    },
    Variable {
        name: "FARCALL_CACHE_DIR",
        default: "`$XDG_CACHE_HOME/farcall` or `~/.cache/farcall`",
        description: "What may be kept between starts and thrown away at any time.",
    },
    Variable {
        name: "FARCALL_LOG_LEVEL",
        default: "`warn`",
        description: "The worker's own log: `error`, `warn`, `info`, `debug` or `trace`.",
    },
    Variable {
        name: "FARCALL_MAX_OUTPUT_KB",
        default: "`8192`",
        description: "Output kept of one call, in KiB: its beginning and its end; what is left out between is counted.",
    },
    Variable {
        name: "FARCALL_MAX_RESULT_MB",
        default: "`512`",
        description: "Largest encoded result of one call, in MiB; a larger one fails the call.",
    },
    Variable {
        name: "FARCALL_MAX_INSTANCES",
        default: "`64`",
        description: "Class instances a runner keeps between calls; beyond it the least recently used one is dropped.",
    },
    Variable {
        name: "FARCALL_FRESH_NAMESPACE",
        default: "`0`",
        description: "`1` executes a request's source for every call. By default that is done once, so that what is at module level, such as a model, is loaded once.",
    },
    Variable {
        name: "FARCALL_START_TIMEOUT_S",
        default: "`60`",
        description: "Seconds a runner may take from its start until it is ready.",
    },
    Variable { name: "NO_COLOR", default: "unset", description: "Anything turns colours off." },
];

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
        let text = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let number = |name: &'static str, default: u64| match text(name) {
            None => Ok(default),
            Some(value) => match value.parse::<u32>() {
                Ok(number) if number > 0 => Ok(u64::from(number)),
                _ => Err(ConfigError { variable: name, value, expected: "a whole number above 0" }),
            },
        };
        let switch = |name: &'static str| match text(name).as_deref() {
            None | Some("0" | "false" | "no" | "off") => Ok(false),
            Some("1" | "true" | "yes" | "on") => Ok(true),
            Some(value) => Err(ConfigError { variable: name, value: value.to_owned(), expected: "0 or 1" }),
        };
        let libpython = match text("FARCALL_LIBPYTHON").as_deref() {
            None | Some("auto") => LibpythonUse::Auto,
            Some("never") => LibpythonUse::Never,
            Some(value) => {
                let (variable, value) = ("FARCALL_LIBPYTHON", value.to_owned());
                return Err(ConfigError { variable, value, expected: "auto or never" });
            }
        };
        let cache = path("FARCALL_CACHE_DIR")
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("farcall")))
            .or_else(|| path("HOME").map(|home| home.join(".cache/farcall")));
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Self {
            python: path("FARCALL_PYTHON"),
            libpython,
            virtual_environment: path("VIRTUAL_ENV"),
            path: text("PATH").unwrap_or_default(),
            cache_directory: cache.unwrap_or_else(|| std::env::temp_dir().join("farcall-cache")),
            log_level: text("FARCALL_LOG_LEVEL").unwrap_or_else(|| "warn".to_owned()),
            max_output_bytes: size(number("FARCALL_MAX_OUTPUT_KB", 8192)? << 10),
            max_result_bytes: number("FARCALL_MAX_RESULT_MB", 512)? << 20,
            max_instances: size(number("FARCALL_MAX_INSTANCES", 64)?),
            fresh_namespace: switch("FARCALL_FRESH_NAMESPACE")?,
            start_timeout: Duration::from_secs(number("FARCALL_START_TIMEOUT_S", 60)?),
        })
    }

    /// Reads the configuration from this process's environment.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }
}

/// The reference page.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\nThe worker is configured by environment variables. A value that cannot be used stops \
         it at once, with exit code 64 and a message that names the variable.\n\n\
         | variable | default | what it does |\n|---|---|---|\n",
    );
    for Variable { name, default, description } in VARIABLES {
        page.push_str(&format!("| `{name}` | {default} | {description} |\n"));
    }
    page
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
