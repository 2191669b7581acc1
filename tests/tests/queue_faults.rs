//! The queue worker on a platform, a network and a machine that do not behave: no job is lost, none answered
//! twice.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::platform::{Fault, Malformed, Platform, Route, Settings, Status, ViolationKind, When};
use e2e::{QueueWorker, function, wait_until};
use serde_json::{Value, json};

fn echo(x: usize) -> Value {
    function("echo", "def echo(x): return x").args(json!([x])).input()
}

fn impatient() -> Platform {
    Platform::with(Settings { poll: Duration::from_millis(500), ..Settings::default() })
}

#[test]
fn takes_that_fail_are_tried_again_without_a_hot_loop() {
    let faults = [
        Fault::Status(500),
        Fault::Status(400),
        Fault::Status(404),
        Fault::ResetBefore,
        Fault::BrokenBody,
        Fault::Malformed(Malformed::NotJson),
        Fault::Malformed(Malformed::WrongContentType),
        Fault::Malformed(Malformed::Empty),
        Fault::Malformed(Malformed::NotAnObject),
        Fault::Malformed(Malformed::NoId),
    ];
    let platform = impatient();
    for fault in faults {
        platform.fault(Route::Take, fault, When::Next(1));
    }
    let _worker = QueueWorker::start(&platform, &[]);
    let job = platform.submit(&echo(1));
    assert_eq!(platform.wait(&job)["output"]["json_result"], 1);
    platform.fault(Route::Take, Fault::Status(503), When::Chance(1.0));
    let before = platform.requests_on(Route::Take).len();
    let begun = Instant::now();
    let refused = || platform.requests_on(Route::Take).len() - before;
    assert!(wait_until(|| refused() >= 4));
    // Doubling pauses from 0.1 s on: the fourth refusal cannot come in an instant.
    assert!(
        begun.elapsed() > Duration::from_millis(300),
        "{refused} in {:?}",
        begun.elapsed(),
        refused = refused()
    );
}

#[test]
fn a_job_without_an_input_is_answered_and_one_delivered_twice_runs_once() {
    let platform = impatient();
    let worker = QueueWorker::start(&platform, &[]);
    let code = "def f():\n    with open('runs', 'a') as runs: runs.write('x')";
    let call = function("f", code).input();
    platform.wait(&platform.submit(&call));
    platform.fault(Route::Take, Fault::Duplicate, When::Next(3));
    platform.wait(&platform.submit(&call));
    platform.wait(&platform.submit(&call));
    assert_eq!(std::fs::read_to_string(worker.path("runs")).unwrap(), "xxx", "{}", worker.log());
    platform.fault(Route::Take, Fault::Malformed(Malformed::NoInput), When::Next(1));
    platform.wait(&platform.submit(&call));
    platform.assert_no_violations();
}

#[test]
fn an_answer_that_is_not_taken_is_posted_until_it_is() {
    let platform = impatient();
    let faults =
        [Fault::Status(500), Fault::Status(429), Fault::Status(408), Fault::ResetBefore, Fault::Status(502)];
    for fault in faults {
        platform.fault(Route::Done, fault, When::Next(1));
    }
    let _worker = QueueWorker::start(&platform, &[]);
    let job = platform.submit(&echo(7));
    assert_eq!(platform.wait(&job)["output"]["json_result"], 7, "the reference gives up after three tries");
    platform.assert_no_violations();
}

#[test]
fn an_answer_the_platform_refuses_is_not_repeated() {
    let platform = impatient();
    platform.fault(Route::Done, Fault::Status(400), When::Next(1));
    let _worker = QueueWorker::start(&platform, &[]);
    let refused = platform.submit(&echo(1));
    let next = platform.submit(&echo(2));
    assert_eq!(platform.wait(&next)["output"]["json_result"], 2);
    let posts = platform.requests_on(Route::Done);
    assert_eq!(posts.iter().filter(|post| post.uri.path().ends_with(&refused)).count(), 1);
}

#[test]
fn an_answer_survives_the_workers_death_on_disk() {
    let platform = Platform::with(Settings { requeue_after: None, ..Settings::default() });
    platform.fault(Route::Done, Fault::Status(503), When::Chance(1.0));
    let mut worker = QueueWorker::start(&platform, &[]);
    let code = "def f():\n    with open('runs', 'a') as runs: runs.write('x')\n    return 'kept'";
    let job = platform.submit(&function("f", code).input());
    assert!(wait_until(|| worker.log().contains("answer not delivered yet")), "{}", worker.log());
    assert_eq!(platform.status(&job), Status::InProgress);
    worker.kill_and_restart(&platform);
    platform.clear_faults();
    assert_eq!(platform.wait(&job)["output"]["json_result"], "kept");
    assert_eq!(std::fs::read_to_string(worker.path("runs")).unwrap(), "x", "it was not run again");
}

