//! `modules`: local files that travel with a function.

use e2e::{Answer, Farcall, function};
use serde_json::json;

const CODE: &str = "def f():\n    import helper\n    return helper.value()";

#[test]
fn shipped_files_can_be_imported() {
    let code = "import helper\nfrom pkg.deep import inner\ndef f(): return [helper.x, inner.y]";
    let files = [
        ("helper.py", "x = 1"),
        ("pkg/__init__.py", ""),
        ("pkg/deep/inner.py", "from helper import x\ny = x + 1"),
    ];
    assert_eq!(Farcall::new().answer(&function("f", code).modules(&files)).value(), json!([1, 2]));
}

#[test]
fn a_changed_helper_of_the_same_name_is_picked_up() {
    let with = |value: &str| function("f", CODE).modules(&[("helper.py", value)]);
    let (one, two) = (with("def value(): return 1"), with("def value(): return 2"));
    let values: Vec<_> = Farcall::new().answers([&one, &two, &one]).iter().map(Answer::value).collect();
    assert_eq!(values, [json!(1), json!(2), json!(1)]);
}

#[test]
fn a_changed_helper_imported_at_module_level_is_picked_up() {
    let code = "import helper\ndef f(): return helper.value()";
    let with = |value: &str| function("f", code).modules(&[("helper.py", value)]);
    let (one, two) = (with("def value(): return 1"), with("def value(): return 2"));
    let values: Vec<_> = Farcall::new().answers([&one, &two, &one]).iter().map(Answer::value).collect();
    assert_eq!(values, [json!(1), json!(2), json!(1)]);
}

#[test]
fn an_unchanged_helper_keeps_its_state() {
    let counting = function("f", CODE)
        .modules(&[("helper.py", "calls = []\ndef value():\n    calls.append(1)\n    return len(calls)")]);
    let other = function("f", CODE).modules(&[("helper.py", "def value(): return 'other'")]);
    let values: Vec<_> =
        Farcall::new().answers([&counting, &counting, &other, &counting]).iter().map(Answer::value).collect();
    assert_eq!(values, [json!(1), json!(2), json!("other"), json!(3)]);
}

#[test]
fn what_one_request_ships_another_cannot_import() {
    let shipping = function("f", CODE).modules(&[("helper.py", "def value(): return 1")]);
    let answers = Farcall::new().answers([&shipping, &function("f", CODE)]);
    assert_eq!(answers[0].value(), json!(1));
    assert!(answers[1].error().contains("No module named 'helper'"), "{answers:?}");
}

#[test]
fn a_helper_hides_an_installed_module_only_for_its_own_request() {
    let code = "def f():\n    import colorsys\n    return hasattr(colorsys, 'mine')";
    let shipping = function("f", code).modules(&[("colorsys.py", "mine = 1")]);
    let plain = function("f", code);
    let values: Vec<_> =
        Farcall::new().answers([&plain, &shipping, &plain]).iter().map(Answer::value).collect();
    assert_eq!(values, [json!(false), json!(true), json!(false)]);
}

#[test]
fn tracebacks_show_a_helpers_source_lines() {
    let request =
        function("f", CODE).modules(&[("helper.py", "def value():\n    raise OSError('in the helper')")]);
    let answer = Farcall::new().answer(&request);
    for part in ["helper.py\", line 2, in value", "raise OSError('in the helper')"] {
        assert!(answer.error().contains(part), "{answer:?}");
    }
}

#[test]
fn subprocesses_of_python_find_shipped_files_by_their_path() {
    let code = "\
import helper, os, subprocess, sys
def f():
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(helper.__file__))
    return subprocess.check_output([sys.executable, '-c', 'import helper; print(helper.x)'], env=environment).decode()";
    let request = function("f", code).modules(&[("helper.py", "x = 'shipped'")]);
    assert_eq!(Farcall::new().answer(&request).value(), json!("shipped\n"));
}

#[test]
fn a_path_that_leaves_the_directory_is_refused_before_anything_is_written() {
    let farcall = Farcall::new();
    let outside = farcall.directory().join("outside.py").display().to_string();
    for path in [
        outside.as_str(),
        "../outside.py",
        "a/../../outside.py",
        "",
        ".",
        "a//b.py",
        "a/",
        "a\\..\\b.py",
        "a\0.py",
    ] {
        let answer = farcall.answer(&function("f", CODE).modules(&[("helper.py", ""), (path, "x = 1")]));
        let expected = format!("module path `{path}` leaves the modules directory");
        assert!(answer.error().starts_with(&expected), "{path}: {answer:?}");
    }
    assert!(!std::path::Path::new(&outside).exists());
}

