//! Deadlines and cancellation: calls that are told to end, those that do, and those that have to be killed.

use std::fs;

use e2e::processes::is_alive;
use e2e::{Request, Worker, class, function, value, wait_until};
use serde_json::json;

/// Prints its process id to a file and then hangs in the given way.
fn hangs(worker: &Worker, way: &str) -> Request {
    let code = format!(
        "import asyncio, ctypes, os, time
def f():
    open({:?}, 'w').write(str(os.getpid()))
    {way}  # the line that hangs
    return 'came to its end'
def ready(): pass",
        worker.path("begun")
    );
    loaded(worker, function("f", &code))
}

/// The same request, its source loaded by a call of `ready` in it: the time of one that hangs must not run out
/// while it still imports modules. The source's file is named for the function called first.
fn loaded(worker: &Worker, request: Request) -> Request {
    worker.value(&request.clone().with("function_name", "ready"));
    request
}

#[test]
fn at_the_deadline_the_answer_tells_where_the_call_hung() {
    let worker = Worker::options().with("FARCALL_CANCEL_GRACE_S", "5").start();
    let mut runners = std::collections::BTreeSet::new();
    for way in [
        "time.sleep(600)",
        "asyncio.run(asyncio.sleep(600))",
        "ctypes.CDLL(None).sleep(600)",
        "while True: pass",
        "__import__('subprocess').run(['sleep', '600'])",
        "__import__('threading').Event().wait()",
        "__import__('queue').Queue().get()",
    ] {
        let error = worker.error(&hangs(&worker, way).with("timeout", 2));
        assert!(error.starts_with("the call timed out after 2 s\n"), "{way}: {error}");
        assert!(error.contains("ready.py\", line 4 in f"), "{way}: {error}");
        runners.insert(worker.await_file("begun"));
    }
    assert!(runners.len() <= 2, "each ended by itself, and its runner went on: {runners:?}");
}

#[test]
fn a_call_that_is_cancelled_twice_ends_once() {
    let worker = Worker::options().with("FARCALL_CANCEL_GRACE_S", "1").start();
    let code = format!(
        "import time
def f():
    while True:
        try: time.sleep(600)
        except KeyboardInterrupt: open({:?}, 'a').write('x')
def ready(): pass",
        worker.path("interrupted")
    );
    let mut connection = worker.connect();
    let request = loaded(&worker, function("f", &code)).with("timeout", 0.3).to_string();
    connection.send("POST", "/execute", &[], request.as_bytes());
    worker.await_file("interrupted"); // by its deadline
    connection.disconnect(); // and now by its client
    assert_eq!(worker.value(&function("g", "def g(): return 'next'")), json!("next"));
    assert_eq!(worker.await_file("interrupted"), "x", "the second one has nobody to interrupt");
}

#[test]
fn at_the_deadline_the_answer_tells_what_the_coroutine_waited_for() {
    let code = "\
import asyncio
async def innermost():
    await asyncio.sleep(600)
async def inner():
    await innermost()
async def f():
    await asyncio.gather(asyncio.sleep(0), asyncio.create_task(inner()))
async def ready(): pass";
    for concurrency in ["1", "4"] {
        let worker = Worker::options().with("FARCALL_CONCURRENCY", concurrency).start();
        let error = worker.error(&loaded(&worker, function("f", code)).with("timeout", 2));
        let start = "the call timed out after 2 s\nTask (most recent call first):\n  File ";
        assert!(error.starts_with(start), "{error}");
        let lines =
            ["line 7 in f\nTask it waits for", "in sleep\n", "line 3 in innermost\n", "line 5 in inner\n"];
        let places = lines.map(|line| error.find(line).unwrap_or_else(|| panic!("no `{line}`: {error}")));
        assert!(places.is_sorted(), "{error}");
        assert!(!error.contains("helpers"), "{error}");
        assert_eq!(worker.value(&function("g", "async def g(): return 1")), json!(1));
    }
}

