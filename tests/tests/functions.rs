//! Functions: how they are called and what comes back.

use e2e::{Farcall, function};
use serde_json::json;

#[test]
fn a_function_is_called_with_its_arguments() {
    let request = function("add", "def add(x, y=2, *, z):\n    return [x, y, z]")
        .args(json!([1]))
        .with("kwargs", json!({"z": {"deep": [None::<u8>, true]}}));
    assert_eq!(Farcall::new().answer(&request).value(), json!([1, 2, {"deep": [null, true]}]));
}

#[test]
fn a_wrapped_request_answers_like_a_bare_one() {
    let request = function("f", "def f(): return 7");
    let answers = Farcall::new().answers(&[request.clone(), request.wrapped()]);
    assert_eq!(answers[0].value(), json!(7));
    assert_eq!(answers[1].value(), json!(7));
}

#[test]
fn fields_nobody_knows_are_ignored() {
    let request = function("f", "def f(): return 7").with("from_the_future", json!({"a": [1]}));
    assert_eq!(Farcall::new().answer(&request).value(), json!(7));
}

#[test]
fn an_async_function_is_awaited() {
    let code = "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1";
    assert_eq!(Farcall::new().answer(&function("f", code).args(json!([1]))).value(), json!(2));
}

#[test]
fn tasks_of_an_async_function_go_on_in_the_next_call() {
    let code = "\
import asyncio
started = []
async def background():
    started.append('background')
async def f():
    if not started:
        started.append('first')
        asyncio.ensure_future(background())
        return started
    await asyncio.sleep(0)
    return started";
    let request = function("f", code);
    let answers = Farcall::new().answers([&request, &request]);
    assert_eq!(answers[1].value(), json!(["first", "background"]));
}

#[test]
fn a_function_that_returns_an_awaitable_is_awaited() {
    let code = "\
class Promise:
    def __await__(self):
        yield from ()
        return 'kept'
def f(): return Promise()";
    assert_eq!(Farcall::new().answer(&function("f", code)).value(), json!("kept"));
}

#[test]
fn a_generator_is_collected() {
    let code = "def f(n):\n    for i in range(n):\n        yield i";
    assert_eq!(Farcall::new().answer(&function("f", code).args(json!([3]))).value(), json!([0, 1, 2]));
}

#[test]
fn an_async_generator_is_collected_in_one_task() {
    let code = "\
import asyncio
async def f():
    first = asyncio.current_task()
    yield 1
    await asyncio.sleep(0)
    yield asyncio.current_task() is first";
    assert_eq!(Farcall::new().answer(&function("f", code)).value(), json!([1, true]));
}

#[test]
fn an_exception_in_a_generator_is_the_calls() {
    let code = "def f():\n    yield 1\n    raise ValueError('half way')";
    let answer = Farcall::new().answer(&function("f", code));
    assert!(answer.error().contains("ValueError: half way"), "{answer:?}");
}

#[test]
fn an_object_that_merely_has_a_generators_methods_is_no_generator() {
    let code = "\
class Channel(dict):
    def send(self, value): raise AssertionError('sent')
    def throw(self, *error): pass
    def close(self): pass
    def __iter__(self): return iter(['a'])
    def __next__(self): raise StopIteration
def f(): return Channel(a=1)";
    assert_eq!(Farcall::new().answer(&function("f", code)).value(), json!({"a": 1}));
}

#[test]
fn iterators_that_are_no_generators_are_results_like_others() {
    let answer = Farcall::new().answer(&function("f", "def f(): return map(str, [1])"));
    assert!(answer.error().contains("`result` (a map)"), "{answer:?}");
}

#[test]
fn a_whole_module_runs_with_its_decorators() {
    let code = "\
import functools
class Handle:
    def __init__(self, fn): self._fn = fn
    def __call__(self, *args): raise RuntimeError('remote call from the worker')
def remote(**options):
    return lambda fn: Handle(fn)
def twice(fn):
    @functools.wraps(fn)
    def call(*args): return 2 * fn(*args)
    return call

@remote(gpu='any')
@twice
def work(x):
    return helper(x)

def helper(x):
    return x + 1";
    assert_eq!(Farcall::new().answer(&function("work", code).args(json!([1]))).value(), json!(4));
}

#[test]
fn a_main_guard_stays_inert() {
    let code = "ran = False\ndef f(): return ran\nif __name__ == '__main__':\n    ran = True";
    assert_eq!(Farcall::new().answer(&function("f", code)).value(), json!(false));
}

#[test]
fn inspect_finds_the_source_of_functions_and_classes() {
    let code = "\
import inspect
class Model:
    size = 3
def f():
    return [inspect.getsource(Model), inspect.getsource(f).splitlines()[0]]";
    let value = Farcall::new().answer(&function("f", code)).value();
    assert_eq!(value, json!(["class Model:\n    size = 3\n", "def f():"]));
}

#[test]
fn the_module_level_runs_once_for_each_source() {
    let code = "print('loading')\ncalls = 0\ndef f():\n    global calls\n    calls += 1\n    return calls";
    let changed = function("f", &format!("{code} * 10"));
    let request = function("f", code);
    let answers = Farcall::new().answers([&request, &request, &changed, &request]);
    let values: Vec<_> = answers.iter().map(|answer| (answer.value(), answer.output())).collect();
    assert_eq!(values, [(json!(1), "loading\n"), (json!(2), ""), (json!(10), "loading\n"), (json!(3), "")]);
}

#[test]
fn a_fresh_namespace_for_each_call_can_be_asked_for() {
    let code = "calls = 0\ndef f():\n    global calls\n    calls += 1\n    return calls";
    let request = function("f", code);
    let answers = Farcall::new().with("FARCALL_FRESH_NAMESPACE", "1").answers([&request, &request]);
    assert_eq!(answers[1].value(), json!(1));
}

#[test]
fn a_source_that_failed_is_tried_again() {
    let code = "import os\nif not os.path.exists('there'):\n    open('there', 'w').close()\n    raise OSError('not yet')\ndef f(): return 1";
    let request = function("f", code);
    let answers = Farcall::new().answers([&request, &request]);
    assert!(answers[0].error().contains("OSError: not yet"), "{answers:?}");
    assert_eq!(answers[1].value(), json!(1));
}

#[test]
fn names_may_be_any_python_identifier() {
    let request = function("größe_λ", "def größe_λ(żółw): return żółw").with("kwargs", json!({"żółw": "🐢"}));
    assert_eq!(Farcall::new().answer(&request).value(), json!("🐢"));
}

#[test]
fn a_function_can_start_threads_and_processes() {
    let code = "\
import concurrent.futures, os, subprocess, sys, threading
def f():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(1))
    thread.start(); thread.join()
    child = os.fork()
    if child == 0:
        os._exit(5)
    _, status = os.waitpid(child, 0)
    return [seen, os.waitstatus_to_exitcode(status),
            subprocess.run([sys.executable, '-c', 'print(6)'], capture_output=True, text=True).stdout]";
    assert_eq!(Farcall::new().answer(&function("f", code)).value(), json!([[1], 5, "6\n"]));
}

#[test]
fn spawned_processes_can_run_functions_of_the_source() {
    let code = "\
import multiprocessing

def double(x): return x * 2

def f(xs):
    with multiprocessing.get_context('spawn').Pool(2) as pool:
        return pool.map(double, xs)";
    let answer = Farcall::new().answer(&function("f", code).args(json!([[1, 2, 3]])));
    assert_eq!(answer.value(), json!([2, 4, 6]), "{answer:?}");
}
