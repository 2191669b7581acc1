//! What depends on the version of Python, with each that this machine has: whose output it is (how threads
//! start has changed twice), forking from a template, deaths, and what a coroutine waits for.

use e2e::{Worker, WorkerOptions, function, installed, value};
use serde_json::json;

/// Prints in every way that starts other Python code, while three others do the same.
const PRINTS: &str = "\
import asyncio, concurrent.futures, sys, threading
import _thread
pool = concurrent.futures.ThreadPoolExecutor(2)
arrived = []
gate = None
async def f(me):
    global gate
    gate = gate or asyncio.Event()
    arrived.append(me)
    if len(arrived) % 4 == 0: gate.set()
    await gate.wait()
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(print, f'<{me}> to_thread')
    await loop.run_in_executor(pool, print, f'<{me}> pool')
    thread = threading.Thread(target=print, args=(f'<{me}> thread',))
    thread.start()
    thread.join()
    done = loop.create_future()
    def bare():
        print(f'<{me}> bare thread')
        loop.call_soon_threadsafe(done.set_result, None)
    _thread.start_new_thread(bare, ())
    await done
    for step in range(200): print(f'<{me}> burst {step}')
    sys.stderr.write(f'<{me}> stderr\\n')
    return me";

/// Leaves a thread behind that goes on printing.
const OUTLIVES: &str = "\
import threading, time
def f():
    def chatter():
        while True:
            print('left behind')
            time.sleep(0.001)
    threading.Thread(target=chatter, daemon=True).start()
    print('mine')";

/// Runs it all with that Python, or says that the machine has none.
#[expect(clippy::print_stderr, reason = "says what it skips")]
fn check(minor: u8) {
    let Some(python) = installed().into_iter().find(|python| python.version == (3, minor)) else {
        eprintln!("skipped: this machine has no Python 3.{minor}");
        return;
    };
    let options = || Worker::options().with("FARCALL_PYTHON", &python.path.display().to_string());
    let version = function("f", "import sys\ndef f(): return sys.version_info[1]");
    assert_eq!(options().start().value(&version), json!(minor));
    output_belongs_to_its_call(options());
    failures_are_told(options());
}

fn output_belongs_to_its_call(options: WorkerOptions) {
    let worker = options.with("FARCALL_CONCURRENCY", "4").start();
    for _ in 0..2 {
        let answers = worker.at_once((0..4).map(|me| function("f", PRINTS).args(json!([me]))));
        for (me, response) in answers.iter().enumerate() {
            assert_eq!(value(response), json!(me));
            let output = response.stdout.as_deref().unwrap_or_default();
            let mark = format!("<{me}>");
            let foreign = output.lines().filter(|line| !line.starts_with(&mark)).collect::<Vec<_>>();
            assert!(foreign.is_empty(), "{me}: {foreign:?}");
            assert_eq!(output.lines().count(), 205, "{output}");
        }
    }
    let first = worker.call(&function("f", OUTLIVES)).stdout.unwrap_or_default();
    assert!(first.contains("mine\n"), "{first}");
    for _ in 0..20 {
        let next = worker.call(&function("g", "def g():\n    for i in range(100): print(i)"));
        assert_eq!(next.stdout.map(|text| text.contains("left behind")), Some(false));
    }
}

fn failures_are_told(options: WorkerOptions) {
    let worker = options.start();
    for code in ["import os\ndef f(): os._exit(3)", "import os\nasync def f(): os._exit(3)"] {
        for _ in 0..3 {
            assert!(worker.error(&function("f", code)).contains("died: exit code 3"));
            assert_eq!(worker.value(&function("g", "async def g(): return 1")), json!(1));
        }
    }
    let crash = "import ctypes\ndef f():\n    ctypes.string_at(0)";
    let error = worker.error(&function("f", crash));
    assert!(error.contains("SIGSEGV") && error.contains("f.py\", line 3 in f"), "{error}");
    let waits = "import asyncio\nasync def f():\n    await asyncio.sleep(600)";
    let error = worker.error(&function("f", waits).with("timeout", 1));
    assert!(error.contains("Task (most recent call first):") && error.contains("line 3 in f\n"), "{error}");
    assert!(worker.logged("no runner template").is_none(), "{worker:?}");
}

#[test]
fn threads_print_for_their_call_although_threading_was_there_before_the_runner() {
    output_belongs_to_its_call(Worker::options().with_startup("import threading"));
}

#[test]
fn on_3_10() {
    check(10);
}

#[test]
fn on_3_11() {
    check(11);
}

#[test]
fn on_3_12() {
    check(12);
}

#[test]
fn on_3_13() {
    check(13);
}

#[test]
fn on_3_14() {
    check(14);
}
