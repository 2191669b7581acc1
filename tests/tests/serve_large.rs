//! Large arguments and results: the same bytes come back, and the memory they took is given back.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use e2e::processes::{children, resident_kilobytes};
use e2e::{Request, Worker, function, value, wait_until};
use serde_json::{Value, json};

/// As large as a platform's payload may be.
const LARGE: usize = 10 << 20;

/// What a process may keep of a large call, in KiB: less than one copy of it.
const KEPT_KILOBYTES: u64 = 4 << 10;

fn echo(argument: &Value) -> Request {
    function("echo", "def echo(value):\n    print('echo')\n    return value").args(json!([argument]))
}

/// A text that shows whether pieces of it change places, and needs escapes and more than one byte a character.
fn text() -> String {
    (0..).map(|number| format!("{number} \"é\n")).take(LARGE / 12).collect()
}

#[test]
fn a_large_argument_comes_back_as_it_was() {
    let worker = Worker::start();
    let mut connection = worker.connect();
    let argument = json!({"text": text(), "numbers": (0..1000).collect::<Vec<_>>()});
    for _ in 0..3 {
        let response = connection.execute(&echo(&argument)).call();
        assert_eq!(value(&response), argument);
        assert_eq!(response.stdout.as_deref(), Some("echo\n"));
    }
    // A pickle of bytes: protocol 4, a length of 8 bytes, the bytes, and the end.
    let bytes = text().into_bytes();
    let pickle = [b"\x80\x04\x8e".as_slice(), &(bytes.len() as u64).to_le_bytes(), &bytes, b"."].concat();
    let response = connection.execute(&echo(&BASE64_STANDARD.encode(pickle).into()).pickled()).call();
    let result = BASE64_STANDARD.decode(response.result.unwrap_or_default()).unwrap();
    assert!(response.success && result.windows(bytes.len()).any(|window| window == bytes));
    assert_eq!(response.json_result.map(|json| json.to_string()), None);
}

#[test]
fn a_large_result_is_one_event_of_a_stream() {
    let worker = Worker::start();
    let argument = json!(text());
    let events = worker.follow(&echo(&argument)).rest();
    let result = events.last().expect("there are events");
    assert_eq!((result.name.as_str(), &result.data["json_result"]), ("result", &argument));
}

#[test]
fn memory_of_large_calls_is_given_back() {
    let worker = Worker::start();
    assert!(wait_until(|| children(worker.pid()).len() == 3), "{worker:?}");
    let memory = || {
        let runners = children(worker.pid()).into_iter().map(resident_kilobytes).sum::<u64>();
        resident_kilobytes(worker.pid()) + runners
    };
    worker.value(&echo(&json!(1)));
    let before = memory();
    let argument = json!(text());
    let mut connection = worker.connect();
    for _ in 0..3 {
        assert_eq!(value(&connection.execute(&echo(&argument)).call()), argument);
    }
    assert!(wait_until(|| memory() < before + 2 * KEPT_KILOBYTES), "{before} KiB, then {}", memory());
}