#[test]
fn a_platform_that_is_gone_for_a_while_finds_the_worker_and_its_answers_there() {
    let platform = Platform::with(Settings {
        poll: Duration::from_millis(500),
        requeue_after: None,
        ..Settings::default()
    });
    let worker = QueueWorker::start(&platform, &[]);
    let code = "import time, os\ndef f():\n    open('begun', 'w').close()\n    while not os.path.exists('go'): time.sleep(0.01)\n    return 'back'";
    let job = platform.submit(&function("f", code).input());
    assert!(wait_until(|| worker.path("begun").exists()));
    platform.gone_for(Duration::from_secs(3));
    std::fs::write(worker.path("go"), "").unwrap();
    assert_eq!(platform.wait(&job)["output"]["json_result"], "back");
    let next = platform.submit(&echo(3));
    assert_eq!(platform.wait(&next)["output"]["json_result"], 3);
}

/// Everything at once: faults at random, runners killed at random, the worker killed twice.
#[test]
fn nothing_is_lost_and_nothing_is_doubled_whatever_happens() {
    let count = std::env::var("FARCALL_CHAOS_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1000);
    let platform = Platform::with(Settings {
        poll: Duration::from_millis(200),
        requeue_after: Some(Duration::from_secs(3)),
        record: false,
        slots: Some(4),
        ..Settings::default()
    });
    let mut worker =
        QueueWorker::start(&platform, &[("RUNPOD_MAX_CONCURRENCY", "4"), ("FARCALL_LOG_LEVEL", "warn")]);
    let chances = [
        (Route::Take, Fault::Status(500), 0.01),
        (Route::Take, Fault::Status(400), 0.02),
        (Route::Take, Fault::ResetBefore, 0.01),
        (Route::Take, Fault::SlowBody, 0.01),
        (Route::Take, Fault::Duplicate, 0.03),
        (Route::Done, Fault::Status(500), 0.03),
        (Route::Done, Fault::ResetBefore, 0.02),
        (Route::Done, Fault::ResetAfter, 0.02),
        (Route::Ping, Fault::Status(500), 0.1),
    ];
    for (route, fault, chance) in chances {
        platform.fault(route, fault, When::Chance(chance));
    }
    let code = "\
import os, random, sys
def job(x):
    kind = x % 50
    if kind == 0: os._exit(3)
    if kind == 1: raise ValueError('as asked')
    if kind == 2: print('y' * 100_000)
    return x";
    let jobs: Vec<String> =
        (0..count).map(|x| platform.submit(&function("job", code).args(json!([x])).input())).collect();

    let begun = Instant::now();
    let mut restarts = [count * 2 / 3, count / 3].to_vec();
    while platform.open_jobs() > 0 && begun.elapsed() < Duration::from_secs(60 + count as u64 / 20) {
        if restarts.last().is_some_and(|open| platform.open_jobs() <= *open)
            || restarts.len() == 2 && platform.open_jobs() <= count * 2 / 3
        {
            restarts.pop();
            worker.kill_and_restart(&platform);
        }
        // A worker that has just started asks its interpreter what it is; that child is not a runner.
        // Neither the youngest: where runners start slowly, none would ever be there.
        let children = worker.children();
        if let [_, _, _, ..] = children[..] {
            let runner = children[children.len() / 2];
            let _ = Command::new("kill").args(["-9", &runner.to_string()]).status();
        }
        assert!(worker.is_running(), "the worker has ended: {}", worker.log());
        std::thread::sleep(Duration::from_millis(300)); // between two disasters
    }
    assert_eq!(platform.open_jobs(), 0, "jobs are lost: {}", worker.log());
    for (x, job) in jobs.iter().enumerate() {
        let answer = platform.job(job);
        let died = answer["error"].as_str().is_some_and(|error| error.contains("died: signal 9"));
        match x % 50 {
            0 | 1 => assert_eq!(answer["status"], "FAILED"),
            _ if died => {} // its runner was shot
            _ => assert_eq!(answer["output"]["json_result"], x, "{answer}"),
        }
    }
    let doubled = platform.violations();
    let doubled: Vec<_> =
        doubled.iter().filter(|breach| breach.kind == ViolationKind::SecondAnswer).collect();
    assert!(doubled.is_empty(), "{doubled:#?}");
}
