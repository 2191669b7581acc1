//! Real packages from the package index that pip is configured for here. Without one that can be reached, these
//! tests say so and end.

use std::sync::LazyLock;

use e2e::{Farcall, Python, Request, function, index_variables};
use serde_json::json;

/// Whether a package can be had.
#[expect(clippy::print_stderr, reason = "whoever runs the tests shall know what was left out")]
static REACHABLE: LazyLock<bool> = LazyLock::new(|| {
    let uv = Python::under_test().path().with_file_name("uv");
    let target = tempfile::tempdir().expect("the temporary directory is writable");
    let asked = std::process::Command::new(uv)
        .args(["pip", "install", "--quiet", "--system-certs", "--target"])
        .arg(target.path())
        .args(["six==1.17.0"])
        .output();
    let is_reachable = asked.as_ref().is_ok_and(|output| output.status.success());
    if !is_reachable {
        eprintln!("skipped: no package index can be reached: {asked:?}");
    }
    is_reachable
});

fn farcall() -> Farcall {
    Farcall::new().with_all(index_variables())
}

fn call(code: &str, dependencies: &[&str]) -> Request {
    function("f", code).dependencies(dependencies)
}

#[test]
fn numpy_in_two_versions_works_side_by_side() {
    if !*REACHABLE {
        return;
    }
    let code = "def f():\n    import numpy\n    return [numpy.__version__, float(numpy.linalg.norm(numpy.array([3.0, 4.0])))]\n";
    let [one, two] = ["numpy==1.26.4", "numpy==2.2.6"].map(|requirement| call(code, &[requirement]));
    let answers = farcall().answers([&one, &two, &one, &two]);
    let values: Vec<_> = answers.iter().map(|answer| answer.value()).collect();
    let expected = [json!(["1.26.4", 5.0]), json!(["2.2.6", 5.0])];
    assert_eq!(values, [expected.clone(), expected].concat());
}

#[test]
fn requests_with_an_extra_brings_what_it_needs() {
    if !*REACHABLE {
        return;
    }
    let code = "def f():\n    import requests, socks, certifi\n    return requests.Session().get_adapter('https://x').__class__.__name__\n";
    let dependencies = ["requests[socks]>=2.31,<3", "tomli>=2 ; python_version < '3.11'"];
    let answer = farcall().answer(&call(code, &dependencies));
    assert_eq!(answer.value(), "HTTPAdapter");
    assert!(answer.output().contains("[farcall] installing "), "{answer:?}");
}

#[test]
fn a_c_extension_is_compiled_from_its_source() {
    if !*REACHABLE {
        return;
    }
    let code = "def f():\n    import xxhash\n    return xxhash.xxh32(b'').hexdigest()\n";
    let farcall = farcall().with("PIP_NO_BINARY", "xxhash");
    let answer = farcall.answer(&call(code, &["xxhash==3.5.0"]));
    if answer.response.error.as_deref().is_some_and(|error| error.contains("Python.h")) {
        return; // the interpreter's headers are not on this machine
    }
    assert_eq!(answer.value(), "02cc5d05", "the value that its specification gives");
}

#[test]
fn a_name_that_the_index_does_not_know_is_an_error_with_a_hint() {
    if !*REACHABLE {
        return;
    }
    let answer = farcall().answer(&call("def f(): pass", &["six", "farcall-has-no-such-package"]));
    let error = answer.error();
    assert!(error.starts_with("cannot install `farcall-has-no-such-package`:\n"), "{error}");
    assert!(error.contains("hint: check the spelling"), "{error}");
}
