//! `farcall doctor --ready`: whether the worker that runs here takes jobs, as a container's health check asks.

use std::path::Path;

use e2e::platform::Platform;
use e2e::{Farcall, Finished, QueueWorker, Worker, function, wait_until};
use serde_json::{Value, json};

/// Asks the workers whose directory for temporary files this is.
fn ask(temporary: &Path) -> Finished {
    Farcall::with_python("/bin/false")
        .with("TMPDIR", temporary.to_str().expect("it is UTF-8"))
        .run(["doctor", "--ready"])
}

fn of(worker: &Worker) -> Finished {
    ask(&worker.directory().join("tmp"))
}

#[test]
fn without_a_worker_nothing_is_ready() {
    let temporary = tempfile::tempdir().unwrap();
    let finished = ask(temporary.path());
    assert_eq!(finished.code, 1, "{finished:?}");
    assert_eq!(finished.stdout, "no worker is running here\nhint: `farcall serve` starts one\n");
}

#[test]
fn a_worker_is_starting_until_it_has_a_runner_and_ready_then() {
    let code = "import os, time\nwhile not os.path.exists('HERE/go'): time.sleep(0.005)\n";
    let worker = Worker::options().with_startup(code).start_listening();
    let finished = of(&worker);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stdout.ends_with("is still starting: no runner is there yet\n"), "{finished:?}");
    worker.touch("go");
    assert!(wait_until(|| of(&worker).code == 0), "{worker:?}");
    let expected = format!("the worker (process {}) is ready\n", worker.pid());
    assert_eq!(of(&worker).stdout, expected);
}

#[test]
fn a_queue_worker_that_has_no_port_answers_too() {
    let temporary = tempfile::tempdir().unwrap();
    let platform = Platform::start();
    let worker =
        QueueWorker::start(&platform, &[("TMPDIR", temporary.path().to_str().expect("it is UTF-8"))]);
    assert!(wait_until(|| ask(temporary.path()).code == 0), "{}", worker.log());
}

#[test]
fn a_worker_that_was_told_to_stop_is_not_ready() {
    let mut worker = Worker::start();
    let code = format!(
        "import os, time\ndef f():\n    open({0:?} + '/runs', 'w').write('x')\n    while not os.path.exists({0:?} + '/go'): time.sleep(0.005)\n",
        worker.directory().display().to_string()
    );
    let call = worker.begin(function("f", &code));
    worker.await_file("runs");
    worker.signal("TERM");
    assert!(wait_until(|| of(&worker).stdout.contains("was told to stop")), "{worker:?}");
    assert_eq!(of(&worker).code, 1);
    worker.touch("go");
    assert!(call.answer().success);
    worker.await_exit();
    assert!(of(&worker).stdout.starts_with("no worker is running here"));
}

#[test]
fn what_a_killed_worker_leaves_behind_is_no_worker() {
    let mut worker = Worker::start();
    worker.signal("KILL");
    worker.await_exit();
    let finished = of(&worker);
    assert!(finished.stdout.starts_with("no worker is running here"), "{finished:?}");
}

#[test]
fn a_worker_that_hangs_is_not_ready() {
    let worker = Worker::start();
    worker.signal("STOP");
    let temporary = worker.directory().join("tmp").display().to_string();
    let finished =
        Farcall::with_python("/bin/false").with("TMPDIR", &temporary).run(["doctor", "--ready", "--json"]);
    worker.signal("CONT");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((finished.code, &report["ready"]), (1, &json!(false)));
    assert_eq!(report["workers"], json!([{"process": worker.pid(), "state": null, "error": "it hangs"}]));
}

#[test]
fn what_killed_workers_leave_behind_goes_with_the_next_one() {
    let mut worker = Worker::start();
    let left = worker.directory().join("tmp/farcall-ready-1");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    let touched = std::process::Command::new("touch").args(["-d", "1 hour ago"]).arg(&left).status().unwrap();
    assert!(touched.success() && left.exists());
    worker.signal("TERM");
    worker.await_exit();
    assert!(!left.exists());
}
