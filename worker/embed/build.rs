//! Release builds carry the runner library inside the binary: `FARCALL_RUNNER_LIBRARY` names the file.

use std::env;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bundled_runner)");
    println!("cargo::rerun-if-env-changed=FARCALL_RUNNER_LIBRARY");
    if let Some(library) = env::var_os("FARCALL_RUNNER_LIBRARY").filter(|path| !path.is_empty()) {
        let library = std::path::absolute(library).expect("the current directory is readable");
        assert!(library.is_file(), "FARCALL_RUNNER_LIBRARY: `{}` is not a file", library.display());
        println!("cargo::rerun-if-changed={}", library.display());
        println!("cargo::rustc-env=FARCALL_RUNNER_LIBRARY={}", library.display());
        println!("cargo::rustc-cfg=bundled_runner");
    }
}
