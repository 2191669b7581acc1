//! Clients submit, cancel, retry and read while the endpoint is killed again and again: every job whose id a client
//! has is accounted for. A minute, or `FARCALL_KILL_LOOP_S`.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::{Connection, LocalEndpoint, function};
use serde_json::{Value, json};

const CLIENTS: u64 = 4;

const WORK: &str = "\
import time
def work(number, padding):
    print('working on', number)
    time.sleep(number % 7 / 200)
    return number * 2";

/// What clients know of a job.
#[derive(Debug, Default)]
struct Known {
    number: u64,
    /// A client was told that it is cancelled.
    was_cancelled: bool,
    /// A client has asked for it to be run again, and may or may not have been heard.
    may_run_again: bool,
    /// The document of its end, as it was read first.
    end: Option<Value>,
}

/// All that clients know.
#[derive(Debug, Default)]
struct Ledger {
    jobs: HashMap<String, Known>,
    order: Vec<String>,
}

impl Ledger {
    fn note(&mut self, id: &str, number: u64) {
        self.jobs.insert(id.to_owned(), Known { number, ..Known::default() });
        self.order.push(id.to_owned());
    }

    /// A job's document was read: its end is the same for ever, unless somebody has it run again.
    fn read(&mut self, id: &str, document: &Value) {
        let known = self.jobs.get_mut(id).expect("it was noted");
        if known.may_run_again || !is_final(document) {
            let seen = known.end.as_ref().filter(|_| !known.may_run_again);
            assert!(seen.is_none(), "{id} had ended, and has not any more: {seen:?}, {document}");
            return;
        }
        if document["status"] == "COMPLETED" {
            assert_eq!(document["output"]["json_result"], known.number * 2, "{document}");
            assert!(!known.was_cancelled, "{id} was cancelled, and is completed: {document}");
        }
        // What a cancelled call had printed comes a little later.
        let end = known.end.get_or_insert_with(|| document.clone());
        let fields = ["status", "error", "delayTime", "executionTime"];
        fields.iter().for_each(|field| assert_eq!(end[field], document[field], "{id}: {end}, {document}"));
    }
}

fn is_final(document: &Value) -> bool {
    !matches!(document["status"].as_str(), Some("IN_QUEUE" | "IN_PROGRESS"))
}

/// One client: random, the same at every run.
struct Client<'a> {
    endpoint: std::net::SocketAddr,
    connection: Option<Connection>,
    random: u64,
    ledger: &'a Mutex<Ledger>,
    answers: &'a AtomicU64,
}

impl Client<'_> {
    fn below(&mut self, limit: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    /// An answer, unless the endpoint is gone.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::try_open(self.endpoint).ok().or_else(|| {
                std::thread::sleep(Duration::from_millis(20));
                None
            })?,
        };
        let answer = connection.try_ask(method, &format!("/v2/test/{path}"), body.as_bytes()).ok()?;
        self.connection = Some(connection);
        self.answers.fetch_add(1, Ordering::Relaxed);
        Some((answer.status, serde_json::from_slice(&answer.body).expect("answers are JSON")))
    }

    fn some_job(&mut self) -> Option<String> {
        let ledger = self.ledger.lock().unwrap();
        let count = ledger.order.len() as u64;
        drop(ledger);
        let latest = if count == 0 { return None } else { self.below(count.min(50)) };
        self.ledger.lock().unwrap().order.iter().rev().nth(usize::try_from(latest).unwrap()).cloned()
    }

    fn step(&mut self) {
        match self.below(10) {
            0..4 => self.submit("run"),
            4 => self.submit("runsync"),
            5..8 => self.read(),
            8 => self.cancel(),
            _ => self.retry(),
        }
    }

    fn submit(&mut self, route: &str) {
        let number = self.below(1_000_000);
        // Some requests are too large for the database.
        let padding = "x".repeat(if number.is_multiple_of(20) { 100_000 } else { 10 });
        let input = function("work", WORK).args(json!([number, padding])).input();
        let Some((status, answer)) = self.ask("POST", route, &json!({"input": input}).to_string()) else {
            return;
        };
        assert_eq!(status, 200, "{answer}");
        let id = answer["id"].as_str().expect("a job has an id");
        let mut ledger = self.ledger.lock().unwrap();
        ledger.note(id, number);
        ledger.read(id, &answer);
    }

    fn read(&mut self) {
        let Some(id) = self.some_job() else { return };
        // Who asks for another run meanwhile makes both answers right.
        let before = self.ledger.lock().unwrap().jobs[&id].may_run_again;
        let Some((status, document)) = self.ask("GET", &format!("status/{id}"), "") else { return };
        assert_eq!(status, 200, "{id} is lost: {document}");
        let mut ledger = self.ledger.lock().unwrap();
        if ledger.jobs[&id].may_run_again == before {
            ledger.read(&id, &document);
        }
    }

    fn cancel(&mut self) {
        let Some(id) = self.some_job() else { return };
        let Some((status, answer)) = self.ask("POST", &format!("cancel/{id}"), "") else { return };
        assert_eq!(status, 200, "{id} is lost: {answer}");
        if answer["status"] == "CANCELLED" {
            let mut ledger = self.ledger.lock().unwrap();
            let known = ledger.jobs.get_mut(&id).unwrap();
            known.was_cancelled = !known.may_run_again;
        }
    }

    fn retry(&mut self) {
        let Some(id) = self.some_job() else { return };
        {
            let mut ledger = self.ledger.lock().unwrap();
            let known = ledger.jobs.get_mut(&id).unwrap();
            known.may_run_again = true;
            (known.was_cancelled, known.end) = (false, None);
        }
        let Some((status, answer)) = self.ask("POST", &format!("retry/{id}"), "") else { return };
        // 400: it is completed, or has not ended.
        assert!(matches!(status, 200 | 400), "{id}: {status} {answer}");
    }
}

