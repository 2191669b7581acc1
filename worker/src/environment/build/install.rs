//! Installing one environment: planned against the interpreter's own packages, then exactly what is missing.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::time::Instant;

use tempfile::NamedTempFile;

use super::{Builder, Order};
use crate::environment::InstallError;
use crate::environment::base::Base;
use crate::environment::layout::{lay_out, link_data};
use crate::environment::plan::{Plan, shorten};
use crate::environment::requirement::{Requirement, redact};
use crate::environment::store::{Record, Slot, disk_space, storing};
use crate::environment::uv::Target;

impl Builder {
    /// Installs into `slot`; once more with a compiler, and with git, if that was missing.
    pub(super) async fn install(
        &self,
        order: &Order<'_>,
        slot: &Slot,
    ) -> Result<Option<Record>, InstallError> {
        let mut brought = Vec::new();
        loop {
            let error = match self.try_to_install(order, slot).await {
                Err(error) => error,
                installed => return installed,
            };
            let Some(tool) = error.missing_tool().filter(|tool| !brought.contains(tool)) else {
                return Err(error);
            };
            order.mode.announcer.say(tool.need());
            let said = |line: &str| order.mode.announcer.say(line);
            if self.system.ensure_tool(tool, &said).await?.is_none() {
                return Err(error); // it is there
            }
            brought.push(tool);
            slot.clear()?;
        }
    }

    /// `None` if nothing had to be installed.
    async fn try_to_install(&self, order: &Order<'_>, slot: &Slot) -> Result<Option<Record>, InstallError> {
        let started = Instant::now();
        let Order { base, mode, .. } = *order;
        let announcer = mode.announcer;
        let plan = self.plan(order).await?;
        if plan.is_empty() {
            return Ok(None);
        }
        announcer.say(format!("installing {}", shorten(&plan.shown())));
        if !plan.shadowed.is_empty() {
            announcer.say(format!("taking the place of the image's {}", shorten(&plan.shadowed)));
        }
        let directory = &slot.directory;
        lay_out(directory, &base.site, &self.interpreter.version).map_err(storing("write to", directory))?;
        let pins = plan.pins_with_credentials(order.requirements);
        let target = Target { python: directory.join("bin/python"), lock: Some(slot.lock_file()) };
        let fetched = self.uv(base).await?.install_pins(&target, &pins, mode).await?;
        link_data(directory, &base.site.prefix).map_err(storing("write to", directory))?;
        let build_s = started.elapsed().as_secs_f64();
        let source = match fetched {
            0 => "from the cache".to_owned(),
            fetched if fetched == pins.len() => "from the network".to_owned(),
            fetched => format!("{fetched} from the network"),
        };
        let (count, noun) = (pins.len(), if pins.len() == 1 { "package" } else { "packages" });
        announcer.say(format!("installed {count} {noun} in {build_s:.2} s, {source}"));
        let measured = directory.clone();
        let bytes = tokio::task::spawn_blocking(move || disk_space(&measured)).await.unwrap_or(0);
        Ok(Some(Record {
            requirements: order
                .requirements
                .iter()
                .map(|requirement| redact(&requirement.to_string()))
                .collect(),
            installed: plan.shown(),
            shadowed: plan.shadowed,
            python: self.interpreter.version.clone(),
            executable: self.interpreter.executable.clone(),
            site_packages: base.site.purelib.clone(),
            build_s,
            bytes,
        }))
    }

    /// With the interpreter's own packages as they are; if that cannot be, with other versions of them.
    async fn plan(&self, order: &Order<'_>) -> Result<Plan, InstallError> {
        let Order { base, requirements, mode } = *order;
        let uv = self.uv(base).await?;
        let python = &self.interpreter.executable;
        let texts: Vec<String> = requirements.iter().map(ToString::to_string).collect();
        let constraints =
            constraints(base, requirements).map_err(storing("write to", &std::env::temp_dir()))?;
        let said = match uv.plan(python, &texts, Some(constraints.path()), mode).await {
            Err(error) if error.is_unsatisfiable() => uv.plan(python, &texts, None, mode).await?,
            said => said?,
        };
        let present: HashMap<&str, &str> = base.installed.versions().collect();
        Ok(Plan::read(&said, |name| present.get(name).copied()))
    }
}

/// A file with the versions of the interpreter's own packages, except where the request itself wants another.
fn constraints(base: &Base, requirements: &[Requirement]) -> io::Result<NamedTempFile> {
    let is_wanted_otherwise = |requirement: &&Requirement| {
        let verdict = base.installed.check(std::slice::from_ref(requirement));
        // What a package requires in turn may be lacking: the package itself stays as it is.
        verdict.lack().is_some_and(|lack| lack.required_by.is_none())
    };
    let changed: HashSet<&str> =
        requirements.iter().filter(is_wanted_otherwise).filter_map(Requirement::name).collect();
    let mut file = NamedTempFile::new()?;
    for (name, version) in base.installed.versions().filter(|(name, _)| !changed.contains(name)) {
        writeln!(file, "{name}=={version}")?;
    }
    file.flush()?;
    Ok(file)
}
