//! Where packages come from: pip's configuration, said in uv's terms.
//!
//! uv reads `UV_*` itself, and does not read pip's variables and files, which images and users have. What both
//! say is taken from uv's. The names are those of pip's and uv's own reference pages.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use configparser::ini::Ini;
use sha2::{Digest, Sha256};

use super::requirement::redact;

/// `UV_*` variables that change how packages are fetched or stored, not which.
const WITHOUT_EFFECT: [&str; 12] = [
    "UV_CACHE_DIR",
    "UV_COMPILE_BYTECODE",
    "UV_CONCURRENT_BUILDS",
    "UV_CONCURRENT_DOWNLOADS",
    "UV_CONCURRENT_INSTALLS",
    "UV_HTTP_TIMEOUT",
    "UV_LINK_MODE",
    "UV_NO_PROGRESS",
    "UV_PYTHON",
    "UV_SYSTEM_CERTS",
    "UV_SYSTEM_PYTHON",
    "UV_WORKING_DIR",
];

/// The settings every run of uv gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct IndexSettings {
    /// Variables to set.
    pub(super) variables: BTreeMap<&'static str, String>,
    /// Arguments, for what there is no variable.
    pub(super) arguments: Vec<String>,
    /// Files with versions to keep to.
    pub(super) constraints: Vec<PathBuf>,
    /// What environments depend on: two workers with the same one would install the same.
    pub(super) fingerprint: String,
}

/// pip's settings by their long names, such as `index-url`.
#[derive(Debug, Default)]
struct PipSettings(BTreeMap<String, String>);

impl IndexSettings {
    /// Reads the environment (given as pairs) and pip's files; `prefix` is the interpreter's.
    pub(super) fn read(environment: &BTreeMap<String, String>, prefix: &Path) -> Self {
        let pip = PipSettings::read(environment, prefix);
        let mut settings = Self::default();
        settings.say_in_uv_terms(&pip, environment);
        settings.fingerprint = settings.fingerprint_with(environment);
        settings
    }

    fn say_in_uv_terms(&mut self, pip: &PipSettings, environment: &BTreeMap<String, String>) {
        let has = |names: &[&str]| {
            names.iter().any(|name| environment.get(*name).is_some_and(|value| !value.is_empty()))
        };
        let mut set = |name, value: String, unless: &[&str]| {
            if !has(&[name]) && !has(unless) && !value.is_empty() {
                self.variables.insert(name, value);
            }
        };
        set("UV_DEFAULT_INDEX", pip.text("index-url"), &["UV_INDEX_URL"]);
        let more = pip.words("extra-index-url");
        if !more.is_empty() {
            set("UV_INDEX", more.join(" "), &["UV_EXTRA_INDEX_URL"]);
            // pip takes the best version that any index has; uv stops at the first index with the package.
            set("UV_INDEX_STRATEGY", "unsafe-best-match".to_owned(), &[]);
        }
        set("UV_FIND_LINKS", pip.words("find-links").join(","), &[]);
        set("UV_INSECURE_HOST", pip.words("trusted-host").join(" "), &[]);
        set("UV_HTTP_TIMEOUT", pip.text("default-timeout"), &[]);
        set("UV_HTTP_TIMEOUT", pip.text("timeout"), &[]);
        set("SSL_CERT_FILE", pip.text("cert"), &[]);
        set("ALL_PROXY", pip.text("proxy"), &["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"]);
        set("UV_SYSTEM_CERTS", "true".to_owned(), &["UV_NATIVE_TLS"]);
        set("UV_PRERELEASE", if pip.is_on("pre") { "allow".to_owned() } else { String::new() }, &[]);
        let constraints = environment.get("UV_CONSTRAINT").filter(|value| !value.is_empty());
        let constraints = constraints.cloned().unwrap_or_else(|| pip.text("constraint"));
        self.constraints = constraints.split_whitespace().map(PathBuf::from).collect();
        if pip.is_on("no-index") {
            self.arguments.push("--no-index".to_owned());
        }
        for option in ["no-binary", "only-binary"] {
            for package in pip.text(option).split([',', ' ', '\n']).filter(|package| !package.is_empty()) {
                self.arguments.push(format!("--{option}={package}"));
            }
        }
    }

    fn fingerprint_with(&self, environment: &BTreeMap<String, String>) -> String {
        let own = environment.iter().map(|(name, value)| (name.as_str(), value));
        let own = own.filter(|(name, _)| name.starts_with("UV_"));
        let all = own.chain(self.variables.iter().map(|(name, value)| (*name, value)));
        let mut hash = Sha256::new();
        for (name, value) in all.filter(|(name, _)| !WITHOUT_EFFECT.contains(name)) {
            // Passwords change, what they open does not.
            hash.update(format!("{name}={}\0", redact(value)));
        }
        for argument in &self.arguments {
            hash.update(format!("{argument}\0"));
        }
        for file in self.constraints.iter().chain(&uv_files(environment)) {
            hash.update(std::fs::read(file).unwrap_or_default());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The variables as a command takes them.
    pub(super) fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)))
    }
}

