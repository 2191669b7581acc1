//! Arguments: cloudpickle and JSON, and what is refused.

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
