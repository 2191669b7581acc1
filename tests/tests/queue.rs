//! The queue worker on a platform that behaves.

use std::time::Duration;

use e2e::platform::{Platform, Route, Settings, Status};
use e2e::{QueueWorker, class, function, wait_until};
use serde_json::{Value, json};

fn add(x: i64) -> Value {
    function("add", "def add(x):\n    print('adding', x)\n    return x + 1").args(json!([x])).input()
}

/// A call that says when it has begun and ends when it is told to.
fn waiting(begun: &str, go: &str) -> Value {
    let code = "\
import os, time
def hold(begun, go):
    open(begun, 'w').close()
    for _ in range(3000):
        if os.path.exists(go): return 'went'
        time.sleep(0.01)";
    function("hold", code).args(json!([begun, go])).input()
}

#[test]
fn jobs_are_taken_and_answered_one_after_another() {
    let platform = Platform::with(Settings { slots: Some(1), ..Settings::default() });
    let _worker = QueueWorker::start(&platform, &[]);
    let jobs: Vec<String> = (0..50).map(|x| platform.submit(&add(x))).collect();
    for (x, job) in jobs.iter().enumerate() {
        let answer = platform.wait(job);
        assert_eq!(answer["status"], "COMPLETED", "{answer}");
        assert_eq!(answer["output"]["json_result"], x + 1);
        assert_eq!(answer["output"]["stdout"], format!("adding {x}\n"));
        assert_eq!(answer["output"].get("error"), None, "2.x clients take the key for a failure");
    }
    platform.assert_no_violations();
}

#[test]
fn a_failure_is_a_failed_job_with_its_output() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[]);
    let code = "def f():\n    print('before')\n    raise ValueError('no luck')";
    let answer = platform.wait(&platform.submit(&function("f", code).input()));
    assert_eq!(answer["status"], "FAILED");
    assert!(answer["error"].as_str().unwrap().contains("ValueError: no luck"), "{answer}");
    assert_eq!(answer["output"]["success"], false);
    assert_eq!(answer["output"]["stdout"], "before\n");
    let answer = platform.wait(&platform.submit(&json!({"x": 1})));
    assert_eq!(answer["error"], r#"function_name is required when execution_type is "function""#);
    platform.assert_no_violations();
}

#[test]
fn a_death_is_a_failed_job_and_the_next_one_runs() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[]);
    let dying = platform.submit(&function("f", "import os\ndef f():\n    os._exit(7)").input());
    let next = platform.submit(&add(1));
    assert!(platform.wait(&dying)["error"].as_str().unwrap().contains("exit code 7"));
    assert_eq!(platform.wait(&next)["output"]["json_result"], 2);
    platform.assert_no_violations();
}

#[test]
fn a_class_keeps_its_state_between_jobs() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[]);
    let code = "class C:\n    n = 0\n    def up(self):\n        self.n += 1\n        return self.n";
    let call = class("C", code, "up").input();
    for expected in 1..=3 {
        assert_eq!(platform.wait(&platform.submit(&call))["output"]["json_result"], expected);
    }
    platform.assert_no_violations();
}

#[test]
fn a_generator_is_streamed_to_2x_clients_and_collected_for_1x_ones() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[]);
    let call = function("g", "def g():\n    yield 1\n    yield {'two': 2}");
    let envelopes = json!([
        {"success": true, "__stream__": true, "json_result": 1},
        {"success": true, "__stream__": true, "json_result": {"two": 2}},
    ]);
    let streamed = platform.submit(&call.input());
    assert_eq!(platform.wait(&streamed)["output"], envelopes);
    assert_eq!(platform.streamed(&streamed), envelopes.as_array().unwrap().clone());
    let last = platform.requests_on(Route::Done).pop().unwrap();
    assert_eq!(last.parameter("isStream").as_deref(), Some("true"));

    let collected = platform.submit(&call.pickled().input());
    let answer = platform.wait(&collected);
    assert!(answer["output"]["result"].is_string(), "flash needs one object: {answer}");
    assert!(platform.streamed(&collected).is_empty());
    platform.assert_no_violations();
}