impl PipSettings {
    /// Files first, the more particular ones over the others, then `PIP_*` over them all.
    fn read(environment: &BTreeMap<String, String>, prefix: &Path) -> Self {
        let mut settings = Self::default();
        for file in files(environment, prefix) {
            if let Ok(text) = std::fs::read_to_string(file) {
                settings.add_file(&text);
            }
        }
        for (name, value) in environment {
            if let Some(option) = name.strip_prefix("PIP_").filter(|_| !value.is_empty()) {
                settings.0.insert(option.to_lowercase().replace('_', "-"), value.clone());
            }
        }
        settings
    }

    fn add_file(&mut self, text: &str) {
        let mut file = Ini::new();
        file.set_multiline(true);
        if file.read(text.to_owned()).is_err() {
            return; // pip complains about it in its own time
        }
        for section in ["global", "install"] {
            for (option, value) in file.get_map_ref().get(section).into_iter().flatten() {
                self.0.insert(option.replace('_', "-"), value.clone().unwrap_or_default());
            }
        }
    }

    fn text(&self, option: &str) -> String {
        self.0.get(option).map(|value| value.trim().to_owned()).unwrap_or_default()
    }

    fn words(&self, option: &str) -> Vec<String> {
        self.text(option).split_whitespace().map(str::to_owned).collect()
    }

    fn is_on(&self, option: &str) -> bool {
        matches!(self.text(option).to_lowercase().as_str(), "1" | "true" | "yes" | "on")
    }
}

/// pip's configuration files, the most general first, as its documentation lists them.
fn files(environment: &BTreeMap<String, String>, prefix: &Path) -> Vec<PathBuf> {
    let named = environment.get("PIP_CONFIG_FILE").filter(|value| !value.is_empty());
    if named.is_some_and(|file| file == "/dev/null") {
        return Vec::new();
    }
    let directory = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = directory("HOME");
    let configuration =
        directory("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let mut files = vec![PathBuf::from("/etc/pip.conf"), PathBuf::from("/etc/xdg/pip/pip.conf")];
    files.extend(home.map(|home| home.join(".pip/pip.conf")));
    files.extend(configuration.map(|directory| directory.join("pip/pip.conf")));
    files.push(prefix.join("pip.conf"));
    files.extend(named.map(PathBuf::from));
    files
}

/// uv's configuration files, which it reads itself.
fn uv_files(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let directory = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configuration =
        directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
    let own = configuration.map(|directory| directory.join("uv/uv.toml"));
    [Some(PathBuf::from("/etc/uv/uv.toml")), own, directory("UV_CONFIG_FILE")].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> IndexSettings {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        IndexSettings::read(&environment.collect(), Path::new("/nonexistent"))
    }

    #[test]
    fn variables_win_over_files_and_uv_over_pip() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pip.conf");
        let text = "[global]\nindex-url = https://one.example/simple\nextra-index-url =\n  https://two.example/simple\n  https://three.example/simple\n[install]\nno-binary = :all:\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let settings = read(&[("PIP_CONFIG_FILE", file)]);
        assert_eq!(settings.variables["UV_DEFAULT_INDEX"], "https://one.example/simple");
        assert_eq!(settings.variables["UV_INDEX"], "https://two.example/simple https://three.example/simple");
        assert_eq!(settings.variables["UV_INDEX_STRATEGY"], "unsafe-best-match");
        assert_eq!(settings.arguments, ["--no-binary=:all:"]);
        let settings = read(&[("PIP_CONFIG_FILE", file), ("PIP_INDEX_URL", "https://four.example")]);
        assert_eq!(settings.variables["UV_DEFAULT_INDEX"], "https://four.example");
        let settings = read(&[("PIP_CONFIG_FILE", file), ("UV_INDEX_URL", "https://five.example")]);
        assert!(!settings.variables.contains_key("UV_DEFAULT_INDEX"));
    }

    #[test]
    fn the_fingerprint_follows_what_is_installed_not_how() {
        let index = |url: &str| read(&[("PIP_CONFIG_FILE", "/dev/null"), ("PIP_INDEX_URL", url)]).fingerprint;
        assert_ne!(index("https://one.example"), index("https://two.example"));
        assert_eq!(index("https://me:old@one.example"), index("https://me:new@one.example"));
        let cache = read(&[("PIP_CONFIG_FILE", "/dev/null"), ("UV_CACHE_DIR", "/somewhere")]).fingerprint;
        assert_eq!(cache, read(&[("PIP_CONFIG_FILE", "/dev/null")]).fingerprint);
    }
}
