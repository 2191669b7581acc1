//! Calls that end, fork or bend the process they run in: each is answered, and the next one runs.

use e2e::{Answer, Farcall, Request, function, wait_until};
use serde_json::json;

/// Runs a function that ends its process, then one that does not.
fn fails(request: &Request) -> Answer {
    let mut answers = Farcall::new().answers([request, &function("f", "def f(): return 'next'")]);
    assert_eq!(answers[1].value(), json!("next"), "the next call runs");
    answers.remove(0)
}

fn first_line(answer: &Answer) -> &str {
    answer.error().lines().next().unwrap_or_default()
}

#[test]
fn a_process_that_ends_itself_answers_and_the_next_call_runs() {
    let answer = fails(&function("f", "import os\ndef f():\n    print('last words')\n    os._exit(3)"));
    insta::assert_snapshot!(first_line(&answer), @"the process that ran this call died: exit code 3");
    assert_eq!(answer.output(), "last words\n");
}

#[test]
fn a_segmentation_fault_answers_and_the_next_call_runs() {
    let answer =
        fails(&function("f", "import ctypes\ndef f():\n    print('last words')\n    ctypes.string_at(0)"));
    insta::assert_snapshot!(first_line(&answer), @"the process that ran this call died: signal 11 (SIGSEGV, segmentation fault)");
    assert!(answer.error().contains("f.py\", line 4 in f"), "where it happened: {answer:?}");
    assert!(answer.error().contains("peak memory: "), "{answer:?}");
    assert_eq!(answer.output(), "last words\n");
}

#[test]
fn a_kill_from_outside_answers_and_the_next_call_runs() {
    let answer = fails(&function("f", "import os, signal\ndef f(): os.kill(os.getpid(), signal.SIGKILL)"));
    insta::assert_snapshot!(first_line(&answer), @"the process that ran this call died: signal 9 (SIGKILL, killed, often for using too much memory)");
}

#[test]
fn a_death_is_noticed_although_a_child_lives_on() {
    let code = "\
import os, subprocess
def f():
    child = subprocess.Popen(['sleep', '600'])
    open('child', 'w').write(str(child.pid))
    os._exit(3)";
    let farcall = Farcall::new();
    let answer = farcall.answer(&function("f", code));
    assert!(answer.error().contains("exit code 3"), "{answer:?}");
    let child = std::fs::read_to_string(farcall.directory().join("child")).unwrap();
    // It was sent SIGKILL before the answer; the system may take a moment to carry that out.
    let is_gone = || {
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    };
    assert!(wait_until(is_gone), "child {child} lives on");
}

#[test]
fn state_is_lost_with_the_process_that_held_it() {
    let code = "calls = 0\ndef f(die):\n    global calls\n    calls += 1\n    if die: import os; os._exit(1)\n    return calls";
    let request = |die: bool| function("f", code).args(json!([die]));
    let answers = Farcall::new().answers(&[request(false), request(true), request(false)]);
    assert_eq!(answers[0].value(), json!(1));
    assert_eq!(answers[2].value(), json!(1));
}

#[test]
fn a_forked_child_that_returns_from_the_call_answers_nothing() {
    for (ending, status) in
        [("return 'child'", 0), ("raise ValueError('child')", 1), ("raise SystemExit(3)", 3)]
    {
        let code = format!(
            "import os\ndef f():\n    child = os.fork()\n    if child == 0:\n        print('in the child')\n        {ending}\n    \
             return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])"
        );
        let next = function("g", "def g(x): return x");
        let requests = [function("f", &code), next.clone().args(json!([1])), next.args(json!([2]))];
        let answers = Farcall::new().answers(&requests);
        assert_eq!(answers[0].value(), json!(status), "{ending}");
        assert!(answers[0].output().starts_with("in the child\n"), "{ending}: {answers:?}");
        assert_eq!((answers[1].value(), answers[2].value()), (json!(1), json!(2)), "{ending}");
    }
}

#[test]
fn a_call_that_meddles_with_the_interpreter_is_answered_and_so_is_the_next() {
    for meddling in [
        "import os; os.closerange(3, 4096)",
        "import sys; sys.modules.clear()",
        "import builtins; builtins.compile = builtins.exec = None",
        "import json; json.dumps = json.loads = None",
        "import sys; sys.settrace(lambda *_: 1 / 0); (lambda: 1)()",
        "import sys; sys.setrecursionlimit(50)",
        "import sys; sys.path.clear()",
    ] {
        let answers = Farcall::new().answers(&[
            function("f", &format!("def f():\n    {meddling}\n    return 'done'")),
            function("g", "async def g(x): return x").args(json!(["next"])),
        ]);
        for answer in answers.iter().filter(|answer| !answer.response.success) {
            assert!(!answer.error().is_empty(), "{meddling}: {answers:?}");
        }
    }
}

#[test]
fn a_call_that_changes_the_process_leaves_the_next_one_working() {
    for change in [
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.raise_signal(signal.SIGINT)",
        "import asyncio; asyncio.set_event_loop(None); asyncio.run(asyncio.sleep(0))",
        "import threading; threading.Thread(target=lambda: 1 / 0).start()",
        "import atexit; atexit.register(lambda: 1 / 0)",
        "import os; os.chdir('/'); os.environ.clear()",
        "import os; os.set_blocking(1, False); os.set_blocking(2, False)",
    ] {
        let answers = Farcall::new().answers(&[
            function("f", &format!("def f():\n    {change}\n    return 'done'")),
            function("g", "async def g(x):\n    print('x' * 2_000_000)\n    return x").args(json!(["next"])),
        ]);
        assert_eq!(answers[0].value(), json!("done"), "{change}");
        assert_eq!(answers[1].value(), json!("next"), "{change}");
        assert!(answers[1].output().ends_with(&format!("{}\n", "x".repeat(2_000_000))), "{change}");
    }
}
