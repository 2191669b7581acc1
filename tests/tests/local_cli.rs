//! `farcall run`, `jobs`, `logs` and `cancel`, against an endpoint of our own.

use e2e::{Farcall, Finished, LocalEndpoint};
use serde_json::Value;

const CODE: &str = "\
import os, time

def add(a, b=0):
    print('adding')
    return a + b

def count(n):
    for i in range(n):
        print('item', i)
        yield i

def fail():
    print('about to fail')
    raise ValueError('no luck')

def hold(end):
    print('holding', flush=True)
    while not os.path.exists(end):
        time.sleep(0.01)
    return 'let go'

class Counter:
    def up(self, by):
        return by + 1
";

struct Shell {
    endpoint: LocalEndpoint,
    farcall: Farcall,
}

impl Shell {
    fn new() -> Self {
        let endpoint = LocalEndpoint::start();
        let url = format!("http://{}", endpoint.address());
        let farcall = Farcall::new().with("FARCALL_ENDPOINT", &url);
        farcall.write("code.py", CODE);
        Self { endpoint, farcall }
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.farcall.run(arguments)
    }

    /// Submits a call that goes on until there is a file `end`. Returns its id.
    fn hold(&self) -> String {
        let end = serde_json::json!([self.endpoint.path("end")]).to_string();
        let submitted = self.run(&["run", "code.py::hold", "--args", &end, "--detach"]);
        assert_eq!(submitted.code, 0, "{submitted:?}");
        submitted.stdout.trim().to_owned()
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let finished = self.run(arguments);
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
        finished.stdout.lines().map(parse).collect()
    }
}

