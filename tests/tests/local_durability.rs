//! Jobs of the local endpoint outlive its process, however that ends.

use e2e::{LocalEndpoint, Request, function};
use serde_json::{Value, json};

/// Notes that it has begun, and goes on until a file is there.
const HOLD: &str = "\
import os, time
def hold(notes, end):
    print('holding', flush=True)
    with open(notes, 'a') as file:
        file.write('x')
    while not os.path.exists(end):
        time.sleep(0.01)
    return 'let go'";

fn hold(endpoint: &LocalEndpoint) -> Request {
    let file = |name: &str| endpoint.path(name).display().to_string();
    function("hold", HOLD).args(json!([file("notes"), file("end")]))
}

fn notes(endpoint: &LocalEndpoint) -> String {
    std::fs::read_to_string(endpoint.path("notes")).unwrap_or_default()
}

#[track_caller]
fn await_notes(endpoint: &LocalEndpoint, expected: &str) {
    assert!(e2e::wait_until(|| notes(endpoint) == expected), "{} instead of {expected}", notes(endpoint));
}

#[test]
fn what_waits_and_what_runs_survives_a_kill() {
    let mut endpoint = LocalEndpoint::start();
    let done = endpoint.run(&function("f", "def f():\n    print('printed')\n    return 'x' * 100_000"));
    let before = endpoint.await_status(&done, "COMPLETED");
    let running = endpoint.run(&hold(&endpoint));
    let large = function("f", "def f(x): return len(x)").args(json!(["x".repeat(200_000)]));
    let waiting = endpoint.run(&large);
    await_notes(&endpoint, "x");
    endpoint.kill();
    endpoint.start_again();
    assert_eq!(endpoint.status(&done), before);
    assert_eq!(endpoint.events(&done, "").rest()[0].output(), "printed\n");
    await_notes(&endpoint, "xx"); // it runs again, before those that came after it
    assert_eq!(endpoint.status(&waiting)["status"], "IN_QUEUE");
    endpoint.touch("end");
    assert_eq!(endpoint.await_status(&running, "COMPLETED")["output"]["json_result"], "let go");
    assert_eq!(endpoint.await_status(&waiting, "COMPLETED")["output"]["json_result"], 200_000);
    let listed = endpoint.json("GET", "jobs?search=hold", "");
    assert_eq!(listed["jobs"][0]["attempts"], 2, "{listed}");
}

#[test]
fn a_job_whose_worker_always_dies_is_failed_in_the_end() {
    let options = LocalEndpoint::options().with("FARCALL_MAX_ATTEMPTS", "2");
    let mut endpoint = options.start();
    let id = endpoint.run(&hold(&endpoint));
    for expected in ["x", "xx"] {
        await_notes(&endpoint, expected);
        endpoint.kill();
        endpoint.start_again();
    }
    let document = endpoint.await_status(&id, "FAILED");
    assert!(document["error"].as_str().unwrap().contains("in 2 of 2 attempts"), "{document}");
    assert_eq!(endpoint.json("GET", "health", "")["jobs"]["failed"], 1);
    // Whoever knows better has it run again.
    endpoint.touch("end");
    endpoint.json("POST", &format!("retry/{id}"), "");
    endpoint.await_status(&id, "COMPLETED");
}

#[test]
fn what_was_cancelled_stays_cancelled() {
    let mut endpoint = LocalEndpoint::start();
    let running = endpoint.run(&hold(&endpoint));
    let waiting = endpoint.run(&hold(&endpoint));
    await_notes(&endpoint, "x");
    for id in [&running, &waiting] {
        endpoint.json("POST", &format!("cancel/{id}"), "");
    }
    endpoint.kill();
    endpoint.start_again();
    for id in [&running, &waiting] {
        assert_eq!(endpoint.status(id)["status"], "CANCELLED");
    }
    assert_eq!(notes(&endpoint), "x");
}

