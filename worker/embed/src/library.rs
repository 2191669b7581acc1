//! Where the runner library is: inside this binary, or beside it.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(bundled_runner)]
static BUNDLED: &[u8] = include_bytes!(env!("FARCALL_RUNNER_LIBRARY"));

/// The runner library as a path that can be given to the dynamic linker while this value lives.
#[derive(Debug)]
pub struct RunnerLibrary {
    path: PathBuf,
    #[cfg(bundled_runner)]
    _memory: rustix::fd::OwnedFd,
}

/// Why there is no runner library.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// A development build without the library beside the executable.
    #[error("the runner library is not at `{0}`\nhint: build it with `cargo build -p farcall-runner`")]
    Missing(PathBuf),
    /// The system refused to hold the library in memory, or does not tell where the executable is.
    #[error("cannot open the runner library")]
    Open(#[source] io::Error),
}

impl RunnerLibrary {
    /// Opens the library for this process.
    pub fn open() -> Result<Self, LibraryError> {
        Self::open_with(false)
    }

    /// Opens the library so that a program this process executes can load it by the same path.
    pub fn open_inheritable() -> Result<Self, LibraryError> {
        Self::open_with(true)
    }

    /// A path to load the library from, valid while `self` lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(bundled_runner)]
    fn open_with(inheritable: bool) -> Result<Self, LibraryError> {
        use rustix::fd::AsRawFd;
        use rustix::fs::{MemfdFlags, memfd_create};

        let flags = if inheritable { MemfdFlags::empty() } else { MemfdFlags::CLOEXEC };
        let memory =
            memfd_create("farcall-runner", flags).map_err(|error| LibraryError::Open(error.into()))?;
        let mut rest = BUNDLED;
        while !rest.is_empty() {
            let written =
                rustix::io::write(&memory, rest).map_err(|error| LibraryError::Open(error.into()))?;
            rest = &rest[written..];
        }
        Ok(Self { path: format!("/proc/self/fd/{}", memory.as_raw_fd()).into(), _memory: memory })
    }

    #[cfg(not(bundled_runner))]
    fn open_with(_inheritable: bool) -> Result<Self, LibraryError> {
        let executable = std::env::current_exe().map_err(LibraryError::Open)?;
        let path = executable.with_file_name("libfarcall_runner.so");
        if path.is_file() { Ok(Self { path }) } else { Err(LibraryError::Missing(path)) }
    }
}
