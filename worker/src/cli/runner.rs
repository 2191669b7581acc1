//! `farcall runner`: this process becomes a Python interpreter that serves a supervisor.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use farcall_embed::RunnerCommand;

use super::EXIT_INTERNAL;
use super::terminal::Terminal;
use crate::job::with_causes;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The interpreter's executable
    #[arg(long)]
    python: PathBuf,
    /// Its shared library; without it the executable itself is run
    #[arg(long)]
    libpython: Option<PathBuf>,
}

pub(super) fn run(options: Options) -> ExitCode {
    let command = RunnerCommand { python: options.python, libpython: options.libpython };
    match farcall_embed::run(&command) {
        Ok(code) => u8::try_from(code).unwrap_or(EXIT_INTERNAL).into(),
        Err(error) => Terminal::new().fail(EXIT_INTERNAL, &with_causes(&error)),
    }
}
