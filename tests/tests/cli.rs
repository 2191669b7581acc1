//! The command line, as a person and a script meet it.

use e2e::{Farcall, Finished, Request, function};
use serde_json::{Value, json};

fn returning(value: &str) -> Request {
    function("f", &format!("def f():\n    print('printed')\n    return {value}"))
}

/// Times differ from run to run.
fn without_times(text: &str) -> String {
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let words = text.split(' ').map(|word| if is_number(word) && word.contains('.') { "N" } else { word });
    let text = words.collect::<Vec<_>>().join(" ");
    text.lines()
        // Newer Pythons mark the place in a line.
        .filter(|line| line.is_empty() || !line.chars().all(|mark| " ^~".contains(mark)))
        .map(|line| {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            // The width of a time moves the blanks in front of it.
            match rest.split_once(" ms") {
                Some((name, result)) => {
                    let name = name.trim_end_matches(['N', ' ']);
                    format!("{mark} {name} N ms{result}\n")
                }
                None => format!("{line}\n"),
            }
        })
        .collect()
}

#[test]
fn a_directory_runs_in_the_order_of_its_names_and_keeps_state() {
    let farcall = Farcall::new();
    let code = "seen = []\ndef f(name):\n    seen.append(name)\n    return list(seen)";
    for name in ["b", "c", "a"] {
        farcall.write(&format!("cases/{name}.json"), function("f", code).args(json!([name])));
    }
    farcall.write("cases/notes.txt", "not a request");
    let Finished { code, stdout, stderr } = farcall.run(["test-handler", "cases"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    insta::assert_snapshot!(without_times(&stdout), @r#"
    ✓ cases/a.json N ms  ["a"]
    ✓ cases/b.json N ms  ["a","b"]
    ✓ cases/c.json N ms  ["a","b","c"]
    3 passed, 0 failed in N s
    "#);
}

#[test]
fn files_run_in_the_order_they_are_given() {
    let farcall = Farcall::new();
    farcall.write("two.json", returning("2"));
    farcall.write("one.json", returning("1"));
    let answers = farcall.run(["test-handler", "--json", "two.json", "one.json"]).answers();
    assert_eq!(
        answers.iter().map(|answer| answer.file.as_str()).collect::<Vec<_>>(),
        ["two.json", "one.json"]
    );
}

#[test]
fn expectations_that_are_met_pass() {
    let farcall = Farcall::new();
    let expect = json!({"success": true, "result": [1, 2.0], "json_result": [1, 2], "stdout": "printed\n",
                        "stdout_contains": ["print", "ed"]});
    farcall.write("plain.json", returning("[1, 2]").with("expect", expect));
    farcall.write("pickled.json", returning("(1, 2)").pickled().with("expect", json!({"result": [1, 2]})));
    let raising = function("f", "def f(): raise ValueError('told')");
    farcall.write(
        "error.json",
        raising.clone().with("expect", json!({"error_contains": ["ValueError", "told"]})),
    );
    farcall.write("fails.json", raising.with("expect", json!({"success": false})));
    let class = e2e::class("C", "class C:\n    def run(self): pass", "run");
    let instance = json!({"instance_id": "C_1", "instance_info": {"class_name": "C", "method_calls": 1}});
    farcall.write("instance.json", class.with("expect", instance));
    let wrapped = returning("3").wrapped().with("expect", json!({"result": 3}));
    farcall.write("wrapped.json", wrapped);
    let finished = farcall.run(["test-handler", "--json", "."]);
    let answers = finished.answers();
    assert_eq!(answers.len(), 6);
    assert!(answers.iter().all(|answer| answer.ok), "{finished:?}");
    assert_eq!(finished.code, 0);
}

#[test]
fn expectations_that_are_not_met_say_why_and_fail_the_run() {
    let farcall = Farcall::new();
    farcall.write(
        "1.json",
        returning("[1, 2]").with("expect", json!({"result": [1, 3], "stdout_contains": "hidden"})),
    );
    farcall.write("2.json", returning("1").with("expect", json!({"error_contains": "told"})));
    farcall.write(
        "3.json",
        function("f", "def f(): raise ValueError('told')").with("expect", json!({"result": 1})),
    );
    farcall.write("4.json", returning("4").with("expect", json!({"result": 4})));
    let Finished { code, stdout, .. } = farcall.run(["test-handler", "."]);
    assert_eq!(code, 1);
    let directory = stdout.split("File \"").nth(1).and_then(|rest| rest.split("/source/").next()).unwrap();
    insta::assert_snapshot!(without_times(&stdout.replace(directory, "SCRATCH")), @r#"
    ✗ ./1.json N ms  result: expected [1,3], got [1,2]
        stdout does not contain "hidden"
        output:
          printed
    ✗ ./2.json N ms  expected an error, got success
        error does not contain "told"
        output:
          printed
    ✗ ./3.json N ms  expected success, got an error
        result: expected 1, got null
        error:
          Traceback (most recent call last):
            File "SCRATCH/source/6c67782b2355/f.py", line 1, in f
              def f(): raise ValueError('told')
          ValueError: told
    ✓ ./4.json N ms  4
    1 passed, 3 failed in N s
    "#);
}

#[test]
fn without_expectations_a_call_has_to_succeed() {
    let farcall = Farcall::new();
    farcall.write("request.json", function("f", "def f(): raise ValueError('told')"));
    assert_eq!(farcall.run(["test-handler", "request.json"]).code, 1);
}

#[test]
fn unknown_expectations_are_refused_before_anything_runs() {
    let farcall = Farcall::new();
    farcall.write("cases/1.json", function("f", "def f(): open('ran', 'w')"));
    farcall.write("cases/2.json", returning("1").with("expect", json!({"reslut": 1})));
    let Finished { code, stdout, stderr } = farcall.run(["test-handler", "cases"]);
    assert_eq!((code, stdout.as_str()), (64, ""));
    assert!(
        stderr.starts_with("farcall: `cases/2.json`: `expect`: unknown field `reslut`, expected one of"),
        "{stderr}"
    );
    assert!(!farcall.directory().join("ran").exists());
}

#[test]
fn json_is_one_line_per_file_and_nothing_else() {
    let farcall = Farcall::new();
    let noisy = "import os, sys\nprint('at import')\ndef f():\n    os.write(1, b'raw')\n    os.system('echo child')\n    sys.stderr.write('errors')\n    raise ValueError";
    farcall.write("1.json", function("f", noisy));
    farcall.write("2.json", "no json");
    let Finished { code, stdout, stderr } = farcall.run(["test-handler", "--json", "1.json", "2.json"]);
    assert_eq!((code, stderr.as_str()), (1, ""));
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(lines.len(), 2);
    assert_eq!(keys(&lines[0]), ["file", "ok", "duration_ms", "response"]);
    assert_eq!(
        keys(&lines[0]["response"]),
        ["success", "result", "json_result", "error", "stdout", "instance_id", "instance_info"]
    );
    assert_eq!(lines[0]["response"]["stdout"], "at import\nrawchild\nerrors");
}

#[test]
fn a_request_can_be_given_on_the_command_line() {
    for option in ["--test_input", "--test-input"] {
        let request = returning("7").wrapped().to_string();
        let finished = Farcall::new().run(["test-handler", "--json", option, &request]);
        let answer = &finished.answers()[0];
        assert_eq!((finished.code, answer.file.as_str(), answer.value()), (0, "--test_input", json!(7)));
    }
}

#[test]
fn without_arguments_test_input_json_is_run() {
    let farcall = Farcall::new();
    farcall.write("test_input.json", returning("8").wrapped());
    let finished = farcall.run(["test-handler", "--json"]);
    assert_eq!((finished.code, finished.answers()[0].value()), (0, json!(8)));
}

#[test]
fn without_test_input_json_the_local_test_says_so_as_runpod_does() {
    let Finished { code, stdout, stderr } = Farcall::new().run(["test-handler"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    insta::assert_snapshot!(stderr, @"farcall: test_input.json not found, exiting.");
}

#[test]
fn a_local_test_without_an_input_field_says_so() {
    let farcall = Farcall::new();
    farcall.write("test_input.json", "{\"id\": \"job-1\"}");
    let finished = farcall.run(["test-handler"]);
    assert_eq!(finished.code, 1);
    assert!(finished.stdout.contains("function_name is required"), "{finished:?}");
}

#[test]
fn paths_that_cannot_be_read_are_refused() {
    let farcall = Farcall::new();
    std::fs::create_dir(farcall.directory().join("empty")).unwrap();
    insta::assert_snapshot!(farcall.run(["test-handler", "missing.json"]).stderr, @"farcall: cannot read `missing.json`: No such file or directory (os error 2)");
    insta::assert_snapshot!(farcall.run(["test-handler", "empty"]).stderr, @"farcall: `empty` holds no *.json file");
    assert_eq!(farcall.run(["test-handler", "missing.json"]).code, 64);
    assert_eq!(farcall.run(["test-handler", "empty"]).code, 64);
}

#[test]
fn wrong_arguments_are_exit_code_64() {
    for arguments in [&["tset-handler"][..], &[], &["test-handler", "--jsno"], &["doctor", "extra"]] {
        let Finished { code, stdout, stderr } = Farcall::new().run(arguments);
        assert_eq!((code, stdout.as_str()), (64, ""), "{arguments:?}");
        assert!(stderr.contains("Usage: farcall"), "{stderr}");
    }
}

#[test]
fn help_shows_what_there_is_and_an_example() {
    let help = |arguments: &[&str]| {
        let Finished { code, stdout, stderr } = Farcall::new().run(arguments);
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        stdout
    };
    insta::assert_snapshot!(help(&["--help"]), @r"
    Run Python functions and classes as a serverless worker does

    Usage: farcall <COMMAND>

    Commands:
      test-handler  Run requests from files and check what they answer
      doctor        Check what the worker finds on this machine and whether it can run functions
      env           List, show or remove the environments that packages were installed into
      serve         Serve requests until told to stop
      run           Run a function or a method of a file on an endpoint
      jobs          List the jobs of an endpoint
      logs          Show what a job has printed
      cancel        Cancel jobs
      help          Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Examples:
      farcall doctor                              check that this machine can run functions
      farcall doctor --ready                      ask the worker that runs here whether it is ready
      farcall test-handler examples               run every request in a directory
      farcall test-handler request.json --json    run one, with a machine-readable answer
      farcall serve                               be an endpoint: queue, API, page
      farcall run code.py::add --args '[1, 2]'    run a function on it, and show what it prints
      farcall env list                            list the environments of installed packages

    The interpreter is FARCALL_PYTHON, the active virtual environment's, or python3 on PATH.
    Variables are described in docs/configuration.md.
    ");
    for word in ["--json", "--test_input", "expect", "stdout_contains", "Exit code"] {
        assert!(help(&["test-handler", "--help"]).contains(word), "{word}");
    }
    for command in ["doctor", "run", "jobs", "logs", "cancel"] {
        assert!(help(&[command, "--help"]).contains("--json"), "{command}");
    }
    assert!(help(&["--version"]).starts_with("farcall "));
}

#[test]
fn there_are_no_colours_in_a_pipe() {
    let farcall = Farcall::new();
    farcall.write("request.json", returning("1"));
    for arguments in [&["test-handler", "request.json"][..], &["doctor"], &["--help"], &["wrong"]] {
        let Finished { stdout, stderr, .. } = farcall.run(arguments);
        assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "{arguments:?}: {stdout}{stderr}");
    }
}

/// Runs the command under a terminal of its own, through Python's `pty`.
fn on_a_terminal(farcall: &Farcall, assignments: &str) -> String {
    let program = format!(
        "import os, pty, sys\nos.environ.update({assignments})\nos.environ['FARCALL_PYTHON'] = sys.executable\nos.chdir('{}')\n\
         pty.spawn(['{}', 'test-handler', 'request.json'])",
        farcall.directory().display(),
        e2e::binary().display()
    );
    e2e::Python::under_test().run(&program)
}

#[test]
fn there_are_colours_on_a_terminal_unless_they_are_unwanted() {
    let farcall = Farcall::new();
    farcall.write("request.json", returning("1"));
    assert!(on_a_terminal(&farcall, "TERM='xterm'").contains("\x1b[32m"));
    assert!(!on_a_terminal(&farcall, "TERM='xterm', NO_COLOR='1'").contains('\x1b'));
}

#[test]
fn output_is_shown_where_it_is_asked_for() {
    let farcall = Farcall::new();
    farcall.write("request.json", returning("1"));
    assert!(!farcall.run(["test-handler", "request.json"]).stdout.contains("printed"));
    assert!(farcall.run(["test-handler", "--output", "request.json"]).stdout.contains("\n      printed\n"));
}

#[test]
fn a_reader_that_goes_away_does_no_harm() {
    let farcall = Farcall::new();
    for index in 0..5 {
        farcall.write(&format!("cases/{index}.json"), returning(&format!("open('ran{index}', 'w').close()")));
    }
    let script = format!(
        "set -o pipefail; FARCALL_PYTHON={} {} test-handler cases | head -n 0",
        e2e::Python::under_test().path().display(),
        e2e::binary().display()
    );
    let status = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(farcall.directory())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(farcall.directory().join("ran4").exists(), "the run goes on to its end");
}

#[test]
fn values_of_variables_that_cannot_be_used_are_refused() {
    for (name, value) in [
        ("FARCALL_MAX_OUTPUT_KB", "-1"),
        ("FARCALL_FRESH_NAMESPACE", "maybe"),
        ("FARCALL_LOG_LEVEL", "a=b=c"),
    ] {
        let finished = Farcall::new().with(name, value).run(["doctor"]);
        assert_eq!((finished.code, finished.stdout.as_str()), (64, ""), "{finished:?}");
        assert!(finished.stderr.starts_with(&format!("farcall: {name}=\"{value}\" is not ")), "{finished:?}");
    }
}

#[test]
fn nothing_is_left_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let farcall = Farcall::new().with("TMPDIR", &scratch.path().display().to_string());
    let requests = [returning("1"), function("f", "import os\ndef f(): os._exit(1)"), returning("2")];
    farcall.answers(&requests);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
