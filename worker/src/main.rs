//! The `farcall` binary: arguments, configuration, mode, exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    farcall::cli::main()
}
