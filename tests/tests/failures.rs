//! Failures: each becomes an answer with its text in `error`, and the next call runs.

use e2e::{Answer, Farcall, Python, Request, function};
use serde_json::json;

/// Runs a function that fails, then one that does not.
fn fails(request: &Request) -> Answer {
    let mut answers = Farcall::new().answers([request, &function("f", "def f(): return 'next'")]);
    assert_eq!(answers[1].value(), json!("next"), "the next call runs");
    answers.remove(0)
}

fn error_of(code: &str) -> String {
    without_paths(fails(&function("f", code)).error())
}

/// Without what differs from machine to machine: directories, and the marks newer Pythons put below a line.
fn without_paths(text: &str) -> String {
    let is_mark = |line: &&str| !line.is_empty() && line.chars().all(|mark| " ^~".contains(mark));
    let lines: Vec<_> = text.lines().filter(|line| !is_mark(line)).collect();
    let text = lines.join("\n");
    let name = |part: &str| match part.rsplit_once('/') {
        Some((_, name)) if part.starts_with('/') => name.to_owned(),
        _ => part.to_owned(),
    };
    text.split('"').map(name).collect::<Vec<_>>().join("\"")
}

#[test]
fn an_exception_comes_with_the_users_frames_and_source_lines() {
    let code = "\
def f():
    return inner(0)

def inner(x):
    return 1 / x";
    insta::assert_snapshot!(error_of(code), @r#"
    Traceback (most recent call last):
      File "f.py", line 2, in f
        return inner(0)
      File "f.py", line 5, in inner
        return 1 / x
    ZeroDivisionError: division by zero
    "#);
}

#[test]
fn one_x_clients_get_the_message_in_front_of_the_traceback() {
    let request = function("f", "def f(): raise ValueError('bad input')").pickled();
    let error = fails(&request).error().to_owned();
    assert!(error.starts_with("bad input\nTraceback (most recent call last):\n"), "{error}");
    assert!(error.ends_with("\nValueError: bad input"), "{error}");
}

#[test]
fn causes_and_contexts_are_told() {
    let code = "\
class ModelError(Exception): pass
def f():
    try:
        {}['weights']
    except KeyError as error:
        raise ModelError('no model') from error";
    insta::assert_snapshot!(error_of(code), @r#"
    Traceback (most recent call last):
      File "f.py", line 4, in f
        {}['weights']
    KeyError: 'weights'

    The above exception was the direct cause of the following exception:

    Traceback (most recent call last):
      File "f.py", line 6, in f
        raise ModelError('no model') from error
    ModelError: no model
    "#);
}

#[test]
fn notes_are_told() {
    // `__notes__` is set by hand: `add_note` came with 3.11.
    let code = "\
import sys
def f():
    error = ValueError('v')
    error.__notes__ = ['while loading weights']
    raise error";
    let error = error_of(code);
    let has_notes = Python::under_test().run("import sys\nprint(sys.version_info >= (3, 11))") == "True\n";
    assert_eq!(error.contains("\nwhile loading weights"), has_notes, "{error}");
}

#[test]
fn exception_groups_are_told_member_by_member() {
    if Python::under_test().run("print('ExceptionGroup' in dir(__builtins__))") == "False\n" {
        eprintln!("skipped: this Python has no exception groups");
        return;
    }
    let error = error_of("def f(): raise ExceptionGroup('both', [ValueError('one'), KeyError('two')])");
    for part in ["ExceptionGroup: both (2 sub-exceptions)", "ValueError: one", "KeyError: 'two'"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_async_functions_traceback_begins_with_the_users_code() {
    let code = "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    raise ValueError('later')";
    insta::assert_snapshot!(error_of(code), @r#"
    Traceback (most recent call last):
      File "f.py", line 4, in f
        raise ValueError('later')
    ValueError: later
    "#);
}

#[test]
fn a_syntax_error_shows_the_line() {
    insta::assert_snapshot!(error_of("def f(:\n    pass"), @r#"
      File "f.py", line 1
        def f(:
    SyntaxError: invalid syntax
    "#);
}

#[test]
fn an_exception_at_module_level_is_the_calls() {
    insta::assert_snapshot!(error_of("import no_such_package\ndef f(): pass"), @r#"
    Traceback (most recent call last):
      File "f.py", line 1, in <module>
        import no_such_package
    ModuleNotFoundError: No module named 'no_such_package'
    hint: `no_such_package` is not installed; dependencies=["no-such-package"] installs it
    "#);
}

#[test]
fn a_missing_function_is_answered_with_those_that_exist() {
    insta::assert_snapshot!(error_of("def g(): pass\ndef _private(): pass\nx = 1"), @r"
    function `f` not found in the code
    hint: it has: g
    ");
    insta::assert_snapshot!(error_of("x = 1"), @r"
    function `f` not found in the code
    hint: the code defines none
    ");
    insta::assert_snapshot!(error_of("f = 1"), @"`f` in the code is of type `int`, not a function");
}

#[test]
fn a_function_request_says_what_it_lacks() {
    let request = || function("f", "def f(): pass");
    insta::assert_snapshot!(fails(&request().without("function_name")).error(), @r#"function_name is required when execution_type is "function""#);
    insta::assert_snapshot!(fails(&request().without("function_code")).error(), @r#"function_code is required when execution_type is "function""#);
    insta::assert_snapshot!(fails(&request().with("function_code", "")).error(), @r#"function_code is required when execution_type is "function""#);
    insta::assert_snapshot!(fails(&request().with("args", 3)).error(), @"invalid request: `args`: invalid type: integer `3`, expected a sequence at line 1 column 119");
    insta::assert_snapshot!(fails(&request().with("serialization_format", "yaml")).error(), @r#"
    serialization_format `yaml` is not supported
    hint: use "cloudpickle" or "json"
    "#);
}

#[test]
fn wrong_arguments_are_the_calls_own_error() {
    insta::assert_snapshot!(without_paths(fails(&function("f", "def f(): pass").args(json!([1]))).error()), @"TypeError: f() takes 0 positional arguments but 1 was given");
}

#[test]
fn base_exceptions_end_the_call_and_not_the_worker() {
    for (raising, told) in [
        ("raise SystemExit('done')", "SystemExit: done"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("exit()", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise BaseException('bottom')", "BaseException: bottom"),
    ] {
        let error = error_of(&format!("def f():\n    {raising}"));
        assert!(error.contains(told), "{raising}: {error}");
        let error = error_of(&format!("async def f():\n    {raising}"));
        assert!(error.contains(told), "async, {raising}: {error}");
    }
}

#[test]
fn sys_exit_is_explained_to_one_x_clients() {
    let request = function("f", "import sys\ndef f(): sys.exit(3)").pickled();
    let error = fails(&request).error().to_owned();
    assert!(
        error.starts_with("the code called sys.exit(3), which ends the call, not the worker\n"),
        "{error}"
    );
}

#[test]
fn an_exception_that_cannot_be_printed_is_named() {
    let code = "\
class Broken(Exception):
    def __str__(self): raise RuntimeError('in __str__')
    __repr__ = __str__
def f(): raise Broken()";
    let error = error_of(code);
    assert!(error.contains("Broken") && error.contains("line 4, in f"), "{error}");
    let request = function("f", code).pickled();
    assert!(fails(&request).error().starts_with("Broken (its __str__ failed)\n"));
}

#[test]
fn endless_recursion_is_told_in_a_readable_length() {
    let error = error_of("def f(): return f()");
    assert!(error.contains("RecursionError: maximum recursion depth exceeded"), "{error}");
    assert!(error.len() < 10_000, "{} bytes", error.len());
}

#[test]
fn a_huge_message_is_cut_in_the_middle() {
    let error = error_of("def f(): raise ValueError('a' * 3_000_000 + 'end')");
    assert!(
        error.len() < 300_000 && error.contains("bytes left out") && error.ends_with("aend"),
        "{}",
        error.len()
    );
}

#[test]
fn an_error_text_of_lone_surrogates_arrives() {
    let error = error_of("def f(): raise ValueError('\\udc80 \\x00 \u{1f422}')");
    assert!(error.contains("ValueError: ") && error.ends_with('\u{1f422}'), "{error}");
}

#[test]
fn output_before_the_exception_is_kept() {
    let answer = fails(&function("f", "def f():\n    print('so far')\n    raise ValueError"));
    assert_eq!(answer.output(), "so far\n");
}

#[test]
fn a_document_that_is_no_request_is_answered() {
    let farcall = Farcall::new();
    for (document, told) in [
        ("", "request is not valid JSON"),
        ("{\"function_name\": ", "request is not valid JSON"),
        ("[]", "a JSON object"),
        ("{\"input\": null}", "function_name is required"),
        ("{\"function_name\": 3}", "`function_name`"),
        ("{\"function_name\":\"f\",\"function_code\":\"def f(): pass\",\"args\":[1e999999]}", "argument 0"),
    ] {
        farcall.write("request.json", document);
        let finished = farcall.run(["test-handler", "--json", "request.json"]);
        let answer = &finished.answers()[0];
        assert!(answer.error().contains(told), "{document}: {answer:?}");
        assert_eq!(finished.code, 1, "{document}");
    }
}