#[test]
fn an_empty_generator_is_an_empty_list_and_none_is_none() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[]);
    let empty = platform.submit(&function("g", "def g():\n    return\n    yield").input());
    let none = platform.submit(&function("f", "def f(): pass").input());
    assert_eq!(platform.wait(&empty)["output"], json!([]));
    assert_eq!(platform.wait(&none)["output"]["json_result"], Value::Null);
    platform.assert_no_violations();
}

#[test]
fn a_generator_that_fails_keeps_what_it_yielded() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[]);
    let code = "async def g():\n    yield 'first'\n    raise ValueError('then this')";
    let job = platform.submit(&function("g", code).input());
    let answer = platform.wait(&job);
    assert_eq!(answer["status"], "FAILED");
    assert!(answer["error"].as_str().unwrap().contains("ValueError: then this"));
    assert_eq!(answer["output"][0]["json_result"], "first");
    let streamed = platform.streamed(&job);
    assert_eq!(streamed.len(), 2, "{streamed:?}");
    assert!(streamed[1]["error"].as_str().unwrap().contains("then this"), "the error is streamed, too");
    platform.assert_no_violations();
}

#[test]
fn progress_is_told_in_order_and_never_after_the_answer() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[]);
    let code = "\
import threading, time
from farcall_worker import progress
def f():
    for percent in (0, 50, 100): progress({'percent': percent})
    threading.Thread(target=lambda: (time.sleep(0.2), progress('too late'))).start()
    return 'done'";
    let job = platform.submit(&function("f", code).pickled().input());
    assert_eq!(platform.wait(&job)["status"], "COMPLETED");
    let next = platform.submit(&function("g", "import time\ndef g(): time.sleep(0.5)").input());
    platform.wait(&next);
    let posts = platform.requests_on(Route::Done);
    let told: Vec<Value> = posts
        .iter()
        .filter(|post| post.uri.path().ends_with(&job))
        .map(e2e::platform::Recorded::json)
        .collect();
    let expected: Vec<Value> = [0, 50, 100]
        .iter()
        .map(|percent| json!({"status": "IN_PROGRESS", "output": {"percent": percent}}))
        .collect();
    assert_eq!(told[..3], expected);
    assert_eq!(told.len(), 4, "the answer is the last: {told:?}");
    platform.assert_no_violations();
}

#[test]
fn chunks_that_the_platform_does_not_take_are_in_the_answer() {
    let platform = Platform::start();
    platform.fault(Route::Stream, e2e::platform::Fault::Status(400), e2e::platform::When::Next(1));
    let _worker = QueueWorker::start(&platform, &[]);
    let job = platform.submit(&function("g", "def g():\n    for i in range(100): yield i").input());
    let answer = platform.wait(&job);
    assert_eq!(answer["output"].as_array().map(Vec::len), Some(100), "{answer}");
    assert!(platform.streamed(&job).is_empty(), "nothing follows a gap");
}

#[test]
fn several_slots_take_batches_and_run_side_by_side() {
    let platform = Platform::with(Settings { slots: Some(4), ..Settings::default() });
    let worker = QueueWorker::start(&platform, &[("RUNPOD_MAX_CONCURRENCY", "4")]);
    let names: Vec<String> = (0..4).map(|index| format!("begun{index}")).collect();
    let jobs: Vec<String> = names.iter().map(|begun| platform.submit(&waiting(begun, "go"))).collect();
    assert!(wait_until(|| names.iter().all(|begun| worker.path(begun).exists())), "{}", worker.log());
    std::fs::write(worker.path("go"), "").unwrap();
    for job in &jobs {
        assert_eq!(platform.wait(job)["output"]["json_result"], "went");
    }
    assert!(!platform.requests_on(Route::Batch).is_empty());
    platform.assert_no_violations();
}

