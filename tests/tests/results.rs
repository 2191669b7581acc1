//! Results: what can be sent back, by value, and what cannot.

use e2e::{Farcall, Python, Request, function};
use serde_json::{Value, json};

fn error_of(request: &Request) -> String {
    Farcall::new().answer(request).error().to_owned()
}

#[test]
fn a_result_of_none_is_a_pickle_of_none_or_null() {
    let code = "def f(): pass";
    let answer = Farcall::new().answer(&function("f", code).pickled());
    assert_eq!(Python::under_test().unpickle(answer.pickle(), "value"), "None");
    let answer = Farcall::new().answer(&function("f", code));
    assert_eq!(answer.value(), Value::Null);
    assert!(answer.response.result.is_none());
}

#[test]
fn classes_and_functions_of_the_source_are_shipped_by_value() {
    let code = "\
import dataclasses, enum
@dataclasses.dataclass
class Point:
    x: int
    def double(self): return scale(self, 2)
class Colour(enum.Enum):
    RED = 1
def scale(point, by): return Point(point.x * by)
def f(): return [Point(4), scale, Colour.RED]";
    let answer = Farcall::new().answer(&function("f", code).pickled());
    let shown = "[value[0].double().x, value[1](value[0], 3).x, value[2].name]";
    assert_eq!(Python::under_test().unpickle(answer.pickle(), shown), "[8, 12, 'RED']");
}

#[test]
fn an_exception_class_of_the_source_can_be_a_result() {
    let code = "class Oops(Exception): pass\ndef f(): return Oops('told', 3)";
    let answer = Farcall::new().answer(&function("f", code).pickled());
    assert_eq!(Python::under_test().unpickle(answer.pickle(), "repr(value)"), "Oops('told', 3)");
}

#[test]
fn results_that_cannot_be_sent_name_the_member_and_keep_the_output() {
    let code = "import threading\ndef f():\n    print('so far')\n    return {'model': [1, threading.Lock()]}";
    let farcall = Farcall::new();
    let answers = farcall.answers(&[function("f", code).pickled(), function("f", code)]);
    insta::assert_snapshot!(answers[0].error(), @r"
    the result cannot be sent as pickle: `result['model'][1]` (a lock): TypeError: cannot pickle '_thread.lock' object
    hint: return plain data, or objects that can be pickled
    ");
    insta::assert_snapshot!(answers[1].error(), @r#"
    the result cannot be sent as JSON: `result['model'][1]` (a lock): TypeError: Object of type lock is not JSON serializable
    hint: return numbers (no NaN or infinity), strings, lists and dicts, or ask for serialization_format "cloudpickle"
    "#);
    assert_eq!((answers[0].output(), answers[1].output()), ("so far\n", "so far\n"));
}

#[test]
fn numbers_json_does_not_have_are_an_error() {
    for (value, told) in [
        ("{'loss': [0.5, float('nan')]}", "`result['loss'][1]` (a float): ValueError: Out of range float"),
        ("1e308 * 10", "`result` (a float): ValueError: Out of range float"),
        ("{float('inf'): 1}", "`result` (a dict): ValueError: Out of range float"),
    ] {
        let error = error_of(&function("f", &format!("def f(): return {value}")));
        assert!(error.starts_with(&format!("the result cannot be sent as JSON: {told}")), "{error}");
        assert!(error.contains("\nhint: return numbers (no NaN or infinity)"), "{error}");
    }
}

#[test]
fn keys_that_are_no_strings_become_strings_or_an_error() {
    let answer =
        Farcall::new().answer(&function("f", "def f(): return {1: 'a', None: 'b', True: 'c', 1.5: 'd'}"));
    assert_eq!(answer.value(), json!({"1": "c", "null": "b", "1.5": "d"}));
    insta::assert_snapshot!(error_of(&function("f", "def f(): return {'outer': {(1, 2): 'a'}}")), @r#"
    the result cannot be sent as JSON: `result['outer']` (a dict): TypeError: keys must be str, int, float, bool or None, not tuple
    hint: return numbers (no NaN or infinity), strings, lists and dicts, or ask for serialization_format "cloudpickle"
    "#);
}

#[test]
fn json_keeps_every_digit_and_every_character() {
    let code = "def f(x): return [x, 2**70, 0.1 + 0.2, '\\ud800', '\\u2028\\0', (1, 2)]";
    let farcall = Farcall::new();
    let document = function("f", code)
        .to_string()
        .replace("\"execution_type\"", "\"args\":[123456789012345678901234567890],\"execution_type\"");
    farcall.write("request.json", document);
    let finished = farcall.run(["test-handler", "--json", "request.json"]);
    let answer = &finished.answers()[0];
    assert!(answer.response.success, "{answer:?}");
    let json = answer.response.json_result.as_ref().unwrap().get();
    assert_eq!(
        json,
        "[123456789012345678901234567890,1180591620717411303424,0.30000000000000004,\"\\ud800\",\"\\u2028\\u0000\",[1,2]]"
    );
}

#[test]
fn a_result_that_contains_itself_is_an_error_in_json() {
    let code = "def f():\n    x = []\n    x.append(x)\n    return x";
    assert!(error_of(&function("f", code)).contains("Circular reference"));
    let answer = Farcall::new().answer(&function("f", code).pickled());
    assert_eq!(Python::under_test().unpickle(answer.pickle(), "value is value[0]"), "True");
}

#[test]
fn a_result_over_the_limit_is_an_error_that_says_so() {
    let request = function("f", "def f():\n    print('so far')\n    return 'x' * 2_000_000");
    let answer = Farcall::new().with("FARCALL_MAX_RESULT_MB", "1").answer(&request);
    insta::assert_snapshot!(answer.error(), @r"
    the result is 2000002 bytes as sent, over the limit of 1048576
    hint: return less, or write it to storage and return where it is
    ");
    assert_eq!(answer.output(), "so far\n");
}

#[test]
fn megabytes_travel_both_ways() {
    let python = Python::under_test();
    let request =
        function("f", "def f(x): return x + x").pickled().args(json!([python.pickle("b'ab' * 2_000_000")]));
    let answer = Farcall::new().answer(&request);
    let size = answer.pickle().len();
    assert!((10_666_000..10_668_000).contains(&size), "{size}");
}

#[test]
fn without_cloudpickle_plain_data_still_travels() {
    let bare = "/usr/bin/python3";
    if !std::path::Path::new(bare).exists() {
        eprintln!("skipped: no {bare}");
        return;
    }
    let hidden = "import sys\nsys.modules['cloudpickle'] = None\n";
    let plain = function("f", &format!("{hidden}def f(): return [1, {{'a': (2.5, b'')}}]")).pickled();
    let by_value = function("g", &format!("{hidden}class C: pass\ndef g(): return C()")).pickled();
    let answers = Farcall::with_python(bare).answers(&[plain, by_value]);
    assert_eq!(Python::under_test().unpickle(answers[0].pickle(), "value"), "[1, {'a': (2.5, b'')}]");
    insta::assert_snapshot!(answers[1].error(), @r"
    the result needs cloudpickle to be sent, which does not import: ModuleNotFoundError: import of cloudpickle halted; None in sys.modules
    hint: install cloudpickle into the worker's Python, or add it to `dependencies`
    ");
}
