//! Every interpreter on the machine, with and without its shared library; and those that cannot be used.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use e2e::{Answer, Farcall, Finished, Installed, binary, class, function, installed, repository};
use serde_json::json;

const DEBIAN: &str = "/usr/bin/python3";

/// A little of everything on one interpreter.
fn smoke(python: &Installed, libpython: &str) {
    let code = "\
import asyncio, ctypes, json, sqlite3, sys
async def f(x):
    await asyncio.sleep(0)
    print('printed')
    return [x + 1, list(sys.version_info[:2])]";
    let counter = class(
        "C",
        "class C:\n    n = 0\n    def add(self):\n        self.n += 1\n        return self.n",
        "add",
    );
    let requests = [
        function("f", code).args(json!([1])),
        counter.clone(),
        counter,
        function("g", "def g(): raise ValueError('told')"),
        function("h", "import os\ndef h(): os._exit(7)"),
        function("i", "def i(): return sorted(map(str, range(3)))").pickled(),
    ];
    let answers = Farcall::with_python(&python.path).with("FARCALL_LIBPYTHON", libpython).answers(&requests);
    let (major, minor) = python.version;
    assert_eq!(answers[0].value(), json!([2, [major, minor]]), "{python:?}");
    assert_eq!(answers[0].output(), "printed\n", "{python:?}");
    assert_eq!((answers[1].value(), answers[2].value()), (json!(1), json!(2)), "{python:?}");
    assert!(answers[3].error().contains("line 1, in g"), "{python:?}: {answers:?}");
    assert!(answers[4].error().contains("exit code 7"), "{python:?}: {answers:?}");
    assert!(answers[5].response.success, "{python:?}: {answers:?}");
}

#[expect(clippy::print_stderr, reason = "whoever reads a test's output wants to know what was proved")]
fn supported() -> Vec<Installed> {
    let (run, skipped): (Vec<_>, Vec<_>) = installed().into_iter().partition(Installed::is_supported);
    for (verdict, pythons) in [("run", &run), ("skipped, too old", &skipped)] {
        for python in pythons {
            eprintln!("{verdict}: {python:?}");
        }
    }
    let debian_is_there =
        !Path::new(DEBIAN).exists() || run.iter().any(|python| python.path == Path::new(DEBIAN));
    assert!(debian_is_there, "Debian's own interpreter must be among them: {run:?}");
    assert!(!run.is_empty(), "a machine without any Python proves nothing");
    run
}

#[test]
fn every_interpreter_runs_with_its_shared_library_where_it_has_one() {
    for python in supported() {
        smoke(&python, "auto");
    }
}

#[test]
fn every_interpreter_runs_as_its_executable() {
    for python in supported() {
        smoke(&python, "never");
    }
}

#[test]
fn both_ways_of_starting_see_the_same_python() {
    let code = "\
import site, sys
def f():
    return [sys.executable, sys.prefix, sys.base_prefix, [path for path in sys.path[1:] if '/farcall-' not in path], sys.argv, sys.flags.optimize, sys.stdin.read()]";
    let look = |python: &Path, libpython: &str| {
        Farcall::with_python(python).with("FARCALL_LIBPYTHON", libpython).answer(&function("f", code)).value()
    };
    for python in supported() {
        assert_eq!(look(&python.path, "auto"), look(&python.path, "never"), "{python:?}");
    }
    let venv = e2e::Python::under_test();
    let seen = look(venv.path(), "auto");
    assert_eq!(seen, look(venv.path(), "never"));
    assert_eq!(seen[0], json!(venv.path()), "the virtual environment's own executable");
}

#[test]
fn never_runs_the_executable_even_where_there_is_a_shared_library() {
    let program = |python: &Installed, libpython: &str| {
        let request = function("f", "def f(): return open('/proc/self/comm').read().strip()");
        Farcall::with_python(&python.path).with("FARCALL_LIBPYTHON", libpython).answer(&request).value()
    };
    let pythons = supported();
    for python in &pythons {
        assert_ne!(program(python, "never"), json!("farcall"), "{python:?}: the interpreter took over");
    }
    let Some(shared) = pythons.iter().find(|python| has_shared_library(python)) else { return };
    assert_eq!(program(shared, "auto"), json!("farcall"), "{shared:?}");
}

fn has_shared_library(python: &Installed) -> bool {
    let question = "import os, sysconfig as s\nprint(os.path.isfile(os.path.join(s.get_config_var('LIBDIR') or '', s.get_config_var('INSTSONAME') or 'none')) \
                    and '.so' in s.get_config_var('INSTSONAME'))";
    let output = Command::new(&python.path).args(["-c", question]).output().unwrap();
    output.stdout == b"True\n"
}

#[test]
fn a_setting_nobody_knows_is_refused() {
    let finished = Farcall::new().with("FARCALL_LIBPYTHON", "sometimes").run(["doctor"]);
    let expected = "farcall: FARCALL_LIBPYTHON=\"sometimes\" is not auto or never\n";
    assert_eq!((finished.code, finished.stderr.as_str()), (64, expected));
}

#[test]
fn an_interpreter_is_found_without_being_named() {
    let farcall = Farcall::with_python("");
    assert_eq!(farcall.answer(&function("f", "def f(): return 1")).value(), json!(1));
    let venv = repository().join(".venv");
    if venv.is_dir() {
        let farcall = Farcall::with_python("").with("VIRTUAL_ENV", &venv.display().to_string());
        let prefix = farcall.answer(&function("f", "import sys\ndef f(): return sys.prefix")).value();
        assert_eq!(prefix, json!(venv), "the active virtual environment's");
    }
    let named = Farcall::with_python("python3").answer(&function("f", "def f(): return 1"));
    assert_eq!(named.value(), json!(1), "a name is looked up on PATH");
}

