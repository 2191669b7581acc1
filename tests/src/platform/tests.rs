//! The platform against a worker and a client made of nothing but sockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Fault, Malformed, Platform, Route, Settings, Status, ViolationKind, When};

const KEY: &str = "Authorization: worker-key\r\n";

fn quick() -> Platform {
    Platform::with(Settings { poll: Duration::from_millis(50), ..Settings::default() })
}

/// Status and body of one request; None where the connection ends before.
fn call(platform: &Platform, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(platform.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let whole = length.is_none_or(|length| length == body.len().to_string());
    (read.is_ok() && whole).then(|| (head[9..12].parse().unwrap(), body.to_owned()))
}

fn take(platform: &Platform, busy: u8) -> Option<(u16, String)> {
    let path = format!("/v2/ep/job-take/w?gpu=fake&job_in_progress={busy}");
    call(platform, "GET", &path, KEY, "")
}

fn batch(platform: &Platform, count: usize) -> Value {
    let path = format!("/v2/ep/job-take-batch/w?gpu=fake&batch_size={count}&job_in_progress=0");
    serde_json::from_str(&call(platform, "GET", &path, KEY, "").unwrap().1).unwrap()
}

fn post(platform: &Platform, route: &str, job: &str, stream: bool, body: &str) -> Option<(u16, String)> {
    let path = format!("/v2/ep/{route}/w/{job}?gpu=fake&isStream={stream}");
    let headers = format!(
        "{KEY}Content-Type: application/x-www-form-urlencoded\r\ncharset: utf-8\r\nX-Request-ID: {job}\r\n"
    );
    call(platform, "POST", &path, &headers, body)
}

fn done(platform: &Platform, job: &str, body: &str) -> Option<(u16, String)> {
    post(platform, "job-done", job, false, body)
}

fn ping(platform: &Platform, jobs: &str) {
    let path = format!("/v2/ep/ping/w?gpu=fake{jobs}&runpod_version=1.12.0");
    call(platform, "GET", &path, KEY, "").unwrap();
}

fn client(platform: &Platform, method: &str, path: &str, body: &str) -> Value {
    serde_json::from_str(&call(platform, method, path, "", body).unwrap().1).unwrap()
}

fn kinds(platform: &Platform) -> Vec<ViolationKind> {
    platform.violations().iter().map(|violation| violation.kind).collect()
}

#[test]
fn a_job_is_queued_taken_and_answered() {
    let platform = quick();
    let posted = client(&platform, "POST", "/v2/ep/run", r#"{"input": {"x": 1}, "webhook": "h"}"#);
    let id = posted["id"].as_str().unwrap();
    assert_eq!(posted["status"], "IN_QUEUE");
    let (code, body) = take(&platform, 0).unwrap();
    let job: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &job), (200, &json!({ "id": id, "input": { "x": 1 }, "webhook": "h" })));
    assert_eq!(platform.status(id), Status::InProgress);
    ping(&platform, &format!("&job_id={id}"));
    done(&platform, id, r#"{"output": [1, null]}"#).unwrap();
    let status = client(&platform, "GET", &format!("/ai/ep/status/{id}"), "");
    assert_eq!((&status["status"], &status["output"]), (&json!("COMPLETED"), &json!([1, null])));
    assert!(status["delayTime"].is_u64() && status["executionTime"].is_u64() && status["workerId"] == "w");
    assert_eq!(platform.requests_on(Route::Done)[0].json(), json!({ "output": [1, null] }));
    platform.assert_no_violations();
}

#[test]
fn a_take_is_woken_by_a_job_and_empty_after_its_time() {
    let platform = quick();
    assert_eq!(take(&platform, 0), Some((204, String::new())));
    let platform = Platform::with(Settings { poll: Duration::from_mins(1), ..Settings::default() });
    let taken = std::thread::scope(|scope| {
        let taken = scope.spawn(|| take(&platform, 0));
        assert!(crate::wait_until(|| !platform.requests_on(Route::Take).is_empty()));
        platform.submit(&json!({ "x": 1 }));
        taken.join().unwrap()
    });
    assert_eq!(taken.unwrap().0, 200);
}

#[test]
fn an_empty_input_is_left_out_and_a_batch_is_a_list() {
    let platform = quick();
    let first = platform.submit(&json!({}));
    let rest = platform.submit_many(3, &json!({ "x": 1 }));
    let two = json!([{ "id": first }, { "id": rest[0], "input": { "x": 1 } }]);
    assert_eq!(batch(&platform, 2), two);
    assert_eq!(batch(&platform, 4).as_array().map(Vec::len), Some(2));
}

#[test]
fn an_error_fails_the_job_and_progress_does_not_end_it() {
    let platform = quick();
    let id = platform.submit(&json!({ "x": 1 }));
    take(&platform, 0);
    done(&platform, &id, r#"{"status": "IN_PROGRESS", "output": 50}"#);
    let status = platform.job(&id);
    assert_eq!((&status["status"], &status["output"]), (&json!("IN_PROGRESS"), &json!(50)));
    done(&platform, &id, r#"{"output": {"a": 1}, "error": "E"}"#);
    let status = platform.wait(&id);
    assert_eq!(
        (&status["status"], &status["output"], &status["error"]),
        (&json!("FAILED"), &json!({"a": 1}), &json!("E"))
    );
    platform.assert_no_violations();
}

#[test]
fn chunks_reach_the_client_once() {
    let platform = quick();
    let id = platform.submit(&json!({ "x": 1 }));
    take(&platform, 0);
    post(&platform, "job-stream", &id, false, r#"{"output": 1}"#);
    let path = format!("/ai/ep/stream/{id}");
    let chunks = client(&platform, "GET", &path, "");
    assert_eq!(chunks, json!({ "status": "IN_PROGRESS", "stream": [{ "output": 1 }] }));
    post(&platform, "job-stream", &id, false, r#"{"output": null}"#);
    post(&platform, "job-done", &id, true, r#"{"output": [1, null]}"#);
    let chunks = client(&platform, "GET", &path, "");
    assert_eq!(chunks, json!({ "status": "COMPLETED", "stream": [{ "output": null }] }));
    assert_eq!(platform.streamed(&id), [json!(1), Value::Null]);
    platform.assert_no_violations();
}

#[test]
fn a_cancelled_job_is_on_the_stop_channel_once() {
    let platform = quick();
    let id = platform.submit(&json!({ "x": 1 }));
    take(&platform, 0);
    assert_eq!(client(&platform, "POST", &format!("/ai/ep/cancel/{id}"), "")["status"], "CANCELLED");
    let stop = || call(&platform, "GET", "/v2/ep/job-stop/w?gpu=fake", KEY, "").unwrap();
    assert_eq!(stop(), (200, json!({ "jobsToStop": [id] }).to_string()));
    assert_eq!(stop().0, 204);
    assert!(!platform.cancel(&id) && platform.open_jobs() == 0);
}

#[test]
fn a_job_over_its_limit_is_timed_out_and_one_nobody_names_is_queued_again() {
    let settings = Settings { requeue_after: Some(Duration::from_millis(200)), ..Settings::default() };
    let platform = Platform::with(settings);
    let limited = platform.submit_job(json!({ "input": 1, "policy": { "executionTimeout": 50 } }));
    take(&platform, 0);
    assert_eq!(platform.wait(&limited)["status"], "TIMED_OUT");
    let silent = platform.submit(&json!(2));
    take(&platform, 0);
    assert!(crate::wait_until(|| platform.requeued() == 1));
    assert!(take(&platform, 0).unwrap().1.contains(&silent));
}

#[test]
fn every_breach_is_noted() {
    use ViolationKind as Kind;
    let platform = quick();
    let id = platform.submit(&json!({ "x": 1 }));
    call(&platform, "GET", "/v2/ep/job-take/w?gpu=fake&job_in_progress=0", "Authorization: Bearer x\r\n", "");
    assert_eq!(kinds(&platform), [Kind::Authorization]);
    ping(&platform, &format!("&job_id={id}%2Cother"));
    take(&platform, 0);
    call(&platform, "GET", "/v2/ep/job-take/w", KEY, "");
    assert_eq!(kinds(&platform)[1..], [Kind::Ping, Kind::JobInProgress, Kind::Query, Kind::JobInProgress]);
    let before = platform.violations().len();
    batch(platform.with_jobs(1), 1);
    call(&platform, "POST", &format!("/v2/ep/job-done/w/{id}?gpu=fake"), KEY, r#"{"output": NaN}"#);
    let expected = [Kind::BatchSize, Kind::Headers, Kind::Headers, Kind::Headers, Kind::Query, Kind::Body];
    let seen: Vec<_> =
        kinds(&platform)[before..].iter().filter(|kind| **kind != Kind::JobInProgress).copied().collect();
    assert_eq!(seen, expected);
    let before = platform.violations().len();
    done(&platform, &id, "{}");
    done(&platform, &id, "{}");
    post(&platform, "job-stream", &id, false, r#"{"output": 1}"#);
    done(&platform, &id, r#"{"status": "IN_PROGRESS", "output": 1}"#);
    done(&platform, "nobody's", "{}");
    let expected = [Kind::SecondAnswer, Kind::AfterFinal, Kind::AfterFinal, Kind::UnknownJob];
    assert_eq!(kinds(&platform)[before..], expected);
}

#[test]
fn faults_strike_as_often_as_asked() {
    let platform = quick();
    let id = platform.submit(&json!({ "x": 1 }));
    for code in [400, 429, 500] {
        platform.fault(Route::Take, Fault::Status(code), When::Next(1));
        assert_eq!(take(&platform, 0).unwrap().0, code);
    }
    platform.fault(Route::Take, Fault::ResetBefore, When::Next(1));
    assert_eq!(take(&platform, 0), None);
    platform.fault(Route::Take, Fault::SlowBody, When::Next(1));
    assert_eq!(take(&platform, 0).unwrap().0, 200);
    for (fault, status) in [
        (Fault::ResetBefore, Status::InProgress),
        (Fault::Status(500), Status::InProgress),
        (Fault::ResetAfter, Status::Completed),
        (Fault::BrokenBody, Status::Completed),
    ] {
        platform.fault(Route::Done, fault, When::Next(1));
        let refused = matches!(fault, Fault::Status(_));
        assert_eq!(done(&platform, &id, "{}").is_some(), refused, "{fault:?}");
        assert_eq!(platform.status(&id), status, "{fault:?}");
    }
    // The first answer was lost twice, so the worker may well try again.
    assert_eq!(done(&platform, &id, "{}").unwrap().0, 200);
    platform.assert_no_violations();
    assert_eq!(platform.faults_struck(), 9);
}

#[test]
fn jobs_come_twice_or_malformed() {
    let platform = quick();
    let id = platform.submit(&json!({ "x": 1 }));
    let first = take(&platform, 0);
    platform.fault(Route::Take, Fault::Duplicate, When::Next(1));
    assert_eq!(take(&platform, 1), first);
    for (kind, body) in [
        (Malformed::NoId, r#"{"input":{"x":1}}"#),
        (Malformed::NotAnObject, "7"),
        (Malformed::NotJson, r#"{"id": "x", "#),
        (Malformed::WrongContentType, r#"{"id": "html", "input": {}}"#),
        (Malformed::Empty, ""),
    ] {
        platform.fault(Route::Take, Fault::Malformed(kind), When::Next(1));
        assert_eq!(take(&platform, 1), Some((200, body.to_owned())));
    }
    let good = platform.submit(&json!({ "x": 2 }));
    platform.fault(Route::Take, Fault::Malformed(Malformed::NotAnObject), When::Next(1));
    assert_eq!(batch(&platform, 4), json!([7, { "id": good, "input": { "x": 2 } }]));
    done(&platform, &good, "{}");
    platform.fault(Route::Take, Fault::Malformed(Malformed::NoInput), When::Next(1));
    let headless: Value = serde_json::from_str(&take(&platform, 1).unwrap().1).unwrap();
    done(&platform, headless["id"].as_str().unwrap(), r#"{"error": "no input"}"#);
    done(&platform, &id, "{}");
    assert_eq!(platform.open_jobs(), 0);
    platform.assert_no_violations();
}

#[test]
fn a_platform_that_is_gone_comes_back() {
    let platform = quick();
    platform.gone_for(Duration::from_millis(100));
    let answered = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take(&platform, 0)));
    assert!(!matches!(answered(), Ok(Some(_))));
    assert!(crate::wait_until(|| matches!(answered(), Ok(Some((204, _))))));
}

#[test]
fn endpoints_are_made_listed_and_deleted() {
    let platform = quick();
    let body =
        json!({ "query": "mutation { saveEndpoint }", "variables": { "input": { "name": "live-1" } } });
    let made = client(&platform, "POST", "/graphql", &body.to_string());
    let id = made["data"]["saveEndpoint"]["id"].as_str().unwrap();
    let listed = client(&platform, "GET", "/v2/serverless", "");
    assert!(listed["endpoints"].as_array().unwrap().iter().any(|endpoint| endpoint["name"] == "live-1"));
    let posted = client(&platform, "POST", &format!("/ai/{id}/run"), r#"{"input": 1}"#);
    assert!(take(&platform, 0).unwrap().1.contains(posted["id"].as_str().unwrap()));
    call(&platform, "DELETE", &format!("/v2/serverless/{id}"), "", "");
    assert_eq!(call(&platform, "POST", &format!("/ai/{id}/run"), "", r#"{"input": 1}"#).unwrap().0, 404);
}

impl Platform {
    fn with_jobs(&self, count: usize) -> &Self {
        self.submit_many(count, &json!({ "x": 1 }));
        self
    }
}
