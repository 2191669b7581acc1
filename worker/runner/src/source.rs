//! User source: compiled once, its namespace kept while the runner lives.
//!
//! A source becomes a module that is registered in `sys.modules` under a name nobody can import by accident
//! (`__farcall_<hash>__`). `if __name__ == "__main__"` stays inert, `inspect.getsource` and tracebacks find the
//! file, and [`register_by_value`] makes cloudpickle ship its classes by value.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyString};
use sha2::{Digest, Sha256};

use crate::disk;
use crate::kept::Kept;
use crate::python::SYS;

/// Namespaces kept. A notebook that edits and calls makes a new one each time.
const KEPT_NAMESPACES: usize = 128;

/// sha256 of everything a namespace was made from.
pub(crate) type SourceKey = [u8; 32];

/// The namespaces of this runner.
#[derive(Debug)]
pub(crate) struct Sources {
    directory: PathBuf,
    loaded: Kept<SourceKey, Py<PyModule>>,
}

/// Modules cloudpickle has not been told about yet: it is imported for the first value that needs it.
static UNREGISTERED: Mutex<Vec<Py<PyModule>>> = Mutex::new(Vec::new());

/// A source to load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Python text.
    pub(crate) code: &'a str,
    /// The function's or class's name; the file is called after it.
    pub(crate) name: &'a str,
    /// Key of the files shipped along: a namespace holds on to what it imported from them.
    pub(crate) shipped: SourceKey,
}

impl Source<'_> {
    /// The key under which the namespace is kept.
    pub(crate) fn key(&self) -> SourceKey {
        Sha256::new().chain_update(self.shipped).chain_update(self.code).finalize().into()
    }
}

impl Sources {
    pub(crate) fn new(scratch: &Path) -> Self {
        Self { directory: scratch.join("source"), loaded: Kept::new(KEPT_NAMESPACES) }
    }

    /// The namespace of `source`, executing it unless that was done before.
    pub(crate) fn load<'py>(
        &mut self,
        py: Python<'py>,
        source: Source<'_>,
        fresh: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let key = source.key();
        let modules = SYS.get(py)?.getattr("modules")?;
        if !fresh && let Some(module) = self.loaded.get(&key) {
            modules.set_item(CURRENT_MODULE, &*module)?;
            return Ok(module.bind(py).dict());
        }
        let module = self.execute(py, source, key)?;
        modules.set_item(CURRENT_MODULE, &module)?;
        unregistered().push(module.clone().unbind());
        let namespace = module.dict();
        if let Some((gone, old)) = self.loaded.insert(key, module.unbind())
            && gone != key
        {
            // What still refers to it keeps working; only its entry in `sys.modules` goes.
            modules.call_method1("pop", (old.bind(py).name()?, py.None()))?;
        }
        Ok(namespace)
    }

    fn execute<'py>(
        &self,
        py: Python<'py>,
        source: Source<'_>,
        key: SourceKey,
    ) -> PyResult<Bound<'py, PyModule>> {
        let hash: String = key[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = self.directory.join(&hash);
        disk::make_directory(&directory)?;
        let path = directory.join(file_name(source.name));
        disk::write(&path, source.code)?;
        // As text: a `Path` would become a pathlib object, which `inspect` cannot use as `__file__`.
        let path = path.to_string_lossy();

        let name = format!("{MODULE_PREFIX}{hash}__");
        let module = PyModule::new(py, &name)?;
        module.setattr("__file__", &path)?;
        let builtins = py.import("builtins")?;
        let code = builtins.call_method(
            "compile",
            (PyString::new(py, source.code), &path, "exec"),
            Some(&[("dont_inherit", true)].into_py_dict(py)?),
        )?;
        self.make_importable_for_spawned(py, &name, &path)?;
        let modules = SYS.get(py)?.getattr("modules")?;
        modules.set_item(&name, &module)?;
        if let Err(error) = builtins.call_method1("exec", (code, module.dict())) {
            modules.call_method1("pop", (&name, py.None()))?;
            return Err(error);
        }
        Ok(module)
    }

    /// Lets the processes that `multiprocessing` spawns import the module by its name, as they import a script
    /// at home: they get this process's `sys.path`, and there find a file that executes the source.
    fn make_importable_for_spawned(&self, py: Python<'_>, name: &str, path: &str) -> PyResult<()> {
        let directory = self.directory.to_string_lossy();
        let execute = format!(
            "__file__ = {path:?}\n\
             with open(__file__, encoding=\"utf-8\") as source:\n    \
             exec(compile(source.read(), __file__, \"exec\"))\n"
        );
        disk::write(&self.directory.join(name).with_extension("py"), execute)?;
        let search_path = SYS.get(py)?.getattr("path")?;
        if !search_path.contains(&directory)? {
            search_path.call_method1("append", (directory,))?;
        }
        Ok(())
    }
}

/// Tells cloudpickle to ship the classes and functions of all sources by value: the client cannot import them.
pub(crate) fn register_by_value(cloudpickle: &Bound<'_, PyAny>) -> PyResult<()> {
    let register = cloudpickle.getattr("register_pickle_by_value")?;
    for module in std::mem::take(&mut *unregistered()) {
        // Evicted meanwhile: cloudpickle ships what is not in `sys.modules` by value anyway.
        let _ = register.call1((module,));
    }
    Ok(())
}

fn unregistered() -> MutexGuard<'static, Vec<Py<PyModule>>> {
    UNREGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name that the arguments of a call have for its source's module: a client that sends an instance of a class
/// which its source defines refers to that class.
const CURRENT_MODULE: &str = "__farcall_source__";

/// What module names of sources begin with.
const MODULE_PREFIX: &str = "__farcall_";

/// Removes the module names that sources live under: to their author the classes in them have no module.
pub(crate) fn without_module_names(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(MODULE_PREFIX) {
        let name = &rest[start + MODULE_PREFIX.len()..];
        let is_ours = name.len() > 15
            && name.as_bytes()[..12].iter().all(u8::is_ascii_hexdigit)
            && name[12..].starts_with("__.");
        clean.push_str(&rest[..start]);
        rest = if is_ours {
            &name[15..]
        } else {
            clean.push_str(MODULE_PREFIX);
            name
        };
    }
    clean.push_str(rest);
    clean
}

/// A file name that shows in tracebacks.
fn file_name(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || c == '_';
    if name.len() <= 100 && !name.is_empty() && name.chars().all(is_plain) {
        format!("{name}.py")
    } else {
        "source.py".to_owned()
    }
}
