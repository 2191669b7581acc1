//! Runners that die: the call is answered with what happened, the next one runs, and nothing is left behind.

use e2e::processes::{children, descendants, is_alive, open_files, signal, zombies};
use e2e::{Request, Worker, function, value, wait_until};
use serde_json::{Value, json};

fn pid_of_runner() -> Request {
    function("pid", "import os\ndef pid(): return os.getpid()")
}

fn pid(value: &Value) -> u32 {
    value.as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_else(|| panic!("no pid: {value}"))
}

/// Whether all processes are there, and nothing else. A template has its directory once it has been told to be one.
fn is_settled(worker: &Worker, concurrency: usize) -> bool {
    let wanted = concurrency + 2;
    (children(worker.pid()).len(), worker.runner_directories(), zombies(worker.pid())) == (wanted, wanted, 0)
}

/// A worker whose template and spare runner are there.
fn settled(options: e2e::WorkerOptions, concurrency: usize) -> Worker {
    let worker = options.start();
    assert!(wait_until(|| is_settled(&worker, concurrency)), "{worker:?}");
    worker
}

#[test]
fn a_call_that_kills_its_runner_is_answered_with_the_reason_and_the_next_one_runs() {
    let worker = Worker::start();
    let mut connection = worker.connect();
    for (ending, reason) in [
        ("os._exit(3)", "died: exit code 3"),
        ("os._exit(0)", "died: exit code 0"),
        ("sys.exit(3)", "sys.exit(3)"),
        ("ctypes.string_at(0)", "signal 11 (SIGSEGV, segmentation fault)"),
        ("os.kill(os.getpid(), 11); time.sleep(60)", "signal 11 (SIGSEGV, segmentation fault)"),
        ("os.kill(os.getpid(), 9)", "signal 9 (SIGKILL"),
        ("os.kill(os.getpid(), 15)", "signal 15 (SIGTERM, terminated)"),
        ("ctypes.CDLL(None).abort()", "signal 6 (SIGABRT, aborted)"),
        // C's quicksort calling itself through its comparison until the stack is used up.
        ("recurse()", "signal 11 (SIGSEGV, segmentation fault)"),
        ("threading.Thread(target=os._exit, args=(4,)).start(); time.sleep(60)", "died: exit code 4"),
        ("os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", "died: exit code 5"),
    ] {
        let code = format!(
            "import ctypes, os, sys, threading, time
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def recurse(*_):
    sys.setrecursionlimit(10**9)
    return ctypes.CDLL(None).qsort((ctypes.c_int * 2)(2, 1), 2, 4, compare(recurse)) or 0
def f():
    print('last words')
    {ending}"
        );
        let response = connection.execute(&function("f", &code)).call();
        let error = response.error.unwrap_or_default();
        assert!(!response.success && error.contains(reason), "{ending}: {error}");
        assert!(response.stdout.as_deref().is_some_and(|text| text.starts_with("last words\n")), "{ending}");
        assert_eq!(
            value(&connection.execute(&function("g", "def g(): return 'next'")).call()),
            json!("next")
        );
    }
    assert!(wait_until(|| zombies(worker.pid()) == 0));
    assert_eq!(worker.ping().status, 200);
}

#[test]
fn a_death_is_noticed_although_a_forked_child_lives_on() {
    let worker = Worker::start();
    let code = "\
import os, time
def f():
    child = os.fork()
    if child == 0:
        time.sleep(600)
    open(PATH, 'w').write(str(child))
    os._exit(3)"
        .replace("PATH", &format!("{:?}", worker.path("child")));
    assert!(worker.error(&function("f", &code)).contains("exit code 3"));
    let child = worker.await_file("child").parse().unwrap();
    assert!(wait_until(|| !is_alive(child)), "{child} lives on");
}

/// Programs that leave their runner's process group before it dies.
#[test]
fn nothing_a_dead_runner_has_started_lives_on() {
    let worker = Worker::start();
    for (name, start) in [
        ("session", "pid = subprocess.Popen(['sleep', '600'], start_new_session=True).pid"),
        ("forked", "pid = os.fork()\n    if pid == 0: os.setsid(); time.sleep(600)"),
        (
            "daemon",
            "r, w = os.pipe()
    if os.fork() == 0:
        os.setsid()
        pid = os.fork()
        if pid: os.write(w, str(pid).encode())
        if pid: os._exit(0)
        time.sleep(600)
    pid = int(os.read(r, 20))",
        ),
        (
            "below",
            "pid = int(subprocess.Popen(['sh', '-c', 'sleep 600 & echo $!; wait'], start_new_session=True, stdout=-1).stdout.readline())",
        ),
    ] {
        let code = format!(
            "import os, subprocess, time\ndef f():\n    {start}\n    open({:?}, 'w').write(str(pid))\n    os._exit(3)",
            worker.path(name)
        );
        assert!(worker.error(&function("f", &code)).contains("exit code 3"), "{name}");
        let left: u32 = worker.await_file(name).parse().unwrap();
        assert!(wait_until(|| !is_alive(left)), "{name}: {left} lives on");
    }
    assert!(wait_until(|| zombies(worker.pid()) == 0));
}

#[test]
fn a_program_that_leaves_the_group_lives_while_its_runner_does() {
    let worker = Worker::start();
    let start =
        "import subprocess\ndef f(): return subprocess.Popen(['sleep', '600'], start_new_session=True).pid";
    let started = pid(&worker.value(&function("f", start)));
    // Another runner's death is none of its business.
    worker.error(&function("g", "import os\ndef g(): os._exit(1)"));
    assert_eq!(worker.value(&function("h", "def h(): return 1")), json!(1));
    let runners = children(worker.pid());
    let lives_in = runners.iter().find(|runner| descendants(**runner).contains(&started));
    assert_eq!(is_alive(started), lives_in.is_some(), "it lives exactly as long as its runner");
}

