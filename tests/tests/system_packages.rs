//! Debian packages that requests ask for: a compiler for a build that lacks one, and a real package by the real apt.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Farcall, Package, WheelHouse, function};
use serde_json::json;
use tempfile::TempDir;

/// Programs of this machine that a made `PATH` may have.
const BORROWED: [&str; 6] = ["sh", "cat", "chmod", "ldconfig", "uname", "touch"];

/// A directory of programs that is a whole `PATH`: no compiler, an `apt-get` of our own.
struct Programs(TempDir);

impl Programs {
    fn new(apt_get: &str) -> Self {
        let programs = Self(tempfile::tempdir().expect("the test machine allows it"));
        programs.borrow(&BORROWED);
        programs.add("apt-get", apt_get);
        programs.add("dpkg-query", "cat HERE/listed 2>/dev/null; true");
        programs
    }

    /// Programs of this machine.
    fn borrow(&self, names: &[&str]) {
        for name in names.iter().filter(|name| !self.path().join(name).exists()) {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
                .map(|directory| directory.join(name))
                .find(|path| path.exists());
            if let Some(path) = found {
                symlink(path, self.path().join(name)).expect("the test machine allows it");
            }
        }
    }

    fn add(&self, name: &str, script: &str) {
        let here = self.path().display().to_string();
        let path = self.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace("HERE", &here)))
            .expect("the test machine allows it");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the test machine allows it");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A package that is built with `gcc`.
fn house_with_extension() -> WheelHouse {
    let house = WheelHouse::new();
    let backend = "def before_building():\n    import subprocess\n    subprocess.run(['gcc', '--version'], check=True)\n";
    house.add_source(&Package::new("alpha", "1.0"), backend);
    house
}

const CALL: &str = "def f():\n    import alpha\n    return alpha.VERSION\n";

#[test]
fn a_build_that_lacks_a_compiler_gets_one_and_is_tried_once_more() {
    if !is_root() {
        eprintln!("skipped: only root installs system packages");
        return;
    }
    let house = house_with_extension();
    let programs = Programs::new(
        "case \"$*\" in *build-essential*) echo '#!/bin/sh' > HERE/gcc; chmod 755 HERE/gcc; printf 'build-essential\\tamd64\\tii \\t12.9\\t\\n' >> HERE/listed ;; esac",
    );
    let farcall = Farcall::new().with_all(house.variables()).with("PATH", programs.path().to_str().unwrap());
    let request = function("f", CALL).dependencies(&["alpha"]);
    let answers = farcall.answers([&request, &request]);
    assert_eq!(answers[0].value(), "1.0");
    let output = answers[0].output();
    assert!(output.contains("[farcall] building a package needs a compiler\n"), "{output}");
    assert!(output.contains("[farcall] installed build-essential 12.9 by apt in "), "{output}");
    assert_eq!(answers[1].output(), "");
}

#[test]
fn a_compiler_that_cannot_be_installed_is_said_with_the_reason() {
    let house = house_with_extension();
    let programs = Programs::new("echo 'E: Unable to locate package build-essential' >&2; exit 100");
    let farcall = Farcall::new().with_all(house.variables()).with("PATH", programs.path().to_str().unwrap());
    let answer = farcall.answer(&function("f", CALL).dependencies(&["alpha"]));
    let error = answer.error();
    assert!(error.contains("build-essential") && error.contains("hint: "), "{error}");
}

#[test]
fn a_requirement_from_a_repository_gets_git_and_is_tried_once_more() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(git) =
        std::env::split_paths(&path).map(|directory| directory.join("git")).find(|git| git.exists())
    else {
        eprintln!("skipped: there is no git to make a repository with");
        return;
    };
    if !is_root() {
        eprintln!("skipped: only root installs system packages");
        return;
    }
    let repository = tempfile::tempdir().unwrap();
    let house = WheelHouse::new();
    house.add_source(&Package::new("alpha", "1.0"), "def before_building(): pass\n");
    let archive = house.path().join("alpha-1.0.tar.gz");
    let run = |program: &Path, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).current_dir(&repository).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    run(Path::new("tar"), &["-xzf", archive.to_str().unwrap(), "--strip-components=1"]);
    run(&git, &["init", "--quiet"]);
    run(&git, &["add", "."]);
    run(&git, &["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "--message=t"]);
    let programs = Programs::new(&format!(
        "case \"$*\" in *install*git*) ln -s '{}' HERE/git; printf 'git\\tamd64\\tii \\t2.39\\t\\n' >> HERE/listed ;; esac",
        git.display()
    ));
    programs.borrow(&["ln", "sed", "basename", "dirname", "uname", "expr"]); // what git's own scripts call
    let farcall = Farcall::new().with_all(house.variables()).with("PATH", programs.path().to_str().unwrap());
    let requirement = format!("alpha @ git+file://{}", repository.path().display());
    let answer = farcall.answer(&function("f", CALL).dependencies(&[&requirement]));
    assert_eq!(answer.value(), "1.0");
    assert!(answer.output().contains("[farcall] fetching a package needs git\n"), "{answer:?}");
}

#[test]
fn what_is_no_package_name_is_refused() {
    let programs = Programs::new("touch HERE/ran");
    let farcall = Farcall::new().with("PATH", programs.path().to_str().unwrap());
    for name in ["--allow-downgrades", "hello; id", "libc6-", "$(id)", "-oDpkg::Pre-Invoke::=id"] {
        let answer =
            farcall.answer(&function("f", "def f(): pass").with("system_dependencies", json!([name])));
        assert!(answer.error().contains("is not the name of a Debian package"), "{answer:?}");
    }
    assert!(!programs.path().join("ran").exists());
}

#[test]
fn a_real_package_is_installed_by_the_real_apt() {
    const PACKAGE: &str = "hello";
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .is_ok_and(|done| done.status.success())
    };
    let can_have = || apt(&["install", "--yes", "--download-only", PACKAGE]);
    if !is_root() || !(can_have() || apt(&["update"]) && can_have()) {
        eprintln!("skipped: apt-get cannot install here");
        return;
    }
    apt(&["purge", "--yes", PACKAGE]);
    let code = "import subprocess\ndef f():\n    return subprocess.run('hello', capture_output=True, text=True).stdout\n";
    let request = function("f", code).with("system_dependencies", json!([PACKAGE]));
    let answers = Farcall::new().answers([&request, &request]);
    apt(&["purge", "--yes", PACKAGE]);
    assert_eq!(answers[0].value(), "Hello, world!\n");
    assert!(answers[0].output().contains("[farcall] installed hello "), "{answers:?}");
    assert_eq!(answers[1].output(), "", "it is there");
}

#[test]
fn a_package_that_debian_does_not_have_is_an_error_and_the_next_request_runs() {
    let missing =
        function("f", "def f(): return 1").with("system_dependencies", json!(["no-such-package-at-all"]));
    let answers = Farcall::new().answers([&missing, &function("f", "def f(): return 1")]);
    let error = answers[0].error();
    assert!(error.contains("no-such-package-at-all") && error.contains("hint: "), "{error}");
    assert_eq!(answers[1].value(), 1);
}
