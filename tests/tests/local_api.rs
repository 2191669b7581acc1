//! The local endpoint's API: what clients made for `RunPod` send and read, and what is ours.

use e2e::{LocalEndpoint, Request, function};
use serde_json::{Value, json};

const ADD: &str = "def add(a, b):\n    print('adding')\n    return a + b";

/// Prints, says that it has begun, and goes on until a file is there.
const HOLD: &str = "\
import os, time
def hold(begun, end):
    print('holding', flush=True)
    open(begun, 'w').write('x')
    while not os.path.exists(end):
        time.sleep(0.01)
    return 'let go'";

const COUNT: &str = "def count(n):\n    for i in range(n):\n        print(i)\n        yield i";

fn add() -> Request {
    function("add", ADD).args(json!([1, 2]))
}

fn hold(endpoint: &LocalEndpoint, name: &str) -> Request {
    let file = |kind: &str| endpoint.path(&format!("{name}-{kind}")).display().to_string();
    function("hold", HOLD).args(json!([file("begun"), file("end")]))
}

/// A document without what differs from run to run.
fn stable(mut document: Value) -> Value {
    for field in ["id", "delayTime", "executionTime", "createdAt", "startedAt", "finishedAt"] {
        if document.get(field).is_some_and(|value| !value.is_null()) {
            document[field] = format!("[{field}]").into();
        }
    }
    document
}

