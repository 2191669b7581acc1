//! Classes: instances that live between calls.

use e2e::{Farcall, Python, class};
use serde_json::{Value, json};

const COUNTER: &str = "\
class Counter:
    def __init__(self, start=0, *, step=1):
        print('made', start, step)
        self.value, self.step = start, step

    def add(self, times=1):
        self.value += times * self.step
        return self.value

    def __call__(self):
        return self.value

    async def later(self):
        import asyncio
        await asyncio.sleep(0)
        return self.add()

    def each(self):
        yield from range(self.value)

    label = 'a counter'";

fn counter(method: &str) -> e2e::Request {
    class("Counter", COUNTER, method)
}

#[test]
fn an_instance_is_made_with_its_constructor_arguments() {
    let request =
        counter("add").with("constructor_args", json!([10])).with("constructor_kwargs", json!({"step": 5}));
    let answer = Farcall::new().answer(&request.args(json!([2])));
    assert_eq!((answer.value(), answer.output()), (json!(20), "made 10 5\n"));
}

#[test]
fn an_unknown_instance_is_made_and_a_known_one_used_again() {
    let answers = Farcall::new().answers([&counter("add"), &counter("add"), &counter("__call__")]);
    let values: Vec<_> = answers.iter().map(|answer| (answer.value(), answer.output())).collect();
    assert_eq!(values, [(json!(1), "made 0 1\n"), (json!(2), ""), (json!(2), "")]);
}

#[test]
fn every_kind_of_method_can_be_called() {
    let calls = [&counter("add"), &counter("later"), &counter("each"), &counter("__call__")];
    let values: Vec<_> = Farcall::new().answers(calls).iter().map(e2e::Answer::value).collect();
    assert_eq!(values, [json!(1), json!(2), json!([0, 1]), json!(2)]);
}

#[test]
fn call_is_the_method_where_none_is_named() {
    assert_eq!(Farcall::new().answer(&counter("x").without("method_name")).value(), json!(0));
}

#[test]
fn a_new_instance_replaces_a_known_one_where_it_is_asked_for() {
    let anew = counter("add").with("create_new_instance", true);
    let answers = Farcall::new().answers([&counter("add"), &anew, &counter("add")]);
    let values: Vec<_> = answers.iter().map(e2e::Answer::value).collect();
    assert_eq!(values, [json!(1), json!(1), json!(2)]);
}

#[test]
fn ids_keep_instances_apart() {
    let other = counter("add").with("instance_id", "other");
    let answers = Farcall::new().answers([&counter("add"), &other, &counter("add")]);
    let values: Vec<_> = answers.iter().map(e2e::Answer::value).collect();
    assert_eq!(values, [json!(1), json!(1), json!(2)]);
}

#[test]
fn without_an_id_each_call_gets_an_instance_of_its_own() {
    let request = counter("add").without("instance_id");
    let answers = Farcall::new().answers([&request, &request]);
    assert_eq!((answers[0].value(), answers[1].value()), (json!(1), json!(1)));
    let id = |index: usize| answers[index].response.instance_id.clone().unwrap();
    assert_ne!(id(0), id(1));
    let suffix = id(0).strip_prefix("Counter_").unwrap().to_owned();
    assert!(suffix.len() == 8 && suffix.chars().all(|digit| digit.is_ascii_hexdigit()), "{suffix}");
}

#[test]
fn an_instance_is_rebuilt_when_its_source_changes() {
    let changed = class("Counter", &COUNTER.replace("a counter", "another"), "add");
    let answers = Farcall::new().answers([&counter("add"), &changed, &changed]);
    let values: Vec<_> = answers.iter().map(e2e::Answer::value).collect();
    assert_eq!(values, [json!(1), json!(1), json!(2)]);
    assert_eq!(answers[1].response.instance_info.as_ref().unwrap().method_calls, 1);
}

#[test]
fn an_instance_is_rebuilt_when_its_constructor_arguments_change() {
    let changed = counter("add").with("constructor_args", json!([100]));
    let answers = Farcall::new().answers([&counter("add"), &changed, &changed]);
    let values: Vec<_> = answers.iter().map(e2e::Answer::value).collect();
    assert_eq!(values, [json!(1), json!(101), json!(102)]);
}

#[test]
fn instance_info_counts_calls_and_keeps_times() {
    let answers = Farcall::new().answers([&counter("add"), &counter("add")]);
    let first = answers[0].response.instance_info.clone().unwrap();
    let second = answers[1].response.instance_info.clone().unwrap();
    assert_eq!(answers[0].response.instance_id.as_deref(), Some("Counter_1"));
    assert_eq!((first.class_name.as_str(), first.method_calls), ("Counter", 1));
    assert_eq!((second.created_at.as_str(), second.method_calls), (first.created_at.as_str(), 2));
    assert!(second.last_used > second.created_at, "{second:?}");
    let parses =
        format!("import datetime\nprint(datetime.datetime.fromisoformat('{}').tzinfo)", second.last_used);
    assert_eq!(Python::under_test().run(&parses), "None\n");
}

