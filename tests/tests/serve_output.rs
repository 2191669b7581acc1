//! What calls print, on its way to whoever follows them: events, answers, and the worker's own log.

use e2e::{Event, Worker, function, value, wait_until};
use serde_json::{Value, json};

fn printed(events: &[Event]) -> String {
    events.iter().map(Event::output).collect()
}

fn chunks(events: &[Event]) -> Vec<Value> {
    events.iter().filter(|event| event.name == "chunk").map(|event| event.data.clone()).collect()
}

#[test]
fn output_arrives_while_the_call_still_runs_in_the_stream_and_in_the_log() {
    for concurrency in ["1", "4"] {
        for definition in ["def", "async def"] {
            let worker = Worker::options().with("FARCALL_CONCURRENCY", concurrency).start();
            let code = format!(
                "import os, time\n{definition} f():\n    print('first')\n    while not os.path.exists({:?}): time.sleep(0.005)\n    print('second')\n    return 7",
                worker.path("go")
            );
            let mut events = worker.follow(&function("f", &code));
            assert_eq!(events.printed_until("\n"), "first\n");
            assert!(wait_until(|| worker.logged("first").is_some()), "{worker:?}");
            assert!(worker.logged("second").is_none());
            worker.touch("go");
            let rest = events.rest();
            assert_eq!(printed(&rest), "second\n");
            let result = rest.last().unwrap();
            assert_eq!(result.name, "result");
            assert_eq!(result.data["json_result"], json!(7));
            assert_eq!(result.data["stdout"], json!("first\nsecond\n"));
        }
    }
}

#[test]
fn all_output_is_told_before_the_result_whatever_its_timing() {
    let worker = Worker::start();
    for round in 0..200 {
        let request = function("f", "def f(n):\n    for i in range(n): print(i)\n    return n")
            .args(json!([round % 7]));
        let events = worker.follow(&request).rest();
        let expected = (0..round % 7).map(|line| format!("{line}\n")).collect::<String>();
        assert_eq!(printed(&events), expected, "{round}");
        assert_eq!(events.iter().filter(|event| event.name == "result").count(), 1);
    }
}

#[test]
fn generators_are_told_chunk_by_chunk() {
    for concurrency in ["1", "4"] {
        let worker = Worker::options().with("FARCALL_CONCURRENCY", concurrency).start();
        for code in [
            "def f():\n    for i in range(3):\n        print(i)\n        yield {'i': i}",
            "import asyncio\nasync def f():\n    for i in range(3):\n        print(i)\n        await asyncio.sleep(0)\n        yield {'i': i}",
        ] {
            let events = worker.follow(&function("f", code)).rest();
            let expected = (0..3).map(|i| json!({"index": i, "json_result": {"i": i}})).collect::<Vec<_>>();
            assert_eq!(chunks(&events), expected, "{events:?}");
            assert_eq!(printed(&events), "0\n1\n2\n");
            let result = &events.last().unwrap().data;
            assert_eq!((&result["success"], &result["json_result"]), (&json!(true), &Value::Null));

            let events = worker.follow(&function("f", code).pickled()).rest();
            let pickles = chunks(&events);
            let values = pickles
                .iter()
                .map(|chunk| e2e::Python::under_test().unpickle(chunk["result"].as_str().unwrap(), "value"));
            assert_eq!(values.collect::<Vec<_>>(), ["{'i': 0}", "{'i': 1}", "{'i': 2}"]);

            let whole = worker.value(&function("f", code));
            assert_eq!(whole, json!([{"i": 0}, {"i": 1}, {"i": 2}]), "without events they are collected");
        }
    }
}

#[test]
fn chunks_told_before_an_exception_stay_told() {
    let worker = Worker::start();
    for ending in ["raise ValueError('enough')", "__import__('os')._exit(3)", "yield object()"] {
        let code = format!("def f():\n    yield 1\n    yield 2\n    {ending}");
        let events = worker.follow(&function("f", &code)).rest();
        assert_eq!(chunks(&events).len(), 2, "{ending}: {events:?}");
        let result = &events.last().unwrap().data;
        assert_eq!(result["success"], json!(false), "{ending}");
        assert!(result["error"].is_string(), "{ending}");
    }
}

#[test]
fn a_character_printed_in_two_halves_is_one_character() {
    let worker = Worker::start();
    let code = format!(
        "import os, time
def f():
    os.write(1, '€'.encode()[:1])
    open({:?}, 'w').write('x')
    while not os.path.exists({:?}): time.sleep(0.005)
    os.write(1, '€'.encode()[1:] + b'\\n')",
        worker.path("begun"),
        worker.path("go")
    );
    let events = worker.follow(&function("f", &code));
    worker.await_file("begun");
    worker.touch("go");
    let events = events.rest();
    assert_eq!(printed(&events), "€\n");
    assert_eq!(events.last().unwrap().data["stdout"], json!("€\n"));
}

#[test]
fn what_is_printed_after_the_answer_never_lands_in_the_next_call() {
    let worker = Worker::start();
    let go = worker.path("go");
    for (kind, start) in [
        ("thread", "threading.Thread(target=late, daemon=True).start()"),
        ("pool", "pool.submit(late)"),
        ("raw thread", "__import__('_thread').start_new_thread(late, ())"),
        ("fork", "os.fork() or (late(), os._exit(0))"),
        ("subprocess", "subprocess.Popen([sys.executable, '-c', 'import time, os\\n' + LATE + '\\nlate()'])"),
    ] {
        let late = format!(
            "def late():\n    while not os.path.exists({go:?}): time.sleep(0.001)\n    for i in range(50):\n        print('late', flush=True)\n        time.sleep(0.001)"
        );
        let code = format!(
            "import asyncio, os, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
LATE = {late:?}
exec(LATE)
def f():
    {start}
    return {kind:?}"
        );
        let _ = std::fs::remove_file(&go);
        assert_eq!(worker.value(&function("f", &code)), json!(kind));
        worker.touch("go");
        let next = function("g", "import time\ndef g(n):\n    time.sleep(0.005)\n    print('next', n)");
        for number in 0..15 {
            let response = worker.call(&next.clone().args(json!([number])));
            assert_eq!(response.stdout, Some(format!("next {number}\n")), "{kind}");
        }
    }
}