#[test]
fn a_graceful_end_leaves_what_does_not_end_in_time_for_the_next_start() {
    let mut endpoint = LocalEndpoint::options().with("FARCALL_GRACE_S", "1").start();
    let (running, waiting) = (endpoint.run(&hold(&endpoint)), endpoint.run(&hold(&endpoint)));
    await_notes(&endpoint, "x");
    endpoint.signal("TERM");
    assert_eq!(endpoint.wait().code(), Some(0));
    endpoint.touch("end");
    endpoint.start_again();
    for id in [&running, &waiting] {
        endpoint.await_status(id, "COMPLETED");
    }
    // The attempt that we ended ourselves does not count.
    let listed = endpoint.json("GET", "jobs", "");
    let attempts: Vec<&Value> =
        listed["jobs"].as_array().unwrap().iter().map(|job| &job["attempts"]).collect();
    assert_eq!(attempts, [1, 1]);
}

#[test]
fn an_ephemeral_endpoint_writes_nothing() {
    let mut endpoint = LocalEndpoint::options().argument("--ephemeral").start();
    let large = function("f", "def f(x): return x").args(json!(["x".repeat(200_000)]));
    let document = endpoint.runsync(&large);
    let id = document["id"].as_str().unwrap();
    assert_eq!(endpoint.status(id), document);
    assert!(!endpoint.path("data").exists());
    endpoint.signal("TERM");
    assert_eq!(endpoint.wait().code(), Some(0));
    endpoint.start_again();
    assert_eq!(endpoint.ask("GET", &format!("status/{id}"), "").status, 404);
}

#[test]
fn one_queue_has_one_process() {
    let endpoint = LocalEndpoint::start();
    assert_eq!(endpoint.start_beside(), Some(64));
    assert!(endpoint.log().contains("another `farcall serve` uses the queue"), "{}", endpoint.log());
}

#[test]
fn a_queue_of_a_later_version_is_left_alone() {
    let mut endpoint = LocalEndpoint::start();
    endpoint.signal("TERM");
    endpoint.wait();
    let program = "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).execute('PRAGMA user_version = 99')";
    let database = endpoint.path("data/queue/jobs.db");
    let python = e2e::Python::under_test();
    let status = std::process::Command::new(python.path()).args(["-c", program]).arg(database).status();
    assert!(status.unwrap().success());
    assert_eq!(endpoint.start_beside(), Some(64));
    assert!(endpoint.log().contains("later version"), "{}", endpoint.log());
}

#[test]
fn clients_that_go_away_leave_nothing_half_done() {
    let endpoint = LocalEndpoint::start();
    let slow = function("f", "import time\ndef f(): time.sleep(60)").input();
    let running = endpoint.submit(&json!({"input": slow}));
    endpoint.await_status(&running, "IN_PROGRESS");
    let large = function("g", "def g(x): return 1").args(json!(["x".repeat(100_000)])).input();
    for input in [&large, &slow] {
        for _ in 0..10 {
            let mut connection = endpoint.connect();
            connection.send("POST", "/v2/test/run", &[], json!({"input": input}).to_string().as_bytes());
            connection.disconnect();
        }
    }
    let ids = || -> Vec<String> {
        let listed = endpoint.json("GET", "jobs?status=IN_QUEUE", "");
        listed["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    for id in ids().iter().step_by(2).chain([&running]) {
        let mut connection = endpoint.connect();
        connection.send("POST", &format!("/v2/test/cancel/{id}"), &[], b"");
        connection.disconnect();
    }
    // Whatever was heard is done: all that is left can be ended, and then nothing is left.
    for id in ids() {
        let status = endpoint.json("POST", &format!("cancel/{id}"), "")["status"].clone();
        // The quick ones run as soon as the one before them has been cancelled.
        assert!(status == "CANCELLED" || status == "COMPLETED", "{status}");
    }
    let is_empty = || {
        let counts = &endpoint.json("GET", "jobs", "")["counts"];
        let running = counts["IN_PROGRESS"] != 0;
        if running {
            let listed = endpoint.json("GET", "jobs?status=IN_PROGRESS", "");
            let id = listed["jobs"][0]["id"].as_str().unwrap_or_default();
            endpoint.ask("POST", &format!("cancel/{id}"), "");
        }
        !running && counts["IN_QUEUE"] == 0
    };
    assert!(e2e::wait_until(is_empty), "{}", endpoint.json("GET", "jobs", ""));
    assert_eq!(endpoint.runsync(&function("f", "def f(): return 1"))["status"], "COMPLETED");
}
