//! The fake platform against the worker that RunPod ships: what that one does is no violation.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::platform::{Platform, Route, Settings};
use e2e::{Packages, repository};
use serde_json::json;

/// A worker with its heartbeat, a process of its own that would outlive it. Both are killed when it is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn runpod_1_takes_and_answers_jobs_without_a_violation() {
    let Some(packages) = Packages::runpod1() else { return };
    let platform = Platform::with(Settings { poll: Duration::from_secs(1), ..Settings::default() });
    let returned = platform.submit(&json!({ "return": { "a": [1, null, "é"] } }));
    let raised = platform.submit(&json!({ "raise": "boom" }));
    let progressed = platform.submit(&json!({ "progress": 50, "return": true }));
    let directory = tempfile::tempdir().unwrap();
    let worker = |mode: &str| {
        let process = Command::new(packages.python())
            .arg(repository().join("tests/clients/runpod1/worker.py"))
            .arg(mode)
            .current_dir(directory.path())
            .env("HOME", directory.path())
            .envs(platform.env("worker-1"))
            .envs([("RUNPOD_SKIP_GPU_CHECK", "true"), ("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "true")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Group(process.unwrap())
    };
    let plain = worker("plain");
    let answers = [&returned, &raised, &progressed].map(|id| platform.wait(id));
    drop(plain);
    platform.worker_was_killed("worker-1");
    // A worker of its own, for a handler is a generator or is not.
    let streamed = platform.submit(&json!({ "yield": [1, { "two": 2 }] }));
    let generator = worker("generator");
    let gathered = platform.wait(&streamed);
    drop(generator);

    assert_eq!(answers[0]["output"], json!({ "a": [1, null, "é"] }));
    assert_eq!(answers[1]["status"], "FAILED");
    assert!(answers[1]["error"].as_str().unwrap().contains("boom"));
    assert_eq!(answers[2]["output"], true);
    assert_eq!(gathered["output"], json!([1, { "two": 2 }]));
    assert_eq!(platform.streamed(&streamed), [json!(1), json!({ "two": 2 })]);
    let progress = platform.requests_on(Route::Done).into_iter().find(|post| post.json()["output"] == 50);
    assert_eq!(progress.unwrap().json()["status"], "IN_PROGRESS");
    assert!(!platform.requests_on(Route::Ping).is_empty());
    platform.assert_no_violations();
}
