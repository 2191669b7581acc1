//! The interpreter's own packages, read again when they change.

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::debug;

use super::InstallError;
use super::installed::Installed;
use crate::interpreter::{Interpreter, Site};

/// The interpreter's own packages at one time.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) site: Site,
    pub(super) installed: Installed,
}

/// The latest look at them.
#[derive(Debug)]
pub(super) struct BaseReader {
    interpreter: Interpreter,
    latest: Mutex<Option<Arc<Base>>>,
}

impl BaseReader {
    /// Of `interpreter`; nothing is read yet.
    pub(super) fn new(interpreter: Interpreter) -> Self {
        Self { interpreter, latest: Mutex::new(None) }
    }

    /// The packages as they are now. Costs a few microseconds while nothing has changed.
    pub(super) async fn now(&self) -> Result<Arc<Base>, InstallError> {
        let mut latest = self.latest.lock().await;
        if let Some(base) = latest.as_ref().filter(|base| base.installed.is_current()) {
            return Ok(Arc::clone(base));
        }
        let site = self.interpreter.site().await.map_err(InstallError::Site)?;
        let installed = Installed::read(&site.directories, &site.markers);
        debug!(distributions = installed.versions().count(), "the interpreter's own packages read");
        let base = Arc::new(Base { site, installed });
        *latest = Some(Arc::clone(&base));
        Ok(base)
    }
}