#[test]
fn the_next_job_is_taken_while_the_last_answer_is_on_its_way() {
    let platform = Platform::with(Settings { slots: Some(1), ..Settings::default() });
    platform.fault(
        Route::Done,
        e2e::platform::Fault::Delay(Duration::from_secs(2)),
        e2e::platform::When::Next(1),
    );
    let worker = QueueWorker::start(&platform, &[]);
    let first = platform.submit(&add(1));
    let second = platform.submit(&waiting("begun", "go"));
    assert!(wait_until(|| worker.path("begun").exists()), "{}", worker.log());
    assert_eq!(platform.status(&first), Status::InProgress, "its answer has not arrived");
    std::fs::write(worker.path("go"), "").unwrap();
    assert_eq!(platform.wait(&second)["output"]["json_result"], "went");
    assert_eq!(platform.wait(&first)["output"]["json_result"], 2);
    platform.assert_no_violations();
}

#[test]
fn heartbeats_name_the_job_while_it_holds_the_interpreter() {
    let platform = Platform::start();
    let worker = QueueWorker::start(&platform, &[]);
    let code = "\
import ctypes
def f():
    open('begun', 'w').close()
    ctypes.PyDLL(None).sleep(4)  # holds the GIL
    return 'held'";
    let job = platform.submit(&function("f", code).input());
    assert!(wait_until(|| worker.path("begun").exists()));
    let named = || {
        let pings = platform.requests_on(Route::Ping);
        pings.iter().filter(|ping| ping.parameter("job_id").as_deref() == Some(job.as_str())).count()
    };
    assert!(wait_until(|| named() >= 3), "{} heartbeats", named());
    assert_eq!(platform.status(&job), Status::InProgress, "they came while it was running");
    assert_eq!(platform.wait(&job)["output"]["json_result"], "held");
    platform.assert_no_violations();
}

#[test]
fn a_stopped_job_ends_for_real_and_nothing_is_posted_for_it() {
    let platform = Platform::start();
    let worker = QueueWorker::start(&platform, &[]);
    let stopped = platform.submit(&waiting("begun", "never"));
    let queued = platform.submit(&add(5));
    assert!(wait_until(|| worker.path("begun").exists()));
    assert!(platform.cancel(&stopped));
    assert_eq!(platform.wait(&queued)["output"]["json_result"], 6, "its slot is free again");
    let answers = platform.requests_on(Route::Done);
    assert!(answers.iter().all(|answer| !answer.uri.path().ends_with(&stopped)), "{answers:#?}");
    platform.assert_no_violations();
}

#[test]
fn the_platforms_time_limit_ends_a_call_with_its_stack() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[]);
    let input = function("f", "import time\ndef f():\n    time.sleep(60)").input();
    let job = platform.submit_job(json!({"input": input, "policy": {"executionTimeout": 500}}));
    let answer = platform.wait(&job);
    if answer["status"] == "FAILED" {
        assert!(answer["error"].as_str().unwrap().contains("line 3 in f"), "{answer}");
    } else {
        assert_eq!(answer["status"], "TIMED_OUT", "the platform was quicker");
    }
}

#[test]
fn an_answer_over_the_limit_is_an_error_that_names_the_sizes() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[("FARCALL_MAX_PAYLOAD_MB", "1")]);
    let big = platform.submit(&function("f", "def f(): return 'x' * (2 << 20)").input());
    let error = platform.wait(&big)["error"].as_str().unwrap().to_owned();
    assert!(error.contains("over the platform's limit of 1048576"), "{error}");
    platform.assert_no_violations();
}

#[test]
fn sigterm_lets_the_job_end_takes_no_other_and_does_not_wait_for_the_poll() {
    let platform = Platform::with(Settings { poll: Duration::from_secs(25), ..Settings::default() });
    let mut idle = QueueWorker::start(&platform, &[]);
    assert!(wait_until(|| !platform.requests_on(Route::Take).is_empty()));
    idle.signal("TERM");
    assert_eq!(idle.wait().code(), Some(0), "well before its poll is over");

    let mut busy = QueueWorker::start(&platform, &[]);
    let running = platform.submit(&waiting("begun", "go"));
    assert!(wait_until(|| busy.path("begun").exists()), "{}", busy.log());
    let left = platform.submit(&add(1));
    busy.signal("TERM");
    assert!(wait_until(|| busy.log().contains("draining")));
    std::fs::write(busy.path("go"), "").unwrap();
    assert_eq!(busy.wait().code(), Some(0));
    assert_eq!(platform.wait(&running)["output"]["json_result"], "went");
    assert_eq!(platform.status(&left), Status::InQueue);
}