#[test]
fn a_function_runs_and_its_output_and_result_are_shown() {
    let shell = Shell::new();
    let finished = shell.run(&["run", "code.py::add", "--args", "[40]", "--kwargs", "{\"b\": 2}"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (0, "adding\n42\n"), "{finished:?}");
    let finished = shell.run(&["run", "code.py::add", "--args", "{\"a\": 1}"]);
    assert_eq!(finished.stdout, "adding\n1\n", "{finished:?}");
    let finished = shell.run(&["run", "code.py::Counter.up", "--args", "[1]"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (0, "2\n"), "{finished:?}");
}

#[test]
fn a_generators_items_are_shown_as_they_come() {
    let shell = Shell::new();
    let finished = shell.run(&["run", "code.py::count", "--args", "[2]"]);
    let mut lines: Vec<&str> = finished.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!((finished.code, lines), (0, vec!["0", "1", "item 0", "item 1"]), "{finished:?}");
    let told = shell.lines(&["run", "code.py::count", "--args", "[2]", "--json"]);
    let chunks: Vec<&Value> = told.iter().filter(|line| line["event"] == "chunk").collect();
    assert!(chunks.len() == 2 && chunks[1]["data"]["json_result"] == 1, "{told:?}");
    assert_eq!(told.last().unwrap()["data"]["status"], "COMPLETED");
}

#[test]
fn how_a_job_ends_is_the_exit_code() {
    let shell = Shell::new();
    let failed = shell.run(&["run", "code.py::fail"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (1, "about to fail\n"), "{failed:?}");
    assert!(failed.stderr.contains("ValueError: no luck"), "{failed:?}");
    let end = serde_json::json!([shell.endpoint.path("end")]).to_string();
    let late = shell.run(&["run", "code.py::hold", "--args", &end, "--timeout", "0.3"]);
    assert_eq!((late.code, late.stdout.as_str()), (124, "holding\n"), "{late:?}");
    let id = shell.hold();
    let cancelled = shell.run(&["cancel", &id]);
    assert_eq!((cancelled.code, cancelled.stdout.as_str()), (0, format!("{id}  CANCELLED\n").as_str()));
    assert_eq!(shell.run(&["logs", "--follow", &id]).code, 130);
    assert_eq!(shell.run(&["logs", &id]).code, 0);
}

#[test]
fn logs_show_what_there_is_or_go_on_to_the_end() {
    let shell = Shell::new();
    let id = shell.hold();
    shell.endpoint.await_status(&id, "IN_PROGRESS");
    assert!(e2e::wait_until(|| shell.run(&["logs", &id]).stdout == "holding\n"));
    std::thread::scope(|scope| {
        let following = scope.spawn(|| shell.run(&["logs", &id, "--follow"]));
        shell.endpoint.touch("end");
        let followed = following.join().unwrap();
        assert_eq!((followed.code, followed.stdout.as_str()), (0, "holding\n\"let go\"\n"), "{followed:?}");
    });
}

#[test]
fn following_goes_on_when_the_endpoint_is_killed_and_comes_back() {
    let mut shell = Shell::new();
    let id = shell.hold();
    shell.endpoint.await_status(&id, "IN_PROGRESS");
    let printed = || std::fs::read_to_string(shell.farcall.directory().join("printed")).unwrap_or_default();
    let mut following = std::process::Command::new(e2e::binary())
        .args(["logs", &id, "--follow", "--endpoint", &shell.endpoint.url()])
        .stdout(std::fs::File::create(shell.farcall.directory().join("printed")).unwrap())
        .spawn()
        .unwrap();
    assert!(e2e::wait_until(|| printed() == "holding\n"), "{}", printed());
    shell.endpoint.kill();
    shell.endpoint.start_again();
    shell.endpoint.touch("end");
    assert_eq!(following.wait().unwrap().code(), Some(0), "{}", printed());
    // The second attempt is told from its beginning.
    assert_eq!(printed(), "holding\nholding\n\"let go\"\n");
}

#[test]
fn jobs_are_listed_for_people_and_for_programs() {
    let shell = Shell::new();
    assert_eq!(shell.run(&["jobs"]).stdout, "no jobs\n");
    shell.run(&["run", "code.py::add", "--args", "[1]"]);
    shell.run(&["run", "code.py::fail"]);
    let listed = shell.lines(&["jobs", "--json"]);
    let names: Vec<&Value> = listed.iter().map(|job| &job["name"]).collect();
    assert_eq!(names, ["fail", "add"]);
    let table = shell.run(&["jobs", "--status", "FAILED"]).stdout;
    assert!(table.lines().count() == 1 && table.trim_end().ends_with("fail: ValueError: no luck"), "{table}");
}

#[test]
fn what_cannot_be_asked_for_says_why() {
    let shell = Shell::new();
    for (arguments, code, reason) in [
        (&["run", "code.py"][..], 64, "is not FILE.py::function"),
        (&["run", "none.py::f"], 64, "cannot read `none.py`"),
        (&["run", "code.py::add", "--args", "1"], 64, "--args is not a JSON array or object"),
        (&["run", "code.py::add", "--timeout", "0"], 64, "--timeout is not"),
        (&["logs", "none"], 64, "job not found"),
        (&["cancel", "none"], 64, "job not found"),
        (&["jobs", "--endpoint", "abc123"], 64, "RUNPOD_API_KEY is not set"),
        (&["jobs", "--endpoint", "http://127.0.0.1:1"], 75, "does not answer"),
    ] {
        let finished = shell.run(arguments);
        assert_eq!(finished.code, code, "{finished:?}");
        assert!(finished.stderr.contains(reason), "{finished:?}");
    }
}

#[test]
fn the_key_is_sent_to_whom_it_is_for() {
    let endpoint = LocalEndpoint::options().with("FARCALL_API_KEY", "of-the-shell").start();
    let url = format!("http://{}", endpoint.address());
    let stranger = Farcall::new().with("FARCALL_ENDPOINT", &url).with("RUNPOD_API_KEY", "of-the-shell");
    let refused = stranger.run(["jobs"]);
    assert!(refused.code == 64 && refused.stderr.contains("401"), "{refused:?}");
    let listed = stranger.with("FARCALL_API_KEY", "of-the-shell").run(["jobs"]);
    assert_eq!((listed.code, listed.stdout.as_str()), (0, "no jobs\n"), "{listed:?}");
    // By its id, as on RunPod: the other key, and nothing but the platform's own routes would be needed.
    let by_id = Farcall::new()
        .with("RUNPOD_ENDPOINT_BASE_URL", &endpoint.url())
        .with("RUNPOD_API_KEY", "of-the-shell")
        .run(["jobs", "--endpoint", "abc123"]);
    assert_eq!(by_id.code, 0, "{by_id:?}");
}