/// What a call says with this `FARCALL_PYTHON`; nothing may have run.
fn refusal(python: &Path) -> String {
    let farcall = Farcall::with_python(python);
    farcall.write("request.json", function("f", "def f(): return 1"));
    let Finished { code, stdout, stderr } = farcall.run(["test-handler", "--json", "request.json"]);
    assert_eq!((code, stdout.as_str()), (64, ""), "{}: {stderr}", python.display());
    stderr.replace(&python.display().to_string(), "PYTHON")
}

fn script(directory: &Path, content: &str) -> std::path::PathBuf {
    let path = directory.join("python");
    std::fs::write(&path, format!("#!/bin/sh\n{content}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn older_pythons_are_refused() {
    for python in installed().iter().filter(|python| !python.is_supported() && python.version.0 == 3) {
        let text = refusal(&python.path);
        let (major, minor) = python.version;
        let expected = format!("farcall: `PYTHON` is Python {major}.{minor}.");
        assert!(
            text.starts_with(&expected) && text.contains("; farcall needs CPython 3.10 or later\nhint: "),
            "{text}"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let old = script(directory.path(), "echo implementation=cpython; echo version=3.9.18");
    insta::assert_snapshot!(refusal(&old), @r"
    farcall: `PYTHON` is Python 3.9.18; farcall needs CPython 3.10 or later
    hint: set FARCALL_PYTHON to a newer interpreter
    ");
}

#[test]
fn a_path_to_nothing_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(refusal(&directory.path().join("nothing")), @r"
    farcall: FARCALL_PYTHON: `PYTHON` is not an executable file
    hint: give the path of a Python interpreter, or a name on PATH
    ");
    insta::assert_snapshot!(refusal(directory.path()), @r"
    farcall: FARCALL_PYTHON: `PYTHON` is not an executable file
    hint: give the path of a Python interpreter, or a name on PATH
    ");
    insta::assert_snapshot!(refusal(Path::new("no-such-program")), @r"
    farcall: FARCALL_PYTHON: `PYTHON` is not an executable file
    hint: give the path of a Python interpreter, or a name on PATH
    ");
}

#[test]
fn programs_that_are_no_python_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(refusal(&script(directory.path(), "echo hello")), @r#"farcall: `PYTHON` does not answer like a Python interpreter: "hello\n""#);
    insta::assert_snapshot!(refusal(&script(directory.path(), "echo broken >&2; exit 3")).lines().next().unwrap(), @"farcall: cannot ask `PYTHON` for its version");
    insta::assert_snapshot!(refusal(Path::new("/bin/true")), @r#"farcall: `PYTHON` does not answer like a Python interpreter: """#);
    std::fs::write(directory.path().join("data"), "no program").unwrap();
    std::fs::set_permissions(directory.path().join("data"), std::fs::Permissions::from_mode(0o755)).unwrap();
    insta::assert_snapshot!(refusal(&directory.path().join("data")), @r"
    farcall: cannot ask `PYTHON` for its version
      caused by: cannot run `PYTHON`
      caused by: Exec format error (os error 8)
    ");
}

#[test]
fn other_implementations_and_free_threaded_builds_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let pypy = script(directory.path(), "echo implementation=pypy; echo version=3.10.14");
    insta::assert_snapshot!(refusal(&pypy), @r"
    farcall: `PYTHON` is pypy; farcall embeds CPython
    hint: set FARCALL_PYTHON to a CPython interpreter
    ");
    let threaded =
        script(directory.path(), "echo implementation=cpython; echo version=3.13.1; echo free_threaded=1");
    insta::assert_snapshot!(refusal(&threaded), @r"
    farcall: `PYTHON` is a free-threaded build of Python 3.13.1, which farcall does not support
    hint: set FARCALL_PYTHON to the default build of Python 3.13.1
    ");
}

#[test]
fn a_library_that_does_not_load_is_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("libpython3.11.so"), "no library").unwrap();
    let answers = format!(
        "echo implementation=cpython; echo version=3.11.2; echo library=libpython3.11.so; echo library_directory={}",
        directory.path().display()
    );
    let answer: Answer =
        Farcall::with_python(script(directory.path(), &answers)).answer(&function("f", "def f(): return 1"));
    for part in ["the runner ended before it was ready", "cannot load `", "libpython3.11.so"] {
        assert!(answer.error().contains(part), "{answer:?}");
    }
}

#[test]
fn the_supervisor_needs_no_libpython() {
    let output = Command::new("ldd").arg(binary()).output().expect("ldd is part of glibc");
    let needed = String::from_utf8(output.stdout).unwrap();
    assert!(needed.contains("libc.so") && !needed.contains("python"), "{needed}");
    let library = binary().with_file_name("libfarcall_runner.so");
    let output = Command::new("ldd").arg(library).output().expect("ldd is part of glibc");
    assert!(!String::from_utf8(output.stdout).unwrap().contains("python"));
}

#[test]
fn the_protocol_crate_knows_no_tokio() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "-p", "farcall-protocol"])
        .current_dir(repository())
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("serde_json v") && !tree.contains("tokio") && !tree.contains("pyo3"), "{tree}");
}
