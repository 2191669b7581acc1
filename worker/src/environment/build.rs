//! Building one environment, from wherever it can be had fastest.

mod install;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tracing::{debug, info, warn};

use super::base::{Base, BaseReader};
use super::flight::Announcer;
use super::index::IndexSettings;
use super::plan::shorten;
use super::requirement::Requirement;
use super::store::{Entry, Record, Slot, Store};
use super::system::SystemPackages;
use super::uv::{Mode, Uv};
use super::volume::Volume;
use super::{Environment, InstallError, Packages};
use crate::config::Config;
use crate::interpreter::Interpreter;

/// Hexadecimal digits of a key: 128 bits.
const KEY_DIGITS: usize = 32;

/// Raised whenever environments are laid out in another way.
const LAYOUT: &str = "1";

/// Builds environments of one interpreter.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) store: Store,
    /// What may be thrown away at any time.
    cache: PathBuf,
    interpreter: Interpreter,
    base: BaseReader,
    path: String,
    timeout: Duration,
    max_bytes: u64,
    volume: Option<Volume>,
    system: Arc<SystemPackages>,
    settings: OnceLock<IndexSettings>,
    uv: OnceCell<Uv>,
    /// Keys of environments that were built here and are not on the volume yet.
    unsaved: Mutex<HashSet<String>>,
}

/// An environment that is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) key: String,
    pub(super) base: Arc<Base>,
    pub(super) requirements: Vec<Requirement>,
    pub(super) accelerate: bool,
}

/// What is to be installed, and how.
#[derive(Debug)]
struct Order<'a> {
    base: &'a Base,
    requirements: &'a [Requirement],
    mode: Mode<'a>,
}

impl Builder {
    /// For runners of `interpreter`.
    pub(super) fn new(config: &Config, interpreter: Interpreter, system: Arc<SystemPackages>) -> Self {
        let volume = config.volume.as_ref();
        Self {
            store: Store::new(&config.cache_directory),
            cache: config.cache_directory.clone(),
            base: BaseReader::new(interpreter.clone()),
            interpreter,
            path: config.path.clone(),
            timeout: config.install_timeout,
            max_bytes: config.cache_bytes,
            volume: volume.map(|directory| Volume::new(directory.join("farcall"), config.volume_bytes)),
            system,
            settings: OnceLock::new(),
            uv: OnceCell::new(),
            unsaved: Mutex::default(),
        }
    }

    /// The interpreter's own packages.
    pub(super) async fn base(&self) -> Result<Arc<Base>, InstallError> {
        self.base.now().await
    }

    /// Whether settings decide together with the requirements what is wanted, which only uv can judge.
    pub(super) fn has_constraints(&self, base: &Base) -> bool {
        let variables = ["UV_OVERRIDE", "UV_REINSTALL", "UV_UPGRADE"];
        !self.settings(base).constraints.is_empty()
            || variables.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
    }

