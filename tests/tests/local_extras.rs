//! What the `farcall` field of a request adds: failures described, streams in any format, arguments of the source's
//! own classes. And a worker that ends when nobody needs it.

use e2e::LocalEndpoint;
use e2e::function;
use serde_json::{Value, json};

const EXTRAS: &str = "farcall";

#[test]
fn a_failure_is_described_to_those_who_ask() {
    let code = "\
class OutOfBounds(ValueError):
    def __init__(self, index, size):
        super().__init__(f'{index} of {size}')
        self.index = index

def f():
    raise OutOfBounds(7, 5)";
    let endpoint = LocalEndpoint::start();
    let plain = endpoint.runsync(&function("f", code));
    assert_eq!(plain["output"].get("failure"), None, "{plain}");

    let described = endpoint.runsync(&function("f", code).with(EXTRAS, json!({"failure": true})));
    let failure = &described["output"]["failure"];
    assert_eq!(failure["kind"], json!("raised"), "{described}");
    let exception = &failure["exception"];
    assert_eq!(exception["types"][0][1], json!("OutOfBounds"));
    assert_eq!(exception["types"][1], json!(["builtins", "ValueError"]));
    assert_eq!(exception["text"], json!("7 of 5"));
    assert_eq!(exception["pickle"], Value::Null, "its constructor takes other arguments");
    assert!(exception["parts"].is_string());
    assert_eq!(exception["frames"][0][1], json!(7));
    assert_eq!(exception["frames"][0][3], json!("raise OutOfBounds(7, 5)"));
}

#[test]
fn each_end_is_described_by_its_kind() {
    let endpoint = LocalEndpoint::start();
    let kind = |code: &str, extra: (&str, Value)| {
        let request = function("f", code).with(EXTRAS, json!({"failure": true})).with(extra.0, extra.1);
        endpoint.runsync(&request)["output"]["failure"].clone()
    };
    let nothing = || ("timeout", Value::Null);
    let died = kind("import ctypes\ndef f(): ctypes.string_at(0)", nothing());
    assert_eq!((&died["kind"], &died["signal"]), (&json!("died"), &json!(11)));
    let exited = kind("import os\ndef f(): os._exit(3)", nothing());
    assert_eq!((&exited["kind"], &exited["exit_code"]), (&json!("died"), &json!(3)));
    assert_eq!(kind("def g(): ...", nothing()), json!({"kind": "rejected"}));
    let unsendable = function("f", "def f(): return (i for i in [open('/dev/null')]).gi_frame").pickled();
    let unsendable = endpoint.runsync(&unsendable.with(EXTRAS, json!({"failure": true})));
    assert_eq!(unsendable["output"]["failure"], json!({"kind": "unserializable"}));
    let late = kind("import time\ndef f(): time.sleep(60)", ("timeout", json!(0.2)));
    assert_eq!(late, json!({"kind": "timed_out", "timeout_s": 0.2}));
}

#[test]
fn a_stream_of_pickles_goes_out_piece_by_piece_and_says_why_it_ends() {
    let code = "def f():\n    yield 1\n    yield 2\n    raise ValueError('enough')";
    let request = function("f", code).pickled().with(EXTRAS, json!({"failure": true, "stream": true}));
    let document = LocalEndpoint::start().runsync(&request);
    assert_eq!(document["status"], json!("FAILED"));
    let envelopes = document["output"].as_array().unwrap();
    assert_eq!(envelopes.len(), 3, "{document}");
    assert!(envelopes[..2].iter().all(|envelope| envelope["result"].is_string()));
    assert_eq!(envelopes[2]["failure"]["exception"]["text"], json!("enough"));
}

#[test]
fn an_argument_may_be_of_a_class_that_the_source_defines() {
    let code = "class Point:\n    pass\ndef f(cls): return cls is Point";
    // A pickle of `getattr(importlib.import_module("__farcall_source__"), "Point")`.
    let pickle = "\
import base64, importlib, pickle
class Module:
    def __reduce__(self): return importlib.import_module, ('__farcall_source__',)
class Class:
    def __reduce__(self): return getattr, (Module(), 'Point')
def f(): return base64.b64encode(pickle.dumps(Class())).decode()";
    let endpoint = LocalEndpoint::start();
    let encoded = endpoint.runsync(&function("f", pickle))["output"]["json_result"].clone();
    let request = function("f", code).pickled().args(json!([encoded]));
    let document = endpoint.runsync(&request);
    // A pickle of `True`.
    assert_eq!(document["output"]["result"], json!("gAWILg=="), "{document}");
}

#[test]
fn a_worker_ends_when_nobody_needs_it() {
    let mut endpoint = LocalEndpoint::options().with("FARCALL_IDLE_EXIT_S", "1").start();
    let request = function("f", "import time\ndef f(): time.sleep(1.5); return 7");
    assert_eq!(endpoint.runsync(&request)["output"]["json_result"], json!(7), "work keeps it");
    assert!(endpoint.wait().success());
}

#[test]
fn a_job_whose_files_are_not_there_is_refused_when_it_is_submitted() {
    let code = "import helper\ndef f(): return helper.x";
    let request = |brings| function("f", code).modules_by_content(&[("helper.py", "x = 1")], brings);
    let body = |brings| json!({"input": request(brings).input()}).to_string();
    let endpoint = LocalEndpoint::start();
    let refused = endpoint.ask("POST", "run", &body(false));
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text().contains("hint: send them again, in `modules`"), "{refused:?}");
    assert_eq!(endpoint.runsync(&request(true))["output"]["json_result"], json!(1));
    assert_eq!(endpoint.runsync(&request(false))["output"]["json_result"], json!(1));
}
