//! `farcall doctor`: what the worker will use, and whether it can run.

use std::fs;
use std::process::Command;

use e2e::{Farcall, Python, binary};
use serde_json::{Value, json};

#[test]
fn doctor_says_what_the_worker_will_use() {
    let finished = Farcall::new().run(["doctor"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
    for name in ["interpreter", "libpython", "runner", "cloudpickle", "uv", "apt", "gpu", "cache"] {
        assert!(
            finished.stdout.lines().any(|line| line.contains(&format!(" {name} "))),
            "{name}: {finished:?}"
        );
    }
    assert!(finished.stdout.ends_with("the worker can run\n"), "{finished:?}");
}

#[test]
fn doctor_in_json_is_one_object() {
    let finished = Farcall::new().run(["doctor", "--json"]);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((finished.code, &report["ok"]), (0, &json!(true)));
    let checks = report["checks"].as_array().unwrap();
    let verdict = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["verdict"].clone();
    for name in ["interpreter", "libpython", "runner", "cloudpickle"] {
        assert_eq!(verdict(name), "ok", "{report}");
    }
}

#[test]
fn doctor_fails_where_the_worker_cannot_run() {
    let farcall = Farcall::with_python("/bin/true");
    let finished = farcall.run(["doctor"]);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stdout.contains("does not answer like a Python interpreter"), "{finished:?}");
    assert!(finished.stdout.ends_with("the worker cannot run\n"), "{finished:?}");
    let finished = farcall.run(["doctor", "--json"]);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((finished.code, &report["ok"]), (1, &json!(false)));
}

#[test]
fn doctor_notices_a_cache_that_cannot_be_written() {
    let finished = Farcall::new().with("FARCALL_CACHE_DIR", "/proc/nowhere").run(["doctor"]);
    assert_eq!(finished.code, 0, "the worker runs without: {finished:?}");
    assert!(finished.stdout.contains("`/proc/nowhere` cannot be written"), "{finished:?}");
}

#[test]
fn a_farcall_in_a_virtual_environment_uses_its_interpreter() {
    let directory = tempfile::tempdir().unwrap();
    let environment = directory.path().join("environment");
    let made = Command::new(Python::under_test().path())
        .args(["-m", "venv", "--without-pip"])
        .arg(&environment)
        .status();
    assert!(made.unwrap().success());
    let programs = environment.join("bin");
    for file in ["farcall", "libfarcall_runner.so"] {
        fs::copy(binary().with_file_name(file), programs.join(file)).unwrap();
    }
    let output = Command::new(programs.join("farcall"))
        .args(["doctor", "--json"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("FARCALL_CACHE_DIR", directory.path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = report["checks"][0]["found"].as_str().unwrap();
    assert!(found.ends_with(&format!("at {}", programs.join("python").display())), "{report}");
}
