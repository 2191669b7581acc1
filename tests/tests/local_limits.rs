//! What the local endpoint bounds: bodies, the queue, the time jobs take and live, how long results are kept.

use e2e::{LocalEndpoint, Request, function, wait_until};
use serde_json::{Value, json};

fn hold(endpoint: &LocalEndpoint) -> Request {
    let code = "\
import os, time
def hold(end):
    print('holding', flush=True)
    while not os.path.exists(end):
        time.sleep(0.01)";
    function("hold", code).args(json!([endpoint.path("end").display().to_string()]))
}

fn quick() -> Request {
    function("f", "def f(): return 1")
}

#[test]
fn bodies_over_the_limits_are_refused() {
    let endpoint = LocalEndpoint::options()
        .with("FARCALL_RUN_BODY_MB", "1")
        .with("FARCALL_RUNSYNC_BODY_MB", "2")
        .start();
    let job = |bytes: usize| {
        json!({"input": function("f", "def f(x): return len(x)").args(json!(["x".repeat(bytes)])).input()})
            .to_string()
    };
    let refused = endpoint.ask("POST", "run", &job(1 << 20));
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("FARCALL_RUN_BODY_MB"), "{}", refused.text());
    assert_eq!(endpoint.json("POST", "runsync", &job(1 << 20))["output"]["json_result"], 1 << 20);
    assert_eq!(endpoint.ask("POST", "runsync", &job(2 << 20)).status, 413);
}

#[test]
fn a_full_queue_refuses_jobs_until_there_is_room() {
    let endpoint = LocalEndpoint::options().with("FARCALL_MAX_QUEUED_JOBS", "2").start();
    let jobs: Vec<String> = (0..3).map(|_| endpoint.run(&hold(&endpoint))).collect();
    let job = json!({"input": quick().input()}).to_string();
    let refused = endpoint.ask("POST", "run", &job);
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.text().contains("2 jobs wait already"), "{}", refused.text());
    endpoint.touch("end");
    jobs.iter().for_each(|id| drop(endpoint.await_status(id, "COMPLETED")));
    assert_eq!(endpoint.ask("POST", "run", &job).status, 200);
}

#[test]
fn a_call_over_its_time_is_ended_and_says_where_it_was() {
    let endpoint = LocalEndpoint::start();
    let id = endpoint.submit(&json!({"input": hold(&endpoint).input(), "policy": {"executionTimeout": 300}}));
    let document = endpoint.await_status(&id, "TIMED_OUT");
    assert!(document["error"].as_str().unwrap().contains("0.3"), "{document}");
    assert_eq!(document["output"]["stdout"], "holding\n", "{document}");
}

#[test]
fn a_job_over_its_time_to_live_ends_waiting_or_running() {
    let endpoint = LocalEndpoint::start();
    let job = json!({"input": hold(&endpoint).input(), "policy": {"ttl": 500}});
    let (running, waiting) = (endpoint.submit(&job), endpoint.submit(&job));
    for id in [&running, &waiting] {
        let document = endpoint.await_status(id, "TIMED_OUT");
        assert!(document["error"].as_str().unwrap().contains("policy.ttl"), "{document}");
    }
    // Nothing of them holds the runner.
    assert_eq!(endpoint.runsync(&quick())["status"], "COMPLETED");
}

#[test]
fn results_go_when_their_time_is_over() {
    let endpoint = LocalEndpoint::options()
        .with("FARCALL_RESULT_RETENTION_S", "600")
        .with("FARCALL_SYNC_RETENTION_S", "1")
        .start();
    let large = function("f", "def f(x): return x").args(json!(["x".repeat(100_000)]));
    let kept = endpoint.run(&quick());
    let document = endpoint.runsync(&large);
    let id = document["id"].as_str().unwrap();
    assert_eq!(endpoint.status(id), document);
    let payloads = || std::fs::read_dir(endpoint.path("data/queue/payloads")).unwrap().count();
    assert_eq!(payloads(), 2, "request and result");
    assert!(wait_until(|| endpoint.ask("GET", &format!("status/{id}"), "").status == 404));
    assert!(wait_until(|| payloads() == 0), "{} files are left", payloads());
    endpoint.await_status(&kept, "COMPLETED");
    let counts = endpoint.json("GET", "health", "");
    assert_eq!(counts["jobs"]["completed"], 1, "{counts}");
}

#[test]
fn thousands_of_waiting_jobs_keep_their_order() {
    const JOBS: usize = 2000;
    let endpoint = LocalEndpoint::start();
    let first = endpoint.run(&hold(&endpoint));
    let code = "def note(path, number):\n    open(path, 'a').write(f'{number}\\n')";
    let order = endpoint.path("order").display().to_string();
    let mut connection = endpoint.connect();
    for number in 0..JOBS {
        let job = json!({"input": function("note", code).args(json!([order, number])).input()});
        let answer = connection.ask("POST", "/v2/test/run", &[], job.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let listed = endpoint.json("GET", "jobs?status=IN_QUEUE&limit=1000", "");
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(1000));
    assert_eq!(listed["counts"]["IN_QUEUE"], JOBS);
    // So many are found by another way than a few.
    let found = endpoint.json("GET", "jobs?search=not&limit=1000", "");
    let ids = |page: &Value| -> Vec<Value> {
        page["jobs"].as_array().unwrap().iter().map(|job| job["id"].clone()).collect()
    };
    assert!(ids(&found).len() == 1000 && ids(&found) == ids(&listed), "the latest, in their order");
    assert_eq!(endpoint.json("GET", "jobs?search=hold", "")["jobs"][0]["id"], first.as_str());
    endpoint.touch("end");
    endpoint.await_status(&first, "COMPLETED");
    let all_ended = || endpoint.json("GET", "health", "")["jobs"]["completed"] == JOBS + 1;
    assert!((0..6).any(|_| wait_until(all_ended)), "{}", endpoint.json("GET", "health", ""));
    let written = std::fs::read_to_string(endpoint.path("order")).unwrap();
    let expected: String = (0..JOBS).map(|number| format!("{number}\n")).collect();
    assert_eq!(written, expected);
}

#[test]
fn output_beyond_the_limit_is_left_out_of_the_events() {
    let endpoint = LocalEndpoint::options().with("FARCALL_MAX_OUTPUT_KB", "64").start();
    let code = "def f():\n    for i in range(40):\n        print('x' * 10_000, flush=True)";
    let document = endpoint.runsync(&function("f", code));
    let events = endpoint.events(document["id"].as_str().unwrap(), "").rest();
    let told: usize = events.iter().map(|event| event.output().len()).sum();
    assert!(told < 300_000, "{told}");
    let is_said = |event: &e2e::Event| event.output().contains("the answer has the rest");
    assert_eq!(events.iter().filter(|event| is_said(event)).count(), 1);
    assert_eq!(document["status"], Value::from("COMPLETED"));
}
