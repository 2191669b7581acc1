//! From `farcall runner` to CPython.
//!
//! Owns the one step that needs dynamic loading: a process that was started as a runner becomes an embedded
//! CPython by loading libpython and the runner library, or, where an interpreter has no shared libpython
//! (Debian's `/usr/bin/python3` alone, conda), by replacing itself with that interpreter, which then loads
//! the same library as an extension module.
//!
//! The library is one build for every CPython from 3.10 on (stable ABI). It is inside the binary in release
//! builds and lies beside the executable in development.

#![deny(unsafe_code)]

mod library;

use std::ffi::{CString, OsStr, c_char, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use library::{LibraryError, RunnerLibrary};

/// Name of the extension module in the runner library.
const MODULE: &str = "_farcall_runner";

/// Program text of an embedded runner.
const EMBEDDED_PROGRAM: &str = "import _farcall_runner; _farcall_runner.main()";

/// Program text of a runner whose interpreter loads the library from outside; the path is `sys.argv[1]`.
/// Only modules that every interpreter start has loaded already are used.
const EXTENSION_PROGRAM: &str = "\
import sys, _imp
from _frozen_importlib import ModuleSpec
spec = ModuleSpec('_farcall_runner', None, origin=sys.argv[1])
runner = sys.modules['_farcall_runner'] = _imp.create_dynamic(spec)
_imp.exec_dynamic(runner)
del spec, ModuleSpec, _imp, sys
runner.main()";

/// How a runner gets its interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerCommand {
    /// The interpreter's executable, that of a virtual environment included.
    pub python: PathBuf,
    /// Its shared library; `None` runs the executable itself.
    pub libpython: Option<PathBuf>,
}

/// Why a process could not become a runner.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The runner library is missing or unusable.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A shared library could not be loaded.
    #[error("cannot load `{path}`")]
    Load {
        /// The library.
        path: PathBuf,
        /// The dynamic linker's reason.
        #[source]
        source: libloading::Error,
    },
    /// The interpreter could not be started in place of this process.
    #[error("cannot execute `{path}`")]
    Execute {
        /// The interpreter.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A path holds a NUL byte.
    #[error("path `{0}` holds a NUL byte")]
    Path(PathBuf),
}

type RunnerMain = unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int;

/// Becomes a runner. Returns the exit code once the interpreter has ended.
///
/// The channel to the supervisor is expected on standard input.
pub fn run(command: &RunnerCommand) -> Result<i32, EmbedError> {
    match &command.libpython {
        Some(libpython) => embed(&command.python, libpython),
        None => Err(execute(&command.python)),
    }
}

fn embed(python: &Path, libpython: &Path) -> Result<i32, EmbedError> {
    let library = RunnerLibrary::open()?;
    // Global, or C extensions that rely on the interpreter's symbols do not load.
    let _python = load(libpython, libloading::os::unix::RTLD_GLOBAL)?;
    let runner = load(library.path(), libloading::os::unix::RTLD_LOCAL)?;
    // SAFETY: the symbol is defined by our own runner library with exactly this signature.
    #[expect(unsafe_code, reason = "a symbol of a dynamically loaded library has no checked type")]
    let main = unsafe { runner.get::<RunnerMain>(b"farcall_runner_main") }
        .map_err(|source| EmbedError::Load { path: library.path().to_owned(), source })?;
    let arguments = [python.as_os_str(), OsStr::new("-c"), OsStr::new(EMBEDDED_PROGRAM)];
    let arguments = arguments
        .into_iter()
        .map(|argument| CString::new(argument.as_bytes()).map_err(|_| EmbedError::Path(argument.into())))
        .collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    let count = c_int::try_from(pointers.len()).expect("three arguments");
    // SAFETY: `pointers` are NUL-terminated strings that outlive the call; the callee only reads them.
    #[expect(unsafe_code, reason = "calls into the runner library")]
    Ok(unsafe { main(count, pointers.as_mut_ptr()) })
}

fn load(path: &Path, scope: c_int) -> Result<libloading::os::unix::Library, EmbedError> {
    let flags = libloading::os::unix::RTLD_NOW | scope;
    // SAFETY: loading runs the library's initialisers: CPython's and our own runner's have none that could
    // conflict with this single-threaded process.
    #[expect(unsafe_code, reason = "dlopen has no safe form")]
    unsafe { libloading::os::unix::Library::open(Some(path), flags) }
        .map_err(|source| EmbedError::Load { path: path.to_owned(), source })
}

fn execute(python: &Path) -> EmbedError {
    let library = match RunnerLibrary::open_inheritable() {
        Ok(library) => library,
        Err(error) => return error.into(),
    };
    debug_assert!(EXTENSION_PROGRAM.contains(MODULE));
    let source = Command::new(python).args(["-c", EXTENSION_PROGRAM]).arg(library.path()).exec();
    EmbedError::Execute { path: python.to_owned(), source }
}
