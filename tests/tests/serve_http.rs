//! The load-balancer worker's HTTP interface: health, calls, and what it refuses.

use std::net::TcpListener;

use e2e::{Worker, function, value, wait_until};
use serde_json::json;

/// Held by user code for as long as the test likes: a C call that keeps the GIL, and ends with a file.
const HOLDS_THE_GIL: &str = "\
import ctypes, os, subprocess
def f(begun, end):
    open(begun, 'w').write('x')
    # PyDLL keeps the GIL for the whole call.
    ctypes.PyDLL(None).system(f'while [ ! -e {end} ]; do sleep 0.01; done'.encode())
    return 'done'";

#[test]
fn ping_tells_starting_then_ready() {
    let slow = "import os, time\nwhile not os.path.exists('HERE/go'): time.sleep(0.01)";
    let worker = Worker::options().with_startup(slow).start_listening();
    let mut connection = worker.connect();
    for _ in 0..3 {
        let ping = connection.ask("GET", "/ping", &[], b"");
        assert_eq!((ping.status, ping.text()), (204, String::new()));
    }
    worker.touch("go");
    assert!(wait_until(|| worker.ping().status == 200), "{worker:?}");
    assert_eq!(worker.ping().text(), r#"{"status":"healthy"}"#);
}

#[test]
fn ping_answers_while_user_code_holds_the_gil() {
    let worker = Worker::start();
    let request = function("f", HOLDS_THE_GIL).args(json!([worker.path("begun"), worker.path("end")]));
    let call = worker.begin(request);
    worker.await_file("begun");
    for _ in 0..10 {
        assert_eq!(worker.ping().status, 200);
    }
    assert!(!call.is_answered());
    worker.touch("end");
    assert_eq!(value(&call.answer()), json!("done"));
}

#[test]
fn a_request_is_run_bare_or_wrapped_and_a_failure_is_status_200() {
    let worker = Worker::start();
    let mut connection = worker.connect();
    let add = function("f", "def f(a, b): return a + b").args(json!([1, 2]));
    assert_eq!(value(&connection.execute(&add).call()), json!(3));
    assert_eq!(value(&connection.execute(&add.wrapped()).call()), json!(3));
    let failure = connection.execute(&function("f", "def f(): raise ValueError('no')")).call();
    assert!(!failure.success && failure.error.is_some_and(|error| error.contains("ValueError: no")));
    let incomplete = connection.ask("POST", "/execute", &[], br#"{"function_name": "f"}"#).call();
    assert!(!incomplete.success && incomplete.error.is_some_and(|error| error.contains("function_code")));
    let mistyped = connection.ask("POST", "/execute", &[], br#"{"args": 5}"#).call();
    assert!(!mistyped.success && mistyped.error.is_some_and(|error| error.contains("`args`")));
}

#[test]
fn what_is_no_request_gets_a_status_and_a_sentence_and_the_connection_lives() {
    let worker = Worker::options().with("FARCALL_MAX_BODY_MB", "1").start();
    let mut connection = worker.connect();
    let mut refused = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8], status: u16| {
        let answer = connection.ask(method, path, headers, body);
        assert_eq!(answer.status, status, "{}", answer.text());
        answer.text()
    };
    assert!(refused("POST", "/execute", &[], b"def f(): pass", 400).contains("not valid JSON"));
    assert!(refused("POST", "/execute", &[], b"", 400).contains("not valid JSON"));
    for timeout in ["soon", "-1", "0", "nan", "inf", "1e300", ""] {
        let error = refused("POST", "/execute", &[("farcall-timeout", timeout)], b"{}", 400);
        assert!(error.contains("farcall-timeout"), "{timeout}: {error}");
    }
    refused("GET", "/nowhere", &[], b"", 404);
    refused("GET", "/execute", &[], b"", 405);
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    assert!(
        worker
            .connect()
            .ask("POST", "/execute", &[], large.as_bytes())
            .text()
            .contains("FARCALL_MAX_BODY_MB")
    );
    assert_eq!(
        connection.execute(&function("f", "def f(): return 1")).call().json_result.unwrap().get(),
        "1"
    );
}

#[test]
fn a_body_over_the_limit_is_answered_with_413() {
    let worker = Worker::options().with("FARCALL_MAX_BODY_MB", "1").start();
    for length in [(1 << 20) - 2, 1 << 20, 2 << 20] {
        let body = format!("\"{}\"", "x".repeat(length));
        let status = worker.connect().ask("POST", "/execute", &[], body.as_bytes()).status;
        assert_eq!(status, if length < (1 << 20) - 1 { 200 } else { 413 }, "{length}");
    }
}

#[test]
fn with_an_api_key_calls_need_it_and_user_code_does_not_see_it() {
    let worker = Worker::options().with("FARCALL_API_KEY", "open-sesame").start();
    let mut connection = worker.connect();
    let body =
        function("f", "import os\ndef f(): return [k for k, v in os.environ.items() if 'sesame' in v]")
            .to_string();
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer open-sesam",
        "Bearer open-sesame2",
        "Basic open-sesame",
        "open-sesame",
    ] {
        let answer = connection.ask("POST", "/execute", &[("authorization", wrong)], body.as_bytes());
        assert_eq!(answer.status, 401, "{wrong:?}");
        assert!(answer.text().contains("FARCALL_API_KEY") && !answer.text().contains("sesame"));
    }
    assert_eq!(connection.ask("POST", "/execute", &[], body.as_bytes()).status, 401);
    assert_eq!(connection.ask("GET", "/ping", &[], b"").status, 200);
    for right in ["Bearer open-sesame", "bearer open-sesame"] {
        let answer = connection.ask("POST", "/execute", &[("authorization", right)], body.as_bytes());
        assert_eq!(value(&answer.call()), json!([]));
    }
}

#[test]
fn a_thousand_calls_one_after_another_on_one_connection_are_never_refused() {
    let worker = Worker::start();
    let mut connection = worker.connect();
    for number in 0..1000 {
        let request = function("f", "def f(x):\n    print('line', x)\n    return x").args(json!([number]));
        let response = connection.execute(&request).call();
        assert_eq!(value(&response), json!(number));
        assert_eq!(response.stdout, Some(format!("line {number}\n")));
    }
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let worker = Worker::start();
    let mut connection = worker.connect();
    for number in 0..20 {
        let request = function("f", "def f(x): return x").args(json!([number]));
        connection.send("POST", "/execute", &[], request.to_string().as_bytes());
    }
    for number in 0..20 {
        assert_eq!(value(&connection.answer().call()), json!(number));
    }
}

#[test]
fn health_can_have_a_port_of_its_own() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken); // free again, and not given out soon
    let worker = Worker::options().with("PORT_HEALTH", &port.to_string()).start();
    let mut health = e2e::Connection::open(([127, 0, 0, 1], port).into());
    assert_eq!(health.ask("GET", "/ping", &[], b"").status, 200);
    assert_eq!(health.ask("POST", "/execute", &[], b"{}").status, 404);
    assert_eq!(worker.ping().status, 200);
}

