//! Which `farcall` is tested: the one of this build, never a stale one.
//!
//! Nextest builds it in a setup script (`.config/nextest.toml`). Under plain `cargo test`, or in a profile the
//! script does not build, the harness does so itself, once for each test process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Set by the setup script to the directory of the profile it has built.
const BUILT: &str = "FARCALL_TEST_BUILT";

/// The executable to test, with its runner library beside it.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // target/<profile>/deps/<test>
        let test = std::env::current_exe().expect("a test knows its own file");
        let profile = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
        let name = profile.file_name().and_then(|name| name.to_str()).expect("profiles have plain names");
        if std::env::var(BUILT).as_deref() != Ok(name) {
            build(name);
        }
        let binary = profile.join("farcall");
        for file in [&binary, &profile.join("libfarcall_runner.so")] {
            assert!(file.is_file(), "`{}` is missing; run the tests with `make test`", file.display());
        }
        binary
    })
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

fn build(profile: &str) {
    let profile = if profile == "debug" { "dev" } else { profile };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "farcall", "-p", "farcall-runner", "--profile", profile])
        .current_dir(repository())
        .status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "cannot build farcall: {status:?}; `make test` builds it first"
    );
}