#[test]
fn a_function_request_has_no_instance() {
    let answer = Farcall::new().answer(&e2e::function("f", "def f(): pass"));
    assert!(answer.response.instance_id.is_none() && answer.response.instance_info.is_none());
}

#[test]
fn a_call_that_raises_still_says_which_instance_it_was() {
    let answer = Farcall::new().answer(&counter("add").args(json!([null])));
    assert!(answer.error().contains("TypeError"), "{answer:?}");
    assert_eq!(answer.response.instance_id.as_deref(), Some("Counter_1"));
}

#[test]
fn a_constructor_that_raises_leaves_no_instance_behind() {
    let code = "\
import os
class Model:
    def __init__(self):
        if not os.path.exists('weights'):
            open('weights', 'w').close()
            raise OSError('no weights')
    def run(self): return 'ran'";
    let request = class("Model", code, "run");
    let answers = Farcall::new().answers([&request, &request]);
    assert!(answers[0].error().contains("OSError: no weights"), "{answers:?}");
    assert_eq!(answers[1].value(), json!("ran"));
}

#[test]
fn the_least_recently_used_instance_goes_when_there_are_too_many() {
    let of = |id: &str| counter("add").with("instance_id", id);
    let calls = [&of("a"), &of("b"), &of("a"), &of("c"), &of("a"), &of("b")];
    let answers = Farcall::new().with("FARCALL_MAX_INSTANCES", "2").answers(calls);
    let values: Vec<Value> = answers.iter().map(e2e::Answer::value).collect();
    assert_eq!(values, [json!(1), json!(1), json!(2), json!(1), json!(3), json!(1)]);
}

#[test]
fn an_exception_in_a_finaliser_ends_nothing() {
    let code = "\
class Model:
    def run(self): return 'ran'
    def __del__(self): raise RuntimeError('in __del__')";
    let request = class("Model", code, "run").with("create_new_instance", true);
    let answers = Farcall::new().answers([&request, &request]);
    assert_eq!(answers[1].value(), json!("ran"));
    assert!(answers[1].output().contains("RuntimeError: in __del__"), "{answers:?}");
}

#[test]
fn static_methods_class_methods_and_callable_attributes_are_methods_too() {
    let code = "\
class Tools:
    def __init__(self): self.made = lambda: 'attribute'
    @staticmethod
    def fixed(): return 'static'
    @classmethod
    def of(cls): return cls.__name__";
    let calls = ["fixed", "of", "made"].map(|method| class("Tools", code, method));
    let values: Vec<_> = Farcall::new().answers(&calls).iter().map(e2e::Answer::value).collect();
    assert_eq!(values, [json!("static"), json!("Tools"), json!("attribute")]);
}

#[test]
fn a_missing_method_is_answered_with_those_that_exist() {
    insta::assert_snapshot!(Farcall::new().answer(&counter("subtract")).error(), @r"
    method `subtract` not found in class `Counter`
    hint: it has: add, each, later
    ");
    insta::assert_snapshot!(Farcall::new().answer(&counter("label")).error(), @"`label` of class `Counter` is of type `str`, not a method");
    let plain = class("Plain", "class Plain:\n    def run(self): pass", "__call__");
    insta::assert_snapshot!(Farcall::new().answer(&plain).error(), @r"
    method `__call__` not found in class `Plain`
    hint: it has: run
    ");
}

#[test]
fn a_missing_class_is_answered_with_those_that_exist() {
    let request = class("Modell", "class Model: pass\ndef f(): pass", "run");
    insta::assert_snapshot!(Farcall::new().answer(&request).error(), @r"
    class `Modell` not found in the code
    hint: it has: Model
    ");
}

#[test]
fn a_class_request_says_what_it_lacks() {
    let answers =
        Farcall::new().answers(&[counter("add").without("class_name"), counter("add").without("class_code")]);
    insta::assert_snapshot!(answers[0].error(), @r#"class_name is required when execution_type is "class""#);
    insta::assert_snapshot!(answers[1].error(), @r#"class_code is required when execution_type is "class""#);
}

#[test]
fn a_method_whose_lookup_raises_is_the_calls_error() {
    let code = "class Model:\n    @property\n    def run(self): return 1 / 0";
    let error = Farcall::new().answer(&class("Model", code, "run")).error().to_owned();
    assert!(error.starts_with("Traceback (most recent call last):"), "2.x clients get it bare: {error}");
    assert!(error.ends_with("ZeroDivisionError: division by zero"), "{error}");
}