    /// Names the environment that `requirements` come to: the same on every worker of an image.
    pub(super) fn key(&self, base: &Base, requirements: &[Requirement], accelerate: bool) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &str| hash.update(format!("{}:{part}\n", part.len()));
        add(LAYOUT);
        add(std::env::consts::ARCH);
        // What was compiled needs the C library of its distribution's release; the volume may serve several.
        add(&distribution());
        add(&self.interpreter.version);
        add(&self.interpreter.executable.to_string_lossy());
        add(&base.installed.fingerprint());
        add(&self.settings(base).fingerprint);
        add(if accelerate { "uv" } else { "pip" });
        requirements.iter().for_each(|requirement| add(&requirement.to_string()));
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        digest[..KEY_DIGITS].to_owned()
    }

    /// Makes an environment, or finds that nothing needs to be installed.
    pub(super) async fn build(&self, wanted: Wanted, announcer: Announcer) -> Result<Packages, InstallError> {
        let Wanted { key, base, requirements, accelerate } = wanted;
        let end = Instant::now() + self.timeout;
        let command = "waiting for another worker that installs the same".to_owned();
        let entry = tokio::time::timeout_at(end.into(), self.store.open_or_lock(&key)).await;
        let lock = match entry.map_err(|_| InstallError::TimedOut { command })?? {
            Entry::Environment { environment, waited } => {
                if waited {
                    announcer.say("the dependencies were installed by another worker meanwhile");
                }
                return Ok(Packages::Environment(environment));
            }
            Entry::Vacant(lock) => lock,
        };
        let slot = self.store.slot(&self.slot_name())?;
        let (slot, restored) = self.restore(&key, slot, &announcer).await?;
        let record = match restored {
            Some(record) => record,
            None => {
                let mode = Mode { accelerate, end, announcer: &announcer };
                let order = Order { base: &base, requirements: &requirements, mode };
                let Some(record) = self.install(&order, &slot).await? else { return Ok(Packages::Base) };
                self.unsaved().insert(key.clone());
                record
            }
        };
        let environment = self.store.publish(&key, slot, record, lock)?;
        let (store, most_bytes) = (self.store.clone(), self.max_bytes);
        tokio::task::spawn_blocking(move || {
            let removed = store.prune(most_bytes).len();
            if removed > 0 {
                info!(removed, "environments removed: least recently used of too many bytes");
            }
        });
        Ok(Packages::Environment(Arc::new(environment)))
    }

    /// What keeps an environment on the volume, if it was built here and is not there yet.
    pub(super) fn save(&self, environment: &Arc<Environment>) -> Option<impl FnOnce() + Send + 'static> {
        let volume = self.volume.clone()?;
        let is_unsaved = self.unsaved().remove(&environment.key);
        let environment = Arc::clone(environment); // held while it is read
        is_unsaved.then_some(move || match volume.save(&environment.key, &environment.directory) {
            Ok(Some(bytes)) => info!(key = environment.key, bytes, "environment kept on the volume"),
            Ok(None) => debug!(key = environment.key, "environment is on the volume already"),
            Err(error) => warn!(%error, key = environment.key, "cannot keep an environment on the volume"),
        })
    }

    /// Unpacks the environment from the volume, if it is there and whole.
    async fn restore(
        &self,
        key: &str,
        slot: Slot,
        announcer: &Announcer,
    ) -> Result<(Slot, Option<Record>), InstallError> {
        let Some(volume) = self.volume.clone() else { return Ok((slot, None)) };
        let (started, key) = (Instant::now(), key.to_owned());
        let unpacking = tokio::task::spawn_blocking(move || {
            let loaded = volume.load(&key, &slot.directory);
            (slot, loaded)
        });
        let (slot, loaded) = unpacking.await.map_err(|_| InstallError::Closed)?;
        match loaded {
            Ok(true) => {
                let record = Store::record_in(&slot.directory);
                if let Some(record) = &record {
                    let (count, seconds) = (record.installed.len(), started.elapsed().as_secs_f64());
                    let names = shorten(&record.installed);
                    announcer
                        .say(format!("took {count} packages from the volume in {seconds:.2} s: {names}"));
                    return Ok((slot, Some(record.clone())));
                }
            }
            Ok(false) => return Ok((slot, None)),
            Err(error) => warn!(%error, "an environment on the volume is not used"),
        }
        drop(slot); // with whatever was unpacked
        Ok((self.store.slot(&self.slot_name())?, None))
    }

    async fn uv(&self, base: &Base) -> Result<&Uv, InstallError> {
        let settings = self.settings(base).clone();
        let find = || Uv::find(&self.path, &self.interpreter.executable, settings, &self.cache);
        self.uv.get_or_try_init(find).await
    }

    fn settings(&self, base: &Base) -> &IndexSettings {
        self.settings.get_or_init(|| {
            let environment: BTreeMap<String, String> = std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect();
            IndexSettings::read(&environment, &base.site.prefix)
        })
    }

    /// Says which interpreter is in a slot: uv remembers what it found at a path.
    fn slot_name(&self) -> String {
        let digest = Sha256::digest(self.interpreter.executable.to_string_lossy().as_bytes());
        let digits = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{}-{digits}", self.interpreter.version)
    }

    fn unsaved(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The distribution and its release, as `/etc/os-release` names them.
fn distribution() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_name = |line: &&str| line.starts_with("ID=") || line.starts_with("VERSION_ID=");
    text.lines().filter(is_name).collect::<Vec<_>>().join(" ")
}