#[test]
fn a_call_that_will_not_end_is_killed_with_what_it_has_started() {
    let worker = Worker::options().with("FARCALL_CANCEL_GRACE_S", "1").start();
    let code = format!(
        "import subprocess, time
def f():
    child = subprocess.Popen(['sh', '-c', 'trap \"\" INT; sleep 600 & wait; sleep 600'])
    open({:?}, 'w').write(str(child.pid))
    while True:
        try: time.sleep(600)
        except KeyboardInterrupt: print('not me')
def ready(): pass",
        worker.path("child")
    );
    let response = worker.call(&loaded(&worker, function("f", &code)).with("timeout", 1));
    assert!(response.error.as_deref().is_some_and(|error| error.contains("timed out after 1 s")));
    assert_eq!(response.stdout.as_deref(), Some("not me\n"));
    let child = worker.await_file("child").parse().unwrap();
    assert!(wait_until(|| !is_alive(child)));
    assert_eq!(worker.value(&function("g", "def g(): return 'next'")), json!("next"));
}

#[test]
fn code_that_holds_the_gil_is_killed_and_its_stack_is_known() {
    let worker = Worker::options().with("FARCALL_CANCEL_GRACE_S", "1").start();
    for way in ["ctypes.PyDLL(None).sleep(600)", "__import__('re').match('(a+)+$', 'a' * 60 + 'b')"] {
        let error = worker.error(&hangs(&worker, way).with("timeout", 2));
        assert!(error.contains("timed out") && error.contains("ready.py\", line 4 in f"), "{way}: {error}");
        assert_eq!(worker.value(&function("g", "def g(): return 'next'")), json!("next"));
    }
}

#[test]
fn the_header_counts_before_the_request_and_the_request_before_the_default() {
    let worker = Worker::options().with("FARCALL_TIMEOUT_S", "1").start();
    let hang = loaded(&worker, function("f", "import time\ndef f(): time.sleep(600)\ndef ready(): pass"));
    assert!(worker.error(&hang).contains("after 1 s"));
    assert!(worker.error(&hang.clone().with("timeout", 0.2)).contains("after 0.2 s"));
    let body = hang.with("timeout", 600).to_string();
    let answer = worker.connect().ask("POST", "/execute", &[("farcall-timeout", "0.1")], body.as_bytes());
    assert!(answer.call().error.is_some_and(|error| error.contains("after 0.1 s")));
}

#[test]
fn an_interrupted_call_leaves_its_instance_to_the_next() {
    let worker = Worker::start();
    let code = "\
import time
class Counter:
    def __init__(self): self.count = 0
    def go(self, seconds):
        self.count += 1
        time.sleep(seconds)
        return self.count
def ready(): pass";
    loaded(&worker, function("ready", code));
    let go = |seconds: f64| class("Counter", code, "go").args(json!([seconds]));
    // Also when the call that made the instance is the one that was interrupted.
    assert!(worker.error(&go(600.0).with("timeout", 0.5)).contains("timed out"));
    for count in 2..6 {
        assert_eq!(worker.value(&go(0.0)), json!(count));
    }
    assert!(worker.error(&go(600.0).with("timeout", 0.1)).contains("timed out"));
    assert_eq!(worker.value(&go(0.0)), json!(7));
}

#[test]
fn an_interrupt_that_comes_too_late_never_hits_the_next_call() {
    let worker = Worker::start();
    let mut connection = worker.connect();
    let race = "import time\ndef f():\n    time.sleep(0.004)\n    return 'in time'";
    let next =
        function("g", "def g():\n    total = 0\n    for i in range(3000): total += i\n    return total");
    for round in 0..200 {
        let timeout = 0.003 + f64::from(round % 20) * 0.0001;
        let response = connection.execute(&function("f", race).with("timeout", timeout)).call();
        let error = response.error.as_deref().unwrap_or("the call timed out");
        assert!(error.starts_with("the call timed out"), "{error}");
        assert_eq!(value(&connection.execute(&next).call()), json!(4_498_500), "{round}");
    }
}

