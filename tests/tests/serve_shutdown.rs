//! The way down: running calls end or are cancelled, every call is answered, and nothing is left.

use e2e::processes::{descendants, is_alive};
use e2e::{PendingCall, Worker, WorkerOptions, function, value, wait_until};
use serde_json::json;

/// A worker with a call that ends when the file `go` exists.
fn busy(options: WorkerOptions) -> (Worker, PendingCall) {
    let worker = options.start();
    let code = format!(
        "import os, time\ndef f():\n    open({:?}, 'w').write('x')\n    while not os.path.exists({:?}): time.sleep(0.005)\n    return 'done'",
        worker.path("begun"),
        worker.path("go")
    );
    let call = worker.begin(function("f", &code));
    worker.await_file("begun");
    (worker, call)
}

#[test]
fn a_running_call_may_end_and_health_says_that_no_more_are_taken() {
    for signal in ["TERM", "INT"] {
        let (mut worker, call) = busy(Worker::options());
        let mut kept = worker.connect();
        assert_eq!(kept.ask("GET", "/ping", &[], b"").status, 200);
        worker.signal(signal);
        assert!(wait_until(|| worker.ping().status == 503), "{worker:?}");
        assert_eq!(kept.ask("GET", "/ping", &[], b"").status, 503);
        let refused = kept.execute(&function("g", "def g(): return 1"));
        assert_eq!(refused.status, 503);
        assert!(refused.text().contains("shutting down"), "{}", refused.text());
        worker.touch("go");
        assert_eq!(value(&call.answer()), json!("done"));
        assert_eq!(worker.await_exit().code(), Some(0));
    }
}

#[test]
fn calls_that_outlast_the_grace_are_cancelled_and_answered_queued_ones_too() {
    let (mut worker, running) = busy(Worker::options().with("FARCALL_GRACE_S", "1"));
    let mut queued = worker.connect();
    queued.send("POST", "/execute", &[], function("g", "def g(): return 1").to_string().as_bytes());
    assert_eq!(worker.ping().status, 200);
    let family = descendants(worker.pid());
    worker.signal("TERM");
    assert_eq!(running.answer().error.as_deref(), Some("the call was cancelled"));
    let answer = queued.answer().call();
    assert_eq!(answer.error.as_deref(), Some("the call was cancelled before it began"));
    assert_eq!(worker.await_exit().code(), Some(0));
    for member in family {
        assert!(wait_until(|| !is_alive(member)), "{member} lives on");
    }
}

#[test]
fn a_second_signal_ends_the_grace() {
    let (mut worker, running) = busy(Worker::options().with("FARCALL_GRACE_S", "600"));
    worker.signal("TERM");
    assert!(wait_until(|| worker.ping().status == 503));
    worker.signal("INT");
    assert_eq!(running.answer().error.as_deref(), Some("the call was cancelled"));
    assert_eq!(worker.await_exit().code(), Some(0));
}

#[test]
fn a_stream_gets_its_result_on_the_way_down() {
    for concurrency in ["1", "4"] {
        let mut worker =
            Worker::options().with("FARCALL_GRACE_S", "0").with("FARCALL_CONCURRENCY", concurrency).start();
        let code = "import asyncio\nasync def f():\n    print('begun')\n    await asyncio.sleep(600)";
        let mut events = worker.follow(&function("f", code));
        events.printed_until("begun\n");
        worker.signal("TERM");
        let result = events.rest().pop().unwrap();
        assert_eq!(
            (result.name.as_str(), &result.data["error"]),
            ("result", &json!("the call was cancelled"))
        );
        assert_eq!(worker.await_exit().code(), Some(0));
    }
}

#[test]
fn an_idle_worker_ends_at_once_although_clients_stay_connected() {
    for signal in ["TERM", "INT"] {
        let mut worker = Worker::start();
        let mut idle = worker.connect();
        idle.execute(&function("f", "def f(): return 1"));
        let silent = worker.connect();
        let family = descendants(worker.pid());
        worker.signal(signal);
        assert_eq!(worker.await_exit().code(), Some(0));
        assert!(idle.try_answer().is_err());
        silent.disconnect();
        assert!(family.into_iter().all(|member| wait_until(|| !is_alive(member))));
    }
}

#[test]
fn a_worker_told_to_stop_while_it_starts_stops() {
    let slow = "import time\nopen('HERE/starting', 'w').write('x')\ntime.sleep(600)";
    let mut worker = Worker::options().with_startup(slow).start_listening();
    worker.await_file("starting");
    // With events: its answer begins when the call is accepted.
    let waiting = worker.follow(&function("f", "def f(): return 1"));
    assert_eq!(worker.ping().status, 204);
    worker.signal("TERM");
    worker.signal("TERM");
    let answer = waiting.rest().pop().map(|event| event.data);
    assert!(answer.as_ref().is_some_and(|answer| answer["error"].is_string()), "{answer:?}");
    assert_eq!(worker.await_exit().code(), Some(0));
}
