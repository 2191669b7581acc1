//! Local files that a request ships along (`modules`): importable while its source runs.
//!
//! Each set of files lives in its own directory; one that the supervisor has kept from an earlier request is copied, so
//! that what user code does to its files stays in its runner. One set is active at a time: its directory is first on
//! `sys.path`, and only its modules are in `sys.modules`. Switching puts the old set's modules aside and the
//! new set's back, so a helper that changed under the same name is picked up, and one that did not keeps its
//! state.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use farcall_protocol::ModulesKey;
use farcall_protocol::frame::KeptModules;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::disk;
use crate::python::SYS;
use crate::source::SourceKey;

/// Modules by name, taken out of `sys.modules`.
type Aside = Vec<(String, Py<PyAny>)>;

/// The sets of files seen so far.
#[derive(Debug)]
pub(crate) struct ShippedFiles {
    directory: PathBuf,
    active: Option<Active>,
    aside: HashMap<SourceKey, Aside>,
}

#[derive(Debug)]
struct Active {
    key: SourceKey,
    directory: String,
    /// Modules of the same names from elsewhere, to be put back.
    shadowed: Aside,
}

impl ShippedFiles {
    pub(crate) fn new(scratch: &Path) -> Self {
        Self { directory: scratch.join("modules"), active: None, aside: HashMap::new() }
    }

    /// Makes `kept`, or else `files`, importable and everything shipped before not. Returns the set's key, zero for
    /// no files.
    pub(crate) fn activate(
        &mut self,
        py: Python<'_>,
        files: &BTreeMap<String, String>,
        kept: Option<&KeptModules>,
    ) -> PyResult<SourceKey> {
        let key = match kept {
            Some(kept) => *kept.key.bytes(),
            None if files.is_empty() => [0; 32],
            None => *ModulesKey::of(files).bytes(),
        };
        if self.active.as_ref().map_or([0; 32], |active| active.key) == key {
            return Ok(key);
        }
        let sys = SYS.get(py)?;
        let (path, modules) = (sys.getattr("path")?, sys.getattr("modules")?);
        let modules = modules.cast_into::<PyDict>()?;
        if let Some(active) = self.active.take() {
            let _ = path.call_method1("remove", (&active.directory,)); // user code may have removed it
            let inside = |_: &str, module: &Bound<'_, PyAny>| lives_in(module, &active.directory);
            self.aside.insert(active.key, take_out(&modules, inside)?);
            put_back(&modules, active.shadowed)?;
        }
        if key == [0; 32] {
            return Ok(key);
        }
        let read;
        let files = match kept {
            Some(kept) => {
                read = read_back(kept)?;
                &read
            }
            None => files,
        };
        let directory = self.write(py, files, key)?;
        let names: Vec<&str> = files.keys().map(|path| top_level_name(path)).collect();
        let is_shipped = |name: &str| names.contains(&name.split('.').next().unwrap_or(name));
        let shadowed = take_out(&modules, |name, _| is_shipped(name))?;
        path.call_method1("insert", (0, &directory))?;
        put_back(&modules, self.aside.remove(&key).unwrap_or_default())?;
        self.active = Some(Active { key, directory, shadowed });
        Ok(key)
    }

    fn write(&self, py: Python<'_>, files: &BTreeMap<String, String>, key: SourceKey) -> PyResult<String> {
        let hash: String = key[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = self.directory.join(hash);
        for (path, source) in files {
            let refused = |error: PyErr| {
                let reason = error.value(py);
                PyOSError::new_err(format!("the shipped module `{path}` cannot be written: {reason}"))
            };
            // `FunctionRequest::target` has checked that no path leaves the directory.
            let file = directory.join(path);
            if let Some(parent) = file.parent() {
                disk::make_directory(parent).map_err(refused)?;
            }
            disk::write(&file, source).map_err(refused)?;
        }
        Ok(directory.to_string_lossy().into_owned())
    }
}

/// `helper` for `helper.py`, `pkg` for `pkg/sub/x.py`.
fn top_level_name(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".py").unwrap_or(first)
}

/// The files of a kept set. One that is not as it was sent is removed, so that clients send it again.
fn read_back(kept: &KeptModules) -> PyResult<BTreeMap<String, String>> {
    let (mut files, root) = (BTreeMap::new(), Path::new(&kept.directory));
    let read = read_below(root, root, &mut files);
    if read.is_ok() && ModulesKey::of(&files) == kept.key {
        return Ok(files);
    }
    let _ = fs::remove_dir_all(root);
    let reason =
        read.err().map_or_else(|| "they are not what was sent".to_owned(), |error| error.to_string());
    let directory = &kept.directory;
    Err(PyOSError::new_err(format!(
        "the shipped modules kept in `{directory}` cannot be used: {reason}\nhint: call again: they are sent anew"
    )))
}

fn read_below(directory: &Path, root: &Path, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            read_below(&path, root, files)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            files.insert(name.to_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

fn take_out(
    modules: &Bound<'_, PyDict>,
    wanted: impl Fn(&str, &Bound<'_, PyAny>) -> bool,
) -> PyResult<Aside> {
    let mut aside = Aside::new();
    for (name, module) in modules.copy()? {
        let Ok(name) = name.extract::<String>() else { continue };
        if wanted(&name, &module) {
            modules.del_item(&name)?;
            aside.push((name, module.unbind()));
        }
    }
    Ok(aside)
}

fn put_back(modules: &Bound<'_, PyDict>, aside: Aside) -> PyResult<()> {
    aside.into_iter().try_for_each(|(name, module)| modules.set_item(name, module))
}

/// Whether a module was loaded from below `directory`; namespace packages have a path but no file.
fn lives_in(module: &Bound<'_, PyAny>, directory: &str) -> bool {
    let inside = |path: String| Path::new(&path).starts_with(directory);
    if let Ok(file) = module.getattr("__file__").and_then(|file| file.extract::<String>()) {
        return inside(file);
    }
    let first =
        module.getattr("__path__").and_then(|path| path.call_method0("__iter__")?.call_method0("__next__"));
    first.and_then(|path| path.extract::<String>()).is_ok_and(inside)
}
