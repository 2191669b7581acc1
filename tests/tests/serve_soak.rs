//! Mixed load: good, slow, crashing, chatty, streamed and abandoned calls, all at once. Every call is answered
//! exactly once, and the worker is at the end what it was at the beginning.
//!
//! Runs for a minute beside the other tests, leaving them most of the machine; `make soak` (`FARCALL_SOAK_S`)
//! runs it for longer, and as fast as it goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::processes::{children, open_files, resident_kilobytes, zombies};
use e2e::{Connection, Request, Worker, class, function, value, wait_until};
use serde_json::json;

/// More clients than calls run at a time, so that some always wait.
const CLIENTS: u64 = 8;

/// How long it runs by default, and how long each client then waits after a call.
const DEFAULT: (Duration, Duration) = (Duration::from_mins(1), Duration::from_millis(100));

/// What the worker's memory may grow by between the first part of the load and its end, in KiB: room for the
/// allocator's caches, far less than a leak of a hundred bytes a call comes to in a long run.
const GROWTH_KILOBYTES: u64 = 8 << 10;

/// The same for all its runners together: most of them are new at the end, and have kept other things.
const RUNNERS_GROWTH_KILOBYTES: u64 = 48 << 10;

fn good(number: u64) -> Request {
    function("good", "def good(x):\n    print('good', x)\n    return x").args(json!([number]))
}

/// One call of a kind that depends on its number, checked.
fn call(connection: &mut Connection, worker: &Worker, number: u64) {
    match number % 9 {
        0 | 1 => {
            let response = connection.execute(&good(number)).call();
            assert_eq!(value(&response), json!(number));
            assert_eq!(response.stdout, Some(format!("good {number}\n")));
        }
        2 => {
            let code = "import asyncio\nasync def f(x):\n    print('async', x)\n    await asyncio.sleep(0.003)\n    return x";
            let response = connection.execute(&function("f", code).args(json!([number]))).call();
            assert_eq!(value(&response), json!(number));
            assert_eq!(response.stdout, Some(format!("async {number}\n")));
        }
        3 => {
            let response = connection.execute(&function("f", "import os\ndef f(): os._exit(3)")).call();
            assert!(response.error.is_some_and(|error| error.contains("exit code 3")));
        }
        4 => {
            let slow = function("f", "import time\ndef f(): time.sleep(600)").with("timeout", 0.03);
            let response = connection.execute(&slow).call();
            assert!(response.error.is_some_and(|error| error.contains("timed out after 0.03 s")));
        }
        5 => {
            let chatty = function("f", "def f():\n    for i in range(2000): print('chatty', i)");
            let response = connection.execute(&chatty).call();
            assert_eq!(response.stdout.map(|text| text.lines().count()), Some(2000));
        }
        6 => {
            let mut abandoned = worker.connect();
            let request = function("f", "import time\ndef f(): time.sleep(600)");
            abandoned.send("POST", "/execute", &[], request.to_string().as_bytes());
            abandoned.disconnect();
        }
        7 => {
            let generator = "def f():\n    for i in range(5):\n        print(i)\n        yield i";
            let events = worker.follow(&function("f", generator)).rest();
            let count = |name: &str| events.iter().filter(|event| event.name == name).count();
            assert_eq!((count("chunk"), count("result")), (5, 1), "{events:?}");
        }
        _ => {
            let code = "class A:\n    def go(self, x): return x";
            let id = format!("A_{}", number % 5);
            let response =
                connection.execute(&class("A", code, "go").with("instance_id", id).args(json!([number])));
            assert_eq!(value(&response.call()), json!(number));
        }
    }
}

fn load(worker: &Worker, duration: Duration, pause: Duration) -> u64 {
    let (next, end) = (AtomicU64::new(0), Instant::now() + duration);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = worker.connect();
                while Instant::now() < end {
                    call(&mut connection, worker, next.fetch_add(1, Ordering::Relaxed));
                    thread::sleep(pause);
                }
            });
        }
    });
    next.into_inner()
}

/// What a worker uses: open files, its memory, and that of its runners, in KiB.
#[derive(Debug, Clone, Copy)]
struct Usage {
    files: usize,
    memory: u64,
    runners: u64,
}

/// Waits until what the load has left has settled, and measures.
fn measure(worker: &Worker) -> Usage {
    // Template, four runners, a spare, and the shared one.
    let settled = || children(worker.pid()).len() == 7 && zombies(worker.pid()) == 0;
    assert!(wait_until(settled), "{:?}", children(worker.pid()));
    assert!(wait_until(|| worker.runner_directories() == 7), "{}", worker.runner_directories());
    Usage {
        files: open_files(worker.pid()),
        memory: resident_kilobytes(worker.pid()),
        runners: children(worker.pid()).into_iter().map(resident_kilobytes).sum(),
    }
}

#[test]
fn mixed_load_is_answered_call_by_call_and_leaves_the_worker_as_it_was() {
    let seconds = std::env::var("FARCALL_SOAK_S").ok();
    let (duration, pause) = seconds.map_or(DEFAULT, |seconds| {
        (Duration::from_secs(seconds.parse().expect("a number of seconds")), Duration::ZERO)
    });
    let options = Worker::options().with("FARCALL_CONCURRENCY", "4").with("FARCALL_LOG_LEVEL", "info");
    let worker = options.start();
    load(&worker, duration / 3, pause);
    let before = measure(&worker);
    let calls = load(&worker, duration * 2 / 3, pause);
    assert!(calls > 50, "{calls}");
    let settled = || measure(&worker).files <= before.files;
    assert!(wait_until(settled), "open files: {}, then {}", before.files, open_files(worker.pid()));
    let after = measure(&worker);
    println!("{calls} calls after the first third: {before:?}, then {after:?}");
    assert!(
        after.memory < before.memory + GROWTH_KILOBYTES,
        "{before:?}, then {after:?} after {calls} calls"
    );
    let most = before.runners + RUNNERS_GROWTH_KILOBYTES;
    assert!(after.runners < most, "{before:?}, then {after:?} after {calls} calls");
    assert_eq!(worker.ping().status, 200);
}
