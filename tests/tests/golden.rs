//! The golden requests, sent to the worker; its answers have the shape of the golden responses.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::fs;

use e2e::{Answer, Farcall, Python, repository};
use serde_json::{Value, json};

fn golden(path: &str) -> Value {
    let path = repository().join("tests/golden").join(path);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Runs a golden request, without the installs it asks for, which are no matter of the wire.
fn answer(name: &str, modules: &Value) -> Answer {
    let mut document = golden(&format!("requests/{name}.json"));
    let request = if document["input"].is_object() { &mut document["input"] } else { &mut document };
    request["dependencies"] = Value::Null;
    if !modules.is_null() {
        request["modules"] = modules.clone();
    }
    let farcall = Farcall::new();
    farcall.write("request.json", document);
    farcall.run(["test-handler", "--json", "request.json"]).answers().remove(0)
}

/// The answer as JSON, with the values replaced that differ from call to call.
fn shape(answer: &Answer, response: &str) -> (Value, Value) {
    let mut actual = serde_json::to_value(&answer.response).unwrap();
    let expected = golden(&format!("responses/{response}.json"));
    for time in ["created_at", "last_used"] {
        if actual["instance_info"].is_object() {
            assert_eq!(
                actual["instance_info"][time].as_str().unwrap().len(),
                expected["instance_info"][time].as_str().unwrap().len()
            );
            actual["instance_info"][time] = expected["instance_info"][time].clone();
        }
    }
    (actual, expected)
}

#[test]
fn a_flash_function_call_is_answered() {
    let answer = answer("flash_function", &Value::Null);
    assert_eq!(Python::under_test().unpickle(answer.pickle(), "value"), "9");
}

#[test]
fn a_flash_class_call_is_answered() {
    let (actual, expected) = shape(&answer("flash_class", &Value::Null), "class_result");
    assert_eq!(actual, expected);
}

#[test]
fn a_runpod_2_call_is_answered() {
    // What the package does on a worker, as far as the golden source needs it.
    let runpod = "\
class Handle:
    def __init__(self, fn): self._fn = fn
class App:
    def __init__(self, name): self.name = name
    def queue(self, **options): return Handle";
    let (actual, expected) = shape(&answer("runpod2_queue", &json!({"runpod.py": runpod})), "json_result");
    assert_eq!(actual, expected);
}

#[test]
fn a_stacked_call_is_answered() {
    let answer = answer("stacked_call", &Value::Null);
    assert_eq!(Python::under_test().unpickle(answer.pickle(), "value"), "5");
}

#[test]
fn a_call_of_nothing_but_defaults_is_answered() {
    let (actual, expected) = shape(&answer("all_defaults", &Value::Null), "none_result");
    assert_eq!(actual, expected);
}