#[test]
fn a_job_that_outlasts_the_grace_is_cancelled_and_answered() {
    let platform = Platform::start();
    let mut worker = QueueWorker::start(&platform, &[("FARCALL_GRACE_S", "1")]);
    let job = platform.submit(&waiting("begun", "never"));
    assert!(wait_until(|| worker.path("begun").exists()));
    worker.signal("TERM");
    assert_eq!(worker.wait().code(), Some(0));
    assert_eq!(platform.wait(&job)["error"], "the call was cancelled");
    platform.assert_no_violations();
}

#[test]
fn the_log_says_which_mode_and_why() {
    let platform = Platform::start();
    let worker = QueueWorker::start(&platform, &[("RUNPOD_ENDPOINT_ID", "")]);
    assert!(wait_until(|| worker.log().contains("taking jobs")), "{}", worker.log());
    let first = worker.log().lines().next().unwrap_or_default().to_owned();
    assert!(first.contains("Queue") && first.contains("RUNPOD_WEBHOOK_GET_JOB"), "{first}");
}

#[test]
fn an_unfit_machine_says_so_to_the_platform_and_takes_nothing() {
    let platform = Platform::start();
    platform.submit(&add(1));
    let checks = [("RUNPOD_SKIP_FITNESS_CHECKS", "false"), ("RUNPOD_MIN_MEMORY_GB", "1000000")];
    let mut worker = QueueWorker::start(&platform, &checks);
    assert_eq!(worker.wait().code(), Some(1));
    let ping = platform.requests_on(Route::Ping).pop().expect("it has told the platform");
    assert_eq!(ping.parameter("status").as_deref(), Some("unhealthy"));
    assert_eq!(ping.parameter("check").as_deref(), Some("memory"));
    assert!(ping.parameter("reason").unwrap().contains("1000000 needed"));
    assert!(platform.requests_on(Route::Take).is_empty());
}

/// Takes one upload and returns its request line and body.
fn bucket() -> (String, std::thread::JoinHandle<(String, Vec<u8>)>) {
    use std::io::{BufRead, BufReader, Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a bucket gets one upload");
    let address = format!("http://{}", listener.local_addr().expect("a bucket gets one upload"));
    let upload = move || {
        let (stream, _) = listener.accept().expect("a bucket gets one upload");
        let mut reader = BufReader::new(&stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("a bucket gets one upload"), 0, "{head}");
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .expect("a bucket gets one upload");
        let mut body = vec![0; length.parse().expect("a bucket gets one upload")];
        reader.read_exact(&mut body).expect("a bucket gets one upload");
        (&stream)
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .expect("a bucket gets one upload");
        (head.lines().next().expect("a bucket gets one upload").to_owned(), body)
    };
    (address, std::thread::spawn(upload))
}

#[test]
fn an_answer_over_the_limit_goes_to_the_jobs_bucket() {
    let platform = Platform::start();
    let _worker = QueueWorker::start(&platform, &[("FARCALL_MAX_PAYLOAD_MB", "1")]);
    let (address, upload) = bucket();
    let job = platform.submit_job(json!({
        "input": function("f", "def f(): return 'x' * (2 << 20)").input(),
        "s3Config": {"accessId": "me", "accessSecret": "secret", "bucketName": "results", "endpointUrl": address},
    }));
    let answer = platform.wait(&job);
    let link = &answer["output"]["json_result"]["s3"];
    assert_eq!(link["bytes"], (2 << 20) + 2, "{answer}");
    assert_eq!(link["encoding"], "json");
    let expected = format!("{address}/results/farcall/{job}?");
    let url = link["url"].as_str().unwrap();
    assert!(url.starts_with(&expected) && url.contains("X-Amz-Signature="), "{url}");
    assert!(!answer.to_string().contains("secret"));
    let (line, body) = upload.join().unwrap();
    assert!(
        line.starts_with(&format!("PUT /results/farcall/{job}?")) && line.contains("X-Amz-Signature="),
        "{line}"
    );
    assert_eq!(body.len(), (2 << 20) + 2);
}