#[test]
fn files_that_cannot_be_written_are_an_error_that_names_them() {
    let long = format!("{}.py", "x".repeat(300));
    for (files, named) in
        [([("a", "text"), ("a/b.py", "x = 1")], "a/b.py"), ([("b.py", ""), (&long, "")], &long)]
    {
        let requests = [function("f", CODE).modules(&files), function("g", "def g(): return 'next'")];
        let answers = Farcall::new().answers(&requests);
        let expected = format!("OSError: the shipped module `{named}` cannot be written: ");
        assert!(answers[0].error().contains(&expected), "{answers:?}");
        assert_eq!(answers[1].value(), json!("next"));
    }
}

#[test]
fn files_that_were_sent_before_are_found_by_their_content() {
    let files =
        [("helper.py", "import os\ndef value(): return os.path.basename(__file__)"), ("p/q.py", "x = 2")];
    let code = "import helper, p.q\ndef f(): return [helper.value(), p.q.x]";
    let request = |brings| function("f", code).modules_by_content(&files, brings);
    let farcall = Farcall::new();
    let missing = farcall.answer(&request(false));
    assert!(missing.error().contains("are not here (") && missing.error().contains("hint: "), "{missing:?}");
    // Kept by one process, found by another.
    for brings in [true, false] {
        assert_eq!(farcall.answer(&request(brings)).value(), json!(["helper.py", 2]));
    }
}

#[test]
fn files_by_content_and_files_brought_along_are_not_mixed_up() {
    let with = |value: &str, brings| {
        let source = format!("calls = []\ndef value():\n    calls.append({value})\n    return calls");
        function("f", CODE).modules_by_content(&[("helper.py", &source)], brings)
    };
    let other = function("f", CODE).modules(&[("helper.py", "def value(): return 'other'")]);
    let requests =
        [with("1", true), with("1", false), other, with("2", true), with("1", false), with("2", false)];
    let values: Vec<_> = Farcall::new().answers(&requests).iter().map(Answer::value).collect();
    let expected = [json!([1]), json!([1, 1]), json!("other"), json!([2]), json!([1, 1, 1]), json!([2, 2])];
    assert_eq!(values, expected);
}

#[test]
fn a_name_of_files_that_is_no_digest_is_refused() {
    for name in ["../../etc", "", "ABCD"] {
        let answer = Farcall::new().answer(&function("f", CODE).with("farcall", json!({"modules": name})));
        assert!(
            answer.error().starts_with("invalid request: `farcall.modules`: expected a sha256"),
            "{answer:?}"
        );
    }
}

#[test]
fn what_a_call_does_to_its_files_stays_in_its_runner() {
    let code = "\
import helper, pathlib
def f(text):
    found = helper.X
    pathlib.Path(helper.__file__).write_text(text)
    return found";
    let files = [("helper.py", "X = 'sent'")];
    let request =
        |brings| function("f", code).modules_by_content(&files, brings).args(json!(["X = 'changed'"]));
    let farcall = Farcall::new();
    for brings in [true, false, false] {
        assert_eq!(farcall.answer(&request(brings)).value(), json!("sent"));
    }
}

#[test]
fn kept_files_that_are_damaged_are_sent_again() {
    let files = [("p/helper.py", "X = 'sent'")];
    let request = |brings| {
        function("f", "def f():\n    from p.helper import X\n    return X").modules_by_content(&files, brings)
    };
    let farcall = Farcall::new();
    assert_eq!(farcall.answer(&request(true)).value(), json!("sent"));
    let kept = farcall.directory().join("cache/modules");
    let set = std::fs::read_dir(&kept).unwrap().next().unwrap().unwrap().path();
    std::fs::write(set.join("p/helper.py"), "").unwrap();
    let damaged = farcall.answer(&request(false));
    assert!(damaged.error().contains("they are not what was sent\nhint: call again"), "{damaged:?}");
    assert!(farcall.answer(&request(false)).error().contains("are not here ("));
    assert_eq!(farcall.answer(&request(true)).value(), json!("sent"));
}