#[test]
fn a_client_that_goes_away_cancels_its_call() {
    let worker = Worker::start();
    // It has begun only where it can notice.
    let code = format!(
        "import time
def f():
    try:
        open({:?}, 'w').write('x')
        time.sleep(600)
    except KeyboardInterrupt: open({:?}, 'w').write('x')",
        worker.path("begun"),
        worker.path("cancelled")
    );
    let request = function("f", &code);
    for with_events in [false, true] {
        let _ = fs::remove_file(worker.path("begun"));
        let _ = fs::remove_file(worker.path("cancelled"));
        if with_events {
            let events = worker.follow(&request);
            worker.await_file("begun");
            events.disconnect();
        } else {
            let mut connection = worker.connect();
            connection.send("POST", "/execute", &[], request.to_string().as_bytes());
            worker.await_file("begun");
            connection.disconnect();
        }
        worker.await_file("cancelled");
        assert_eq!(worker.value(&function("g", "def g(): return 'next'")), json!("next"));
    }
}

#[test]
fn a_client_that_goes_away_cancels_nothing_if_the_worker_is_told_so() {
    let worker = Worker::options().with("FARCALL_CANCEL_ON_DISCONNECT", "0").start();
    let way = "while not os.path.exists(GO): time.sleep(0.01)
    open(END, 'w').write('x')"
        .replace("GO", &format!("{:?}", worker.path("go")))
        .replace("END", &format!("{:?}", worker.path("end")));
    for with_events in [false, true] {
        for name in ["begun", "go", "end"] {
            let _ = fs::remove_file(worker.path(name));
        }
        let request = hangs(&worker, &way);
        if with_events {
            let events = worker.follow(&request);
            worker.await_file("begun");
            events.disconnect();
        } else {
            let mut connection = worker.connect();
            connection.send("POST", "/execute", &[], request.to_string().as_bytes());
            worker.await_file("begun");
            connection.disconnect();
        }
        worker.touch("go");
        worker.await_file("end");
    }
}

#[test]
fn a_call_that_is_cancelled_in_the_queue_never_begins() {
    let worker = Worker::start();
    let way = format!("while not os.path.exists({:?}): time.sleep(0.01)", worker.path("go"));
    let first = worker.begin(hangs(&worker, &way));
    worker.await_file("begun");
    let mut second = worker.connect();
    let mark = function("g", "def g(path): open(path, 'w').write('x')").args(json!([worker.path("second")]));
    second.send("POST", "/execute", &[], mark.to_string().as_bytes());
    // Answered only after what was sent before it on the same listener was read.
    assert_eq!(worker.ping().status, 200);
    second.disconnect();
    assert_eq!(worker.ping().status, 200);
    worker.touch("go");
    assert_eq!(value(&first.answer()), json!("came to its end"));
    assert_eq!(worker.value(&function("h", "def h(): return 1")), json!(1));
    assert!(!std::path::Path::new(&worker.path("second")).exists());
}

#[test]
fn clients_that_go_away_while_they_wait_cost_nobody_a_place() {
    let worker = Worker::options().with("FARCALL_CONCURRENCY", "2").start();
    let quick = function("f", "def f(): return 1").to_string();
    for _ in 0..300 {
        // Some leave at the very moment they are granted a runner.
        let leaving = (0..4).map(|_| worker.connect()).collect::<Vec<_>>();
        for mut connection in leaving {
            connection.send("POST", "/execute", &[], quick.as_bytes());
            connection.disconnect();
        }
    }
    let code = format!(
        "import os, time
def f(me):
    open({0:?} + '/met-' + me, 'w').close()
    while sum(name.startswith('met-') for name in os.listdir({0:?})) < 2: time.sleep(0.005)
    return me",
        worker.directory().display().to_string()
    );
    let meet = |me: &str| function("f", &code).args(json!([me])).with("timeout", 10);
    let answers = worker.at_once([meet("one"), meet("two")]);
    assert_eq!(answers.iter().map(value).collect::<Vec<_>>(), [json!("one"), json!("two")]);
}
