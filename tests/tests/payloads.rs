//! Arguments and results: cloudpickle and JSON, what fits and what does not.

use e2e::{Farcall, Python, Request, function, installed};
use serde_json::{Value, json};

fn error_of(request: &Request) -> String {
    Farcall::new().answer(request).error().to_owned()
}

#[test]
fn pickled_arguments_and_results_travel() {
    let python = Python::under_test();
    let request = function("f", "def f(x, *, y): return {'x': x, 'y': y}")
        .pickled()
        .args(json!([python.pickle("{(1, 2): {3}, 'b': b'\\0', 'c': 1j}")]))
        .with("kwargs", json!({"y": python.pickle("__import__('datetime').date(2026, 1, 2)")}));
    let answer = Farcall::new().answer(&request);
    assert_eq!(
        python.unpickle(answer.pickle(), "value"),
        "{'x': {(1, 2): {3}, 'b': b'\\x00', 'c': 1j}, 'y': datetime.date(2026, 1, 2)}"
    );
    assert!(answer.response.json_result.is_none());
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
fn a_lambda_of_the_same_python_can_be_an_argument() {
    let request =
        function("f", "def f(function): return function(20)")
            .pickled()
            .args(json!([Python::under_test()
                .pickle_after("offset = 1", "lambda x: sum(x + offset for _ in range(2))")]));
    let answer = Farcall::new().answer(&request);
    assert_eq!(Python::under_test().unpickle(answer.pickle(), "value"), "42");
}

#[test]
fn an_object_of_the_clients_own_class_can_be_an_argument_and_a_result() {
    let python = Python::under_test();
    let statements =
        "class Point:\n    def __init__(self, x): self.x = x\n    def double(self): return Point(self.x * 2)";
    let request = function("f", "def f(point): return point.double()")
        .pickled()
        .args(json!([python.pickle_after(statements, "Point(4)")]));
    assert_eq!(python.unpickle(Farcall::new().answer(&request).pickle(), "value.x"), "8");
}

/// Each with its result for 5: without, with and with nested inline caches, cells, exception tables.
const FUNCTIONS: [(&str, &str, &str); 10] = [
    ("def f(x):\n    while x: x -= 1\n    return x", "f", "0"),
    (
        "def f(x):\n    def g():\n        yield x\n        yield from (1, x)\n    return list(g())",
        "f",
        "[5, 1, 5]",
    ),
    ("", "lambda x: x", "5"),
    ("", "lambda x: 7", "7"),
    ("", "lambda x: x + 1", "6"),
    ("", "lambda x: [str(i) for i in range(x) if i % 2]", "['1', '3']"),
    ("import math", "lambda x: math.gcd(x, 10) > 2", "True"),
    (
        "def f(x):\n    try:\n        return {}[x]\n    except KeyError as error:\n        return error.args",
        "f",
        "(5,)",
    ),
    (
        "def f(x):\n    with open('/dev/null') as file:\n        return f'{file.name}{x:>3}'",
        "f",
        "/dev/null  5",
    ),
    (
        "def make(n):\n    def f(x):\n        def g(*a, **k): return sum(a) + n\n        return g(*[x], y=1)\n    return f",
        "make(3)",
        "8",
    ),
];

#[test]
fn code_of_another_python_is_refused_or_right_and_never_a_crash() {
    let pythons: Vec<_> = installed().into_iter().filter(e2e::Installed::is_supported).collect();
    let minors: std::collections::BTreeSet<_> = pythons.iter().map(|python| python.version).collect();
    let one_each: Vec<_> =
        minors.iter().map(|minor| pythons.iter().find(|python| python.version == *minor).unwrap()).collect();
    eprintln!("between {minors:?}");
    let mut refused = 0;
    for from in &one_each {
        let client = Python::borrowing(&from.path);
        let pickles = FUNCTIONS.map(|(statements, name, _)| client.pickle_after(statements, name));
        for to in &one_each {
            let requests = pickles.clone().map(|pickle| {
                function("f", "def f(function): return str(function(5))").pickled().args(json!([pickle]))
            });
            let worker = Farcall::with_python(&to.path).with("PYTHONPATH", client.python_path());
            for (answer, (_, name, expected)) in worker.answers(&requests).iter().zip(FUNCTIONS) {
                let context = format!("{name} from {:?} to {:?}: {answer:?}", from.version, to.version);
                if answer.response.success {
                    assert_eq!(client.unpickle(answer.pickle(), "value"), expected, "{context}");
                    continue;
                }
                refused += 1;
                assert_ne!(from.version, to.version, "{context}");
                assert!(
                    answer.error().contains("it holds code compiled by another Python version"),
                    "{context}"
                );
                assert!(answer.error().contains("hint: this worker runs Python 3."), "{context}");
            }
        }
    }
    assert!(one_each.len() < 2 || refused > 0, "some code differs between any two versions");
}

#[test]
fn arguments_that_are_no_pickles_are_refused_by_name() {
    let call = |payload: Value| {
        error_of(&function("f", "def f(*a, **k): pass").pickled().args(json!(["gAVLAS4=", payload])))
    };
    insta::assert_snapshot!(call(json!("not base64!")), @r#"
    argument 1 is not a base64 string
    hint: with serialization_format "cloudpickle", arguments are base64 of a cloudpickle each
    "#);
    insta::assert_snapshot!(call(json!(7)), @r#"
    argument 1 is not a base64 string
    hint: with serialization_format "cloudpickle", arguments are base64 of a cloudpickle each
    "#);
    insta::assert_snapshot!(call(json!("")), @"argument 1 could not be unpickled: EOFError: Ran out of input");
    insta::assert_snapshot!(call(json!("bm90IGEgcGlja2xl")), @"argument 1 could not be unpickled: UnpicklingError: invalid load key, 'n'.");
    let keyword = function("f", "def f(**k): pass").pickled().with("kwargs", json!({"x": "gAVLAS"}));
    insta::assert_snapshot!(error_of(&keyword), @r#"
    argument `x` is not a base64 string
    hint: with serialization_format "cloudpickle", arguments are base64 of a cloudpickle each
    "#);
    let constructor =
        e2e::class("C", "class C: pass", "run").pickled().with("constructor_args", json!(["!"]));
    insta::assert_snapshot!(error_of(&constructor), @r#"
    constructor argument 0 is not a base64 string
    hint: with serialization_format "cloudpickle", arguments are base64 of a cloudpickle each
    "#);
}

#[test]
fn base64_with_line_breaks_is_read() {
    let request = function("f", "def f(x): return x").pickled().args(json!(["gAVL\nAS4=\r\n"]));
    assert_eq!(Python::under_test().unpickle(Farcall::new().answer(&request).pickle(), "value"), "1");
}

#[test]
fn an_argument_that_needs_a_missing_package_says_which() {
    let statements = "import sys, types\nmodule = types.ModuleType('lost_package')\nclass Thing: pass\nThing.__module__ = 'lost_package'\nmodule.Thing = Thing\nsys.modules['lost_package'] = module";
    let pickle = Python::under_test().pickle_after(statements, "Thing()");
    insta::assert_snapshot!(error_of(&function("f", "def f(x): pass").pickled().args(json!([pickle]))), @r"
    argument 0 could not be unpickled: ModuleNotFoundError: No module named 'lost_package'
    hint: the argument needs the module `lost_package` on the worker; add its package to `dependencies`
    ");
}

#[test]
fn an_argument_whose_unpickling_raises_is_the_requests_fault() {
    let pickle = Python::under_test()
        .pickle_after("class Trap:\n    def __reduce__(self): return (int, ('trap',))", "Trap()");
    insta::assert_snapshot!(error_of(&function("f", "def f(x): pass").pickled().args(json!([pickle]))), @"argument 0 could not be unpickled: ValueError: invalid literal for int() with base 10: 'trap'");
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
    insta::assert_snapshot!(error_of(&function("f", "def f(): return {'loss': [0.5, float('nan')]}")), @r#"
    the result cannot be sent as JSON: `result['loss'][1]` (a float): ValueError: Out of range float values are not JSON compliant
    hint: return numbers (no NaN or infinity), strings, lists and dicts, or ask for serialization_format "cloudpickle"
    "#);
    insta::assert_snapshot!(error_of(&function("f", "def f(): return 1e308 * 10")), @r#"
    the result cannot be sent as JSON: `result` (a float): ValueError: Out of range float values are not JSON compliant
    hint: return numbers (no NaN or infinity), strings, lists and dicts, or ask for serialization_format "cloudpickle"
    "#);
    insta::assert_snapshot!(error_of(&function("f", "def f(): return {float('inf'): 1}")), @r#"
    the result cannot be sent as JSON: `result` (a dict): ValueError: Out of range float values are not JSON compliant
    hint: return numbers (no NaN or infinity), strings, lists and dicts, or ask for serialization_format "cloudpickle"
    "#);
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
fn deeply_nested_json_is_an_error_not_a_crash() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let farcall = Farcall::new();
    let argument = function("f", "def f(x): return 1")
        .to_string()
        .replace("\"execution_type\"", &format!("\"args\":[{nested}],\"execution_type\""));
    farcall.write("requests/0.json", argument);
    farcall.write(
        "requests/1.json",
        function("f", "def f():\n    x = []\n    for _ in range(100_000): x = [x]\n    return x"),
    );
    farcall.write(
        "requests/2.json",
        function("f", "def f():\n    x = []\n    for _ in range(100_000): x = [x]\n    return x").pickled(),
    );
    farcall.write("requests/3.json", function("f", "def f(): return 'next'"));
    let answers = farcall.run(["test-handler", "--json", "requests"]).answers();
    for (answer, told) in answers.iter().zip(["recursion", "recursion", "recursion"]) {
        assert!(answer.error().to_lowercase().contains(told), "{answer:?}");
    }
    assert_eq!(answers[3].value(), json!("next"));
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