#[test]
fn host_and_port_come_from_the_variables() {
    let worker = Worker::options().arguments(&[]).with("HOST", "127.0.0.2").with("PORT", "0").start();
    assert!(worker.address().to_string().starts_with("127.0.0.2:"));
    assert_eq!(worker.value(&function("f", "def f(): return 1")), json!(1));
}

#[test]
fn a_port_in_use_ends_the_worker_with_a_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut worker = Worker::options().arguments(&["--port", &port]).spawn();
    assert_eq!(worker.await_exit().code(), Some(64));
    let said = format!("cannot listen on 127.0.0.1:{port}");
    assert!(wait_until(|| worker.logged(&said).is_some()), "{worker:?}");
}

#[test]
fn calls_with_one_id_at_once_are_each_answered() {
    let worker = Worker::options().with("FARCALL_CONCURRENCY", "2").start();
    for kind in ["def", "async def"] {
        let code = format!("{kind} f(x):\n    print(x)\n    return x");
        let mut connections = [worker.connect(), worker.connect()];
        for (number, connection) in connections.iter_mut().enumerate() {
            let request = function("f", &code).args(json!([number])).to_string();
            connection.send("POST", "/execute", &[("x-request-id", "the-same")], request.as_bytes());
        }
        for (number, connection) in connections.iter_mut().enumerate() {
            let response = connection.answer().call();
            assert_eq!((value(&response), response.stdout), (json!(number), Some(format!("{number}\n"))));
        }
    }
}