#[test]
fn a_call_succeeds_although_the_idle_runners_were_killed() {
    for concurrency in ["1", "4"] {
        let worker = Worker::options().with("FARCALL_CONCURRENCY", concurrency).start();
        let asynchronous = function("pid", "import os\nasync def pid(): return os.getpid()");
        for request in [pid_of_runner(), asynchronous] {
            for _ in 0..20 {
                let runner = pid(&worker.value(&request));
                signal(runner, "KILL");
                assert_ne!(pid(&worker.value(&request)), runner);
            }
        }
    }
}

#[test]
fn without_its_template_the_worker_recovers_and_makes_a_new_one() {
    let worker = settled(Worker::options(), 1);
    let before = children(worker.pid());
    for child in &before {
        signal(*child, "KILL");
    }
    for _ in 0..5 {
        worker.error(&function("f", "import os\ndef f(): os._exit(1)"));
        assert_eq!(worker.value(&function("g", "def g(): return 1")), json!(1));
    }
    assert!(wait_until(|| children(worker.pid()).len() == 3), "{worker:?}");
    assert!(children(worker.pid()).iter().all(|child| !before.contains(child)));
    assert_eq!(worker.ping().status, 200);
}

#[test]
fn a_template_that_does_not_start_is_tried_again() {
    // The first runner cannot fork one, and the first that is started ends.
    let startup = "\
import os, threading, time
with open('HERE/starts', 'a') as starts: starts.write('x')
number = os.stat('HERE/starts').st_size
if number == 1: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
if number == 2: os._exit(7)";
    let worker = settled(Worker::options().with_startup(startup), 1);
    assert!(worker.logged("no runner template").is_some(), "{worker:?}");
    // The spare runner may have come before the template.
    let is_forked = || {
        let starts = worker.await_file("starts");
        worker.error(&function("f", "import os\ndef f(): os._exit(1)"));
        wait_until(|| is_settled(&worker, 1)) && worker.await_file("starts") == starts
    };
    assert!(wait_until(is_forked), "{worker:?}");
}

#[test]
fn a_killed_worker_leaves_no_process_and_no_directory_behind() {
    let mut worker = settled(Worker::options().with("FARCALL_CONCURRENCY", "2"), 2);
    let hangs = "\
import os, subprocess, time
def f(path, kind):
    subprocess.Popen(['sleep', '600'])
    subprocess.Popen(['sleep', '600'], start_new_session=True)
    open(path, 'w').write('x')
    while kind == 'busy': pass
    time.sleep(600)";
    let mut connections = Vec::new();
    for kind in ["busy", "asleep"] {
        let mut connection = worker.connect();
        let request = function("f", hangs).args(json!([worker.path(kind), kind]));
        connection.send("POST", "/execute", &[], request.to_string().as_bytes());
        worker.await_file(kind);
        connections.push(connection);
    }
    let family = descendants(worker.pid());
    assert!(family.len() >= 7, "{family:?}");
    worker.signal("KILL");
    worker.await_exit();
    for member in family {
        assert!(wait_until(|| !is_alive(member)), "{member} lives on");
    }
    assert!(wait_until(|| worker.runner_directories() == 0), "directories of runners are left behind");
}

#[test]
fn files_in_the_working_directory_do_not_hide_what_a_template_imports() {
    let breaks = "raise RuntimeError('imported from the working directory')";
    let worker = settled(Worker::options().with_file("queue.py", breaks), 1);
    assert!(worker.logged("no runner template").is_none(), "{worker:?}");
    // Asynchronous code makes the template import more.
    let ask = "import os\nasync def pid(): return os.getpid()";
    let first = pid(&worker.value(&function("pid", ask)));
    worker.error(&function("f", "import os\nasync def f(): os._exit(1)"));
    assert_ne!(pid(&worker.value(&function("pid", ask))), first);
    assert!(worker.logged("template lost").is_none(), "{worker:?}");
}

#[test]
fn a_thousand_deaths_leave_nothing_behind() {
    let worker = settled(Worker::options(), 1);
    let mut connection = worker.connect();
    let die = function("f", "import os\ndef f(): os._exit(1)");
    connection.execute(&die);
    assert!(wait_until(|| is_settled(&worker, 1)), "{worker:?}");
    let files = open_files(worker.pid());
    for _ in 0..1000 {
        let response = connection.execute(&die).call();
        assert!(response.error.is_some_and(|error| error.contains("exit code 1")));
    }
    assert!(wait_until(|| is_settled(&worker, 1)), "{worker:?}");
    assert!(
        wait_until(|| open_files(worker.pid()) <= files),
        "{} files, {files} before",
        open_files(worker.pid())
    );
}

#[test]
fn runners_that_cannot_start_make_the_worker_unhealthy_and_end_it_with_75() {
    for (script, reason) in [
        ("import os\nos.write(1, b'broken image')\nos._exit(7)", "(exit code 7); it said:\nbroken image"),
        ("import time\ntime.sleep(600)", "not ready within 1 s"),
    ] {
        let options = Worker::options().with("FARCALL_START_TIMEOUT_S", "1").with_startup(script);
        let mut worker = options.start_listening();
        let waiting = worker.begin(function("f", "def f(): return 1"));
        let response = waiting.answer();
        assert!(response.error.as_deref().is_some_and(|error| error.contains(reason)), "{response:?}");
        assert_eq!(worker.await_exit().code(), Some(75), "{worker:?}");
        assert!(worker.logged("cannot be kept alive").is_some(), "{worker:?}");
    }
}