#[test]
fn a_task_that_outlives_its_call_prints_for_nobody() {
    let worker = Worker::start();
    let code = "
import asyncio
async def late():
    while True:
        print('late')
        await asyncio.sleep(0)
async def f():
    asyncio.ensure_future(late())
    await asyncio.sleep(0)
async def g():
    await asyncio.sleep(0.01)
    print('next')";
    worker.call(&function("f", code));
    for _ in 0..5 {
        assert_eq!(worker.call(&function("g", code)).stdout.as_deref(), Some("next\n"));
    }
}

#[test]
fn a_program_that_prints_without_end_holds_no_answer_up() {
    let worker = Worker::start();
    let code = "import subprocess\ndef f():\n    subprocess.Popen(['yes'])\n    return 'done'";
    assert_eq!(worker.value(&function("f", code).with("timeout", 10)), json!("done"));
    let response = worker.call(&function("g", "def g(): print('next')").with("timeout", 10));
    assert_eq!(response.stdout.as_deref(), Some("next\n"));
}

#[test]
fn on_the_platform_every_line_of_the_log_is_a_json_object_and_secrets_are_masked() {
    let worker = Worker::options()
        .with("RUNPOD_ENDPOINT_ID", "endpoint")
        .with("HOST", "127.0.0.1")
        .with("MY_API_KEY", "hf_abcdef0123")
        .start();
    let code = "import os\ndef f():\n    print('plain \"line\"')\n    print('key', os.environ['MY_API_KEY'])\n    print('no end', end='')";
    let body = function("f", code).to_string();
    let answer = worker.connect().ask("POST", "/execute", &[("x-request-id", "job-7")], body.as_bytes());
    assert!(
        answer.call().stdout.is_some_and(|text| text.contains("hf_abcdef0123")),
        "the answer is the caller's"
    );
    assert!(wait_until(|| worker.logged("no end").is_some()), "{worker:?}");
    let lines = worker.log();
    let lines =
        lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    let of_job = lines.filter(|line| line["requestId"] == json!("job-7")).collect::<Vec<_>>();
    let messages = of_job.iter().map(|line| line["message"].as_str().unwrap()).collect::<Vec<_>>();
    for message in ["plain \"line\"", "key ********", "no end"] {
        assert!(messages.contains(&message), "{messages:?}");
    }
    assert!(of_job.iter().all(|line| line["level"].is_string()));
}

const HUNDRED_THOUSAND: &str = "def f():\n    for i in range(100_000): print('line', i)\n    return 'done'";

#[test]
fn a_hundred_thousand_lines_are_all_in_the_answer_and_in_the_stream() {
    let worker = Worker::start();
    let expected = (0..100_000).map(|line| format!("line {line}\n")).collect::<String>();
    let response = worker.call(&function("f", HUNDRED_THOUSAND));
    assert!(response.stdout.as_deref() == Some(expected.as_str()));
    let events = worker.follow(&function("f", HUNDRED_THOUSAND)).rest();
    assert!(printed(&events) == expected);
}

#[test]
fn a_slow_reader_holds_its_call_up_and_then_gets_everything() {
    let worker = Worker::start();
    let code = format!(
        "import os
def f():
    for i in range(60_000): print('line', i, 'x' * 500)
    open({:?}, 'w').write('x')",
        worker.path("end")
    );
    let mut events = worker.follow(&function("f", &code));
    let first = events.next_event().unwrap();
    // Other calls are served meanwhile, and the call waits for its reader.
    for _ in 0..20 {
        assert_eq!(worker.ping().status, 200);
    }
    assert!(!std::path::Path::new(&worker.path("end")).exists(), "30 MB fit no buffer on the way");
    let rest = events.rest();
    let lines = printed(&[first]).lines().count() + printed(&rest).lines().count();
    assert!((60_000..=60_001).contains(&lines), "{lines}");
    assert_eq!(rest.last().unwrap().data["success"], json!(true));
}

#[test]
fn output_of_calls_that_share_a_runner_is_told_live_to_each() {
    let worker = Worker::options().with("FARCALL_CONCURRENCY", "4").start();
    let code = format!(
        "import asyncio, os
async def f(me):
    print('hello', me)
    while not os.path.exists({:?}): await asyncio.sleep(0.005)
    return me",
        worker.path("go")
    );
    let mut streams =
        (0..3).map(|me| worker.follow(&function("f", &code).args(json!([me])))).collect::<Vec<_>>();
    for (me, events) in streams.iter_mut().enumerate() {
        assert_eq!(events.printed_until("\n"), format!("hello {me}\n"));
    }
    worker.touch("go");
    for (me, events) in streams.into_iter().enumerate() {
        let rest = events.rest();
        assert_eq!(rest.last().unwrap().data["json_result"], json!(me));
        assert_eq!(printed(&rest), "");
    }
    assert_eq!(value(&worker.call(&function("g", "def g(): return 1"))), json!(1));
}