#[test]
fn runsync_answers_with_the_jobs_document() {
    let endpoint = LocalEndpoint::start();
    let document = endpoint.runsync(&add());
    assert!(document["id"].as_str().unwrap().starts_with("sync-"), "{document}");
    assert!(document["delayTime"].is_u64() && document["executionTime"].is_u64(), "{document}");
    insta::assert_json_snapshot!(stable(document), @r#"
    {
      "delayTime": "[delayTime]",
      "executionTime": "[executionTime]",
      "id": "[id]",
      "output": {
        "success": true,
        "result": null,
        "json_result": 3,
        "stdout": "adding\n",
        "instance_id": null,
        "instance_info": null
      },
      "status": "COMPLETED",
      "workerId": "local"
    }
    "#);
}

#[test]
fn a_job_is_queued_then_runs_then_is_completed() {
    let endpoint = LocalEndpoint::start();
    let first = endpoint.run(&hold(&endpoint, "a"));
    endpoint.await_file("a-begun");
    let second = endpoint.run(&add());
    insta::assert_json_snapshot!(stable(endpoint.status(&second)), @r#"
    {
      "id": "[id]",
      "status": "IN_QUEUE"
    }
    "#);
    insta::assert_json_snapshot!(stable(endpoint.status(&first)), @r#"
    {
      "delayTime": "[delayTime]",
      "id": "[id]",
      "status": "IN_PROGRESS",
      "workerId": "local"
    }
    "#);
    let counts = &endpoint.json("GET", "health", "")["jobs"];
    assert_eq!((&counts["inQueue"], &counts["inProgress"]), (&json!(1), &json!(1)));
    endpoint.touch("a-end");
    assert_eq!(endpoint.await_status(&first, "COMPLETED")["output"]["json_result"], "let go");
    assert_eq!(endpoint.await_status(&second, "COMPLETED")["output"]["json_result"], 3);
}

#[test]
fn a_call_that_raises_fails_its_job_and_keeps_what_it_printed() {
    let endpoint = LocalEndpoint::start();
    let document =
        endpoint.runsync(&function("f", "def f():\n    print('so far')\n    raise ValueError('no')"));
    assert_eq!(document["status"], "FAILED");
    assert!(document["error"].as_str().unwrap().contains("ValueError: no"), "{document}");
    assert_eq!(document["output"]["stdout"], "so far\n");
    let rejected = endpoint.json("POST", "runsync", r#"{"input": {"prompt": "x"}}"#);
    assert_eq!(rejected["status"], "FAILED");
    assert!(rejected["error"].as_str().unwrap().contains("function_name is required"), "{rejected}");
}

#[test]
fn what_a_generator_yields_is_streamed_once_and_answered_whole() {
    let endpoint = LocalEndpoint::start();
    let id = endpoint.run(&function("count", COUNT).args(json!([3])));
    let document = endpoint.await_status(&id, "COMPLETED");
    let envelope = |item: u32| json!({"success": true, "__stream__": true, "json_result": item});
    assert_eq!(document["output"], json!([envelope(0), envelope(1), envelope(2)]));
    let stream = endpoint.json("GET", &format!("stream/{id}"), "");
    let chunks: Vec<Value> = (0..3).map(|item| json!({"output": envelope(item)})).collect();
    assert_eq!(stream, json!({"status": "COMPLETED", "stream": chunks}));
    assert_eq!(endpoint.json("POST", &format!("stream/{id}"), "")["stream"], json!([]));
}

#[test]
fn a_stream_that_fails_ends_with_the_error() {
    let endpoint = LocalEndpoint::start();
    let id = endpoint.run(&function("f", "def f():\n    yield 1\n    raise ValueError('dry')"));
    let document = endpoint.await_status(&id, "FAILED");
    assert!(document["error"].as_str().unwrap().contains("dry"), "{document}");
    let stream = endpoint.json("GET", &format!("stream/{id}"), "");
    assert_eq!(stream["stream"][0]["output"]["json_result"], 1);
    let last = &stream["stream"][1]["output"];
    assert!(last["success"] == false && last["error"].as_str().unwrap().contains("dry"), "{stream}");
}

#[test]
fn events_are_told_as_they_happen_and_again_from_any_of_them() {
    let endpoint = LocalEndpoint::start();
    let id = endpoint.run(&hold(&endpoint, "a"));
    let mut live = endpoint.events(&id, "");
    let output = std::iter::from_fn(|| live.next_event()).find(|event| event.name == "output").unwrap();
    assert_eq!((output.output(), output.id.as_deref()), ("holding\n", Some("1-1")));
    endpoint.touch("a-end");
    let last = live.rest().pop().unwrap();
    assert_eq!((last.name.as_str(), &last.data["status"]), ("status", &json!("COMPLETED")));
    let names = |offset: &str| -> Vec<String> {
        endpoint.events(&id, offset).rest().into_iter().map(|event| event.name).collect()
    };
    assert_eq!(names(""), ["output", "status"]);
    assert_eq!(names("1-1"), ["status"]);
    let again =
        endpoint.connect().watch(&format!("/v2/test/events/{id}"), &[("last-event-id", "1-1")]).rest();
    assert_eq!(again.len(), 1);
    assert_eq!(endpoint.ask("GET", &format!("events/{id}?offset=x"), "").status, 400);
}

#[test]
fn a_running_job_is_cancelled_for_real_and_its_output_kept() {
    let endpoint = LocalEndpoint::start();
    let id = endpoint.run(&hold(&endpoint, "a"));
    endpoint.await_file("a-begun");
    assert_eq!(endpoint.json("POST", &format!("cancel/{id}"), ""), json!({"id": id, "status": "CANCELLED"}));
    assert_eq!(endpoint.status(&id)["status"], "CANCELLED");
    // The runner is free for the next one, and what the first had printed is not lost.
    assert_eq!(endpoint.runsync(&add())["status"], "COMPLETED");
    let document = endpoint.await_status(&id, "CANCELLED");
    assert_eq!(document["output"]["stdout"], "holding\n", "{document}");
    assert_eq!(document["error"], "the job was cancelled");
    let events = endpoint.events(&id, "").rest();
    assert_eq!(events.iter().map(e2e::Event::output).collect::<String>(), "holding\n");
}

#[test]
fn a_waiting_job_is_cancelled_without_running_and_an_ended_one_stays() {
    let endpoint = LocalEndpoint::start();
    let running = endpoint.run(&hold(&endpoint, "a"));
    endpoint.await_file("a-begun");
    let waiting = endpoint.run(&hold(&endpoint, "b"));
    endpoint.json("POST", &format!("cancel/{waiting}"), "");
    endpoint.touch("a-end");
    endpoint.await_status(&running, "COMPLETED");
    assert_eq!(endpoint.json("POST", &format!("cancel/{running}"), "")["status"], "COMPLETED");
    assert_eq!(endpoint.status(&waiting)["status"], "CANCELLED");
    assert!(!endpoint.path("b-begun").exists());
}

#[test]
fn what_failed_is_run_again_when_asked() {
    let endpoint = LocalEndpoint::start();
    let (flag, code) =
        (endpoint.path("flag"), "import os\ndef f(flag):\n    assert os.path.exists(flag)\n    return 1");
    let id = endpoint.run(&function("f", code).args(json!([flag.display().to_string()])));
    endpoint.await_status(&id, "FAILED");
    endpoint.touch("flag");
    assert_eq!(endpoint.json("POST", &format!("retry/{id}"), ""), json!({"id": id, "status": "IN_QUEUE"}));
    let document = endpoint.await_status(&id, "COMPLETED");
    assert!(document.get("error").is_none(), "{document}");
    let again = endpoint.ask("POST", &format!("retry/{id}"), "");
    assert_eq!(again.status, 400);
    assert!(again.text().contains("the job is COMPLETED"), "{}", again.text());
}

#[test]
fn purging_cancels_what_waits_and_nothing_else() {
    let endpoint = LocalEndpoint::start();
    let running = endpoint.run(&hold(&endpoint, "a"));
    endpoint.await_file("a-begun");
    let waiting: Vec<String> = (0..3).map(|_| endpoint.run(&add())).collect();
    let purged = endpoint.json("POST", "purge-queue", "");
    assert_eq!(purged, json!({"removed": 3, "status": "completed"}));
    endpoint.touch("a-end");
    endpoint.await_status(&running, "COMPLETED");
    for id in waiting {
        assert_eq!(endpoint.status(&id)["status"], "CANCELLED");
    }
}

#[test]
fn jobs_of_low_priority_wait_for_the_others() {
    let endpoint = LocalEndpoint::start();
    let first = endpoint.run(&hold(&endpoint, "a"));
    endpoint.await_file("a-begun");
    let note = |name: &str| {
        let code = "def note(path, name):\n    open(path, 'a').write(name)";
        let path = endpoint.path("order").display().to_string();
        function("note", code).args(json!([path, name])).input()
    };
    let low = endpoint.submit(&json!({"input": note("low"), "policy": {"lowPriority": true}}));
    let high = endpoint.submit(&json!({"input": note("high,")}));
    endpoint.touch("a-end");
    for id in [first, low, high] {
        endpoint.await_status(&id, "COMPLETED");
    }
    assert_eq!(std::fs::read_to_string(endpoint.path("order")).unwrap(), "high,low");
}

#[test]
fn runsync_returns_the_id_when_its_wait_is_over() {
    let endpoint = LocalEndpoint::start();
    let job = json!({"input": hold(&endpoint, "a").input()}).to_string();
    let document = endpoint.json("POST", "runsync?wait=1000", &job);
    assert_eq!(document["status"], "IN_PROGRESS", "{document}");
    endpoint.touch("a-end");
    endpoint.await_status(document["id"].as_str().unwrap(), "COMPLETED");
    assert_eq!(endpoint.ask("POST", "runsync?wait=soon", &job).status, 400);
}

#[test]
fn jobs_are_listed_latest_first_filtered_and_page_by_page() {
    let endpoint = LocalEndpoint::start();
    let failing = endpoint.run(&function("fails", "def fails(): raise ValueError('no\\nluck')"));
    endpoint.await_status(&failing, "FAILED");
    for _ in 0..3 {
        endpoint.runsync(&add());
    }
    let names = |query: &str| -> Vec<Value> {
        let page = endpoint.json("GET", &format!("jobs?{query}"), "");
        page["jobs"].as_array().unwrap().iter().map(|job| job["name"].clone()).collect()
    };
    assert_eq!(names(""), ["add", "add", "add", "fails"]);
    assert_eq!(names("status=FAILED"), ["fails"]);
    assert_eq!(names("search=fa"), ["fails"]);
    assert_eq!(names(&format!("search={}", &failing[..8])), ["fails"]);
    assert_eq!(names("search=%25"), Vec::<Value>::new());
    let first = endpoint.json("GET", "jobs?limit=3", "");
    assert_eq!(first["counts"]["COMPLETED"], 3);
    let next = endpoint.json("GET", &format!("jobs?limit=3&before={}", first["next"]), "");
    insta::assert_json_snapshot!(stable(next["jobs"][0].clone()), @r#"
    {
      "id": "[id]",
      "name": "fails",
      "status": "FAILED",
      "createdAt": "[createdAt]",
      "startedAt": "[startedAt]",
      "finishedAt": "[finishedAt]",
      "delayTime": "[delayTime]",
      "executionTime": "[executionTime]",
      "attempts": 1,
      "retries": 0,
      "lowPriority": false,
      "sync": false,
      "inputBytes": 144,
      "error": "ValueError: no"
    }
    "#);
    assert_eq!(next["next"], Value::Null);
    assert_eq!(endpoint.ask("GET", "jobs?status=LOST", "").status, 400);
    assert_eq!(endpoint.json("GET", &format!("request/{failing}"), "")["function_name"], "fails");
}

#[test]
fn health_and_metrics_have_what_clients_parse() {
    let endpoint = LocalEndpoint::options().with("FARCALL_CONCURRENCY", "2").start();
    insta::assert_json_snapshot!(endpoint.json("GET", "health", ""), @r#"
    {
      "jobs": {
        "completed": 0,
        "failed": 0,
        "inProgress": 0,
        "inQueue": 0,
        "retried": 0,
        "cancelled": 0,
        "timedOut": 0
      },
      "workers": {
        "idle": 2,
        "initializing": 0,
        "ready": 2,
        "running": 0,
        "throttled": 0,
        "unhealthy": 0
      }
    }
    "#);
    let metrics = endpoint.json("GET", "metrics", "");
    assert_eq!((&metrics["readyWorkers"], &metrics["workers"]["idle"]), (&json!(2), &json!(2)));
    let worker = endpoint.json("GET", "worker", "");
    assert!(
        worker["runners"]
            .as_array()
            .unwrap()
            .iter()
            .all(|runner| runner["memoryBytes"].as_u64() > Some(1 << 20))
    );
    assert_eq!(endpoint.json("GET", "environments", ""), json!({"environments": []}));
}

#[test]
fn what_is_unknown_is_not_found() {
    let endpoint = LocalEndpoint::options().with("FARCALL_ENDPOINT_ID", "mine").start();
    let mut connection = endpoint.connect();
    let mut refused = |method: &str, path: &str| {
        let answer = connection.ask(method, path, &[], b"{}");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused("GET", "/v2/mine/status/none"), "job not found");
    assert_eq!(refused("GET", "/v2/mine/stream/none"), "job not found");
    assert_eq!(refused("GET", "/v2/mine/events/none"), "job not found");
    assert_eq!(refused("POST", "/v2/mine/cancel/none"), "job not found");
    assert_eq!(refused("POST", "/v2/mine/retry/none"), "job not found");
    assert_eq!(refused("POST", "/v2/other/run"), "endpoint not found");
    assert!(refused("GET", "/v3").starts_with("no such route"));
}

#[test]
fn neighbours_are_called_by_flash_runsync() {
    let endpoint = LocalEndpoint::options().with("FARCALL_ENDPOINT_ID", "mine").start();
    let body = json!({"input": add().input()}).to_string();
    for path in ["/flash/runsync", "/v2/flash/runsync"] {
        let headers = [("x-flash-endpoint", "mine"), ("x-flash-app", "app")];
        let answer = endpoint.connect().ask("POST", path, &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("\"json_result\":3"));
    }
    let other =
        endpoint.connect().ask("POST", "/flash/runsync", &[("x-flash-endpoint", "x")], body.as_bytes());
    assert_eq!(other.status, 404);
}

#[test]
fn the_workers_own_routes_and_the_pages_are_there() {
    let endpoint = LocalEndpoint::start();
    let mut connection = endpoint.connect();
    assert!(connection.execute(&add()).call().success);
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/openapi.json", "application/json"),
    ] {
        let answer = connection.ask("GET", path, &[], b"");
        let header =
            |name: &str| answer.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        assert_eq!((answer.status, header("content-type")), (200, Some(content_type)));
        if content_type.starts_with("text/html") {
            let policy = header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        }
    }
}

#[test]
fn what_is_no_job_is_refused() {
    let endpoint = LocalEndpoint::start();
    for body in ["", "x", "{}", r#"{"input": 5}"#, r#"{"input": {}, "webhook": "ftp://x"}"#] {
        let answer = endpoint.ask("POST", "run", body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
}
