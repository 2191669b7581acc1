//! What is better said in Python: a module of helpers, compiled when first needed.

use farcall_protocol::frame::Enter;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The file name that frames of the helpers have.
pub(crate) const HELPERS_FILE: &str = "<farcall helpers>";

static HELPERS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// A module that every call needs. Importing it each time would ask `sys.modules` through `__import__`, a
/// microsecond each, and be at the mercy of user code that takes it out.
pub(crate) struct Module {
    name: &'static str,
    module: PyOnceLock<Py<PyModule>>,
}

/// The module `sys`.
pub(crate) static SYS: Module = Module::new("sys");

impl Module {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, module: PyOnceLock::new() }
    }

    /// The module, imported when it is first asked for.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyModule>> {
        let module = self.module.get_or_try_init(py, || py.import(self.name).map(Bound::unbind))?;
        Ok(module.bind(py))
    }
}

/// The module in `helpers.py`.
pub(crate) fn helpers(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    let module = HELPERS.get_or_try_init(py, || {
        let module = PyModule::from_code(
            py,
            c_str(concat!(include_str!("helpers.py"), "\0")),
            c"<farcall helpers>",
            c"_farcall_helpers",
        )?;
        Ok::<_, PyErr>(module.unbind())
    })?;
    Ok(module.bind(py))
}

/// Puts an environment's packages in front of the interpreter's own.
pub(crate) fn enter(py: Python<'_>, environment: &Enter) -> PyResult<()> {
    let Enter { prefix, site_packages } = environment;
    helpers(py)?.getattr("enter_environment")?.call1((prefix, site_packages))?;
    Ok(())
}

/// Sets a variable of this process's environment, for Python and for C alike.
pub(crate) fn set_variable(py: Python<'_>, name: &str, value: &str) -> PyResult<()> {
    py.import("os")?.getattr("environ")?.set_item(name, value)
}

fn c_str(text: &'static str) -> &'static std::ffi::CStr {
    std::ffi::CStr::from_bytes_with_nul(text.as_bytes()).expect("the helper source holds no NUL byte")
}