#[test]
fn every_acknowledged_job_is_accounted_for() {
    let seconds =
        std::env::var("FARCALL_KILL_LOOP_S").ok().and_then(|value| value.parse().ok()).unwrap_or(60);
    let mut endpoint = LocalEndpoint::options()
        .with("FARCALL_CONCURRENCY", "4")
        .with("FARCALL_MAX_ATTEMPTS", "1000")
        .with("FARCALL_SYNC_RETENTION_S", "86400")
        .with("FARCALL_RESULT_RETENTION_S", "86400")
        .with("FARCALL_LOG_LEVEL", "warn,farcall::serve=info")
        .start();
    let (ledger, answers, is_over) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
    let address = endpoint.address();
    let mut kills = 0;
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (ledger, answers, is_over) = (&ledger, &answers, &is_over);
            scope.spawn(move || {
                let mut client =
                    Client { endpoint: address, connection: None, random: seed, ledger, answers };
                while !is_over.load(Ordering::Relaxed) {
                    client.step();
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            // Between one and three seconds, in milliseconds.
            std::thread::sleep(Duration::from_millis(1000 + kills * 613 % 2000));
            endpoint.kill();
            endpoint.start_again();
            kills += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mut ledger = ledger.into_inner().unwrap();
    let ids = ledger.order.clone();
    assert!(ids.len() > 20, "only {} jobs in {kills} lives", ids.len());
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut ends: HashMap<String, u64> = HashMap::new();
    for id in &ids {
        let document = loop {
            let document = endpoint.status(id);
            if is_final(&document) {
                break document;
            }
            assert!(Instant::now() < deadline, "{id} never ends: {document}");
            std::thread::sleep(Duration::from_millis(5));
        };
        ledger.jobs.get_mut(id).unwrap().may_run_again &= document["status"] != "COMPLETED";
        ledger.read(id, &document);
        *ends.entry(document["status"].as_str().unwrap().to_owned()).or_default() += 1;
        let status = document["status"].as_str().unwrap();
        assert!(matches!(status, "COMPLETED" | "CANCELLED"), "{document}");
    }
    let health = endpoint.json("GET", "health", "");
    let open = &health["jobs"];
    assert!(open["inQueue"] == 0 && open["inProgress"] == 0, "{health}");
    report(kills, &ids, answers.load(Ordering::Relaxed), &ends);
}

#[expect(clippy::print_stderr, reason = "a long run by hand says what it has seen")]
fn report(kills: u64, ids: &[String], answers: u64, ends: &HashMap<String, u64>) {
    eprintln!("{kills} kills, {} jobs acknowledged, {answers} answers, {ends:?}", ids.len());
}
