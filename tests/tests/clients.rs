//! RunPod's own clients, unmodified, against our worker on a fake platform.
//!
//! The programs are in `tests/clients`; each asserts what it gets and prints `OK`.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::platform::{Platform, Route};
use e2e::{LocalEndpoint, Packages, Python, QueueWorker, repository};

/// A client's program, and what runs it.
struct Client<'a> {
    /// Of `tests/clients`.
    directory: &'a str,
    /// What runs the program.
    command: Command,
    /// The worker's interpreter.
    python: PathBuf,
}

impl Client<'_> {
    /// Runs it in a copy of its directory: clients leave files where they run. Returns what it printed.
    #[track_caller]
    fn run(mut self) -> String {
        let platform = Platform::start();
        let python = self.python.display().to_string();
        let mut worker = QueueWorker::start(&platform, &[("FARCALL_PYTHON", python.as_str())]);
        let directory = tempfile::tempdir().unwrap();
        copy(&repository().join("tests/clients").join(self.directory), directory.path());
        let output = self
            .command
            .current_dir(directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory.path())
            .env("FLASH_IS_LIVE_PROVISIONING", "true")
            .env("RUNPOD_FLASH_SILENCE_DEPRECATION", "1")
            .envs(platform.client_env())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        let told = format!("{stdout}\n{stderr}\nthe worker's log:\n{}", worker.log());
        assert!(output.status.success(), "{}: {told}", output.status);
        assert!(stdout.lines().any(|line| line == "OK"), "no OK: {told}");
        assert!(!platform.requests_on(Route::Done).is_empty(), "nothing was answered: {told}");
        worker.signal("TERM");
        assert_eq!(worker.wait().code(), Some(0));
        platform.assert_no_violations();
        assert_eq!(platform.requeued(), 0);
        stdout
    }
}

/// A program of runpod-flash 1.21.
#[track_caller]
fn flash(program: &str) -> Option<String> {
    let packages = Packages::flash()?;
    let mut command = Command::new(packages.python());
    command.arg(program);
    let python = Python::under_test().path().to_owned();
    Some(Client { directory: "flash", command, python }.run())
}

/// A program of runpod 2.0, in a development session.
#[track_caller]
fn runpod2(program: &str) -> Option<String> {
    let packages = Packages::runpod2()?;
    let mut command = Command::new(packages.program("rp"));
    command.args(["flash", "dev", program, "--once"]);
    Some(Client { directory: "runpod2", command, python: packages.python() }.run())
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn functions_of_flash_are_served() {
    let Some(printed) = flash("functions.py") else { return };
    // What a function prints, its client prints.
    assert!(printed.contains("hello world") && printed.contains("about to fail"), "{printed}");
}

#[test]
fn classes_of_flash_keep_their_state() {
    flash("classes.py");
}

#[test]
fn functions_and_jobs_of_runpod_2_are_served() {
    runpod2("functions.py");
}

#[test]
fn generators_of_runpod_2_are_streamed_and_gathered() {
    runpod2("streams.py");
}

#[test]
fn jobs_of_runpod_2_are_cancelled_while_they_run() {
    runpod2("cancel.py");
}

/// A program of the endpoint client, against an endpoint of our own.
#[track_caller]
fn endpoint_client(packages: Option<Packages>, program: &str) {
    let Some(packages) = packages else { return };
    let endpoint = LocalEndpoint::options().with("FARCALL_API_KEY", "key-of-clients").start();
    let output = Command::new(packages.python())
        .arg(program)
        .current_dir(repository().join("tests/clients/endpoint"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", endpoint.directory())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RUNPOD_API_KEY", "key-of-clients")
        .env("RUNPOD_ENDPOINT_BASE_URL", endpoint.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(
        output.status.success() && stdout.lines().any(|line| line == "OK"),
        "{stdout}\n{stderr}\nthe endpoint's log:\n{}",
        endpoint.log()
    );
}

#[test]
fn the_endpoint_client_of_runpod_1_works_against_ours() {
    endpoint_client(Packages::runpod1(), "sync_client.py");
}

#[test]
fn the_asynchronous_client_of_runpod_1_works_against_ours() {
    endpoint_client(Packages::runpod1(), "async_client.py");
}

#[test]
fn the_endpoint_client_of_runpod_2_works_against_ours() {
    endpoint_client(Packages::runpod2(), "sync_client.py");
}

#[test]
fn the_asynchronous_client_of_runpod_2_works_against_ours() {
    endpoint_client(Packages::runpod2(), "async_client.py");
}
