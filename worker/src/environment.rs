//! Environments: the packages that requests ask for, installed differentially.
//!
//! ```text
//!  dependencies ── parsed ──▶ all in the interpreter's own packages? ── yes ──▶ Packages::Base, nothing is done
//!                                  │ no
//!                                  ▼ key: interpreter, its packages, requirements, index settings
//!             kept on this machine? ── on the volume? ── else uv plans, then installs what is missing
//!                                  │
//!                                  ▼
//!                  an Environment: a directory in front of the interpreter's own packages
//! ```
//!
//! The interpreter's own packages are never changed, and an environment never changes once it is there, so
//! requests with conflicting versions run side by side. What is installed is what the interpreter lacks.

mod base;
mod build;
mod error;
mod flight;
mod index;
pub mod installed;
mod known;
mod layout;
mod notices;
mod plan;
pub mod requirement;
pub mod store;
pub mod system;
pub mod uv;
pub mod volume;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use farcall_protocol::FunctionRequest;
use farcall_protocol::frame::Enter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::config::Config;
use crate::interpreter::Interpreter;
use build::{Builder, Wanted};
pub use error::InstallError;
use flight::Flights;
use known::Known;
pub use notices::Notices;
use requirement::canonical;
use store::{Lock, Record};
use system::SystemPackages;

/// The packages a call sees.
#[derive(Debug, Clone, Default)]
pub enum Packages {
    /// The interpreter's own.
    #[default]
    Base,
    /// Those, behind the ones of an environment.
    Environment(Arc<Environment>),
}

/// A set of installed packages that is there and stays there while this exists.
#[derive(Debug)]
pub struct Environment {
    key: String,
    directory: PathBuf,
    record: Record,
    _in_use: Lock,
}

/// What a request needs to be there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Needs {
    /// Python requirements (PEP 508).
    pub python: Vec<String>,
    /// Debian packages.
    pub system: Vec<String>,
    /// Whether downloads may run in parallel.
    pub accelerate: bool,
}

/// Installs what requests need.
#[derive(Debug)]
pub struct Environments {
    builder: Arc<Builder>,
    system: Arc<SystemPackages>,
    flights: Arc<Flights>,
    known: Known,
    tasks: TaskTracker,
    closed: CancellationToken,
}

impl PartialEq for Packages {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Base, Self::Base) => true,
            (Self::Environment(one), Self::Environment(other)) => one.key == other.key,
            _ => false,
        }
    }
}

impl Environment {
    /// Its layout, for a runner.
    pub fn layout(&self) -> Enter {
        Enter {
            prefix: self.directory.to_string_lossy().into_owned(),
            site_packages: self.directory.join(&self.record.site_packages).to_string_lossy().into_owned(),
        }
    }
}

impl Needs {
    /// What a request asks for; `None` if it asks for nothing.
    pub fn of(request: &FunctionRequest<'_>) -> Option<Self> {
        let needs = Self {
            python: request.dependencies.clone().unwrap_or_default(),
            system: request.system_dependencies.clone().unwrap_or_default(),
            accelerate: request.accelerate_downloads,
        };
        (!needs.python.is_empty() || !needs.system.is_empty()).then_some(needs)
    }
}

impl Environments {
    /// For runners of `interpreter`. Nothing is looked at before the first request that needs something.
    pub fn new(config: &Config, interpreter: Interpreter) -> Self {
        let system = Arc::new(SystemPackages::new(&config.path, config.install_timeout));
        Self {
            builder: Arc::new(Builder::new(config, interpreter, Arc::clone(&system))),
            system,
            flights: Arc::default(),
            known: Known::default(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Sees to it that what a request needs is there. Dropping the future gives up: what nobody else waits for
    /// ends.
    pub async fn prepare(&self, needs: &Needs, notices: &Notices) -> Result<Packages, Arc<InstallError>> {
        tokio::select! {
            prepared = self.install(needs, notices) => prepared,
            () = self.closed.cancelled() => Err(Arc::new(InstallError::Closed)),
        }
    }

    /// Keeps an environment that was built here on the volume, after its first call: by then, byte code of what
    /// is imported is there as well.
    pub fn keep(&self, packages: &Packages) {
        let Packages::Environment(environment) = packages else { return };
        if let Some(saving) = self.builder.save(environment) {
            self.tasks.spawn_blocking(saving);
        }
    }

    /// Ends what is under way, and waits for its end.
    pub async fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn install(&self, needs: &Needs, notices: &Notices) -> Result<Packages, Arc<InstallError>> {
        let python = self.install_python(needs, notices);
        if needs.system.is_empty() {
            return python.await;
        }
        let system = async {
            let said = |line: &str| notices.say(line);
            self.system.ensure(&needs.system, needs.accelerate, &said).await
        };
        if !needs.accelerate {
            system.await.map_err(InstallError::System)?;
            return python.await;
        }
        let (system, python) = tokio::join!(system, python);
        let has_installed = system.map_err(InstallError::System)?.is_some();
        match python {
            // Building it may have needed what was being installed at the same time.
            Err(error) if has_installed && error.may_need_system_packages() => {
                notices.say("trying again, now that the system packages are there");
                self.install_python(needs, notices).await
            }
            python => python,
        }
    }

    async fn install_python(&self, needs: &Needs, notices: &Notices) -> Result<Packages, Arc<InstallError>> {
        if needs.python.is_empty() {
            return Ok(Packages::Base);
        }
        let base = self.builder.base().await?;
        if let Some(packages) = self.known.find(needs, &base, &self.builder.store) {
            return Ok(packages);
        }
        let started = Instant::now();
        let requirements = canonical(&needs.python).map_err(InstallError::from)?;
        let verdict = base.installed.check(&requirements);
        debug!(%verdict, elapsed_us = started.elapsed().as_micros(), "dependencies looked up");
        if verdict.is_satisfied() && !self.builder.has_constraints(&base) {
            self.known.remember(needs, &base, &Packages::Base);
            return Ok(Packages::Base);
        }
        let key = self.builder.key(&base, &requirements, needs.accelerate);
        let packages = match self.builder.store.open(&key)? {
            Some(environment) => Packages::Environment(Arc::new(environment)),
            None => {
                let builder = Arc::clone(&self.builder);
                let wanted = Wanted {
                    key: key.clone(),
                    base: Arc::clone(&base),
                    requirements,
                    accelerate: needs.accelerate,
                };
                let build =
                    |announcer| async move { builder.build(wanted, announcer).await.map_err(Arc::new) };
                self.flights.join(&key, notices, &self.tasks, build).await?
            }
        };
        self.known.remember(needs, &base, &packages);
        Ok(packages)
    }
}
