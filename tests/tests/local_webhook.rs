//! Webhooks of the local endpoint, with a receiver on loopback.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use e2e::{LocalEndpoint, Python, function, wait_until};
use serde_json::{Value, json};

/// A receiver: what was posted to it, headers in lower case.
#[derive(Debug, Clone, Default)]
struct Receiver(Arc<Mutex<Vec<(String, String)>>>);

impl Receiver {
    /// Listens; answers with these status codes in turn, then with 200. Returns its URL.
    fn start(&self, port: u16, statuses: &'static [u16]) -> String {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = self.clone();
        std::thread::spawn(move || {
            let mut statuses = statuses.iter().copied();
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if stream.read_line(&mut head).unwrap_or(0) == 0 {
                        break;
                    }
                }
                let head = head.to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).unwrap();
                receiver.0.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
                let status = statuses.next().unwrap_or(200);
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.get_mut().write_all(answer.as_bytes());
            }
        });
        url
    }

    #[track_caller]
    fn await_posts(&self, count: usize) -> Vec<(String, String)> {
        let posts = || self.0.lock().unwrap().clone();
        assert!(wait_until(|| posts().len() >= count), "{} of {count} posts", posts().len());
        posts()
    }
}

fn job(webhook: &str, code: &str) -> Value {
    json!({"input": function("f", code).input(), "webhook": webhook})
}

#[test]
fn a_webhook_gets_the_document_signed_until_it_takes_it() {
    let receiver = Receiver::default();
    let url = receiver.start(0, &[500]);
    let endpoint = LocalEndpoint::options().with("FARCALL_WEBHOOK_SECRET", "s3cret").start();
    let id =
        endpoint.submit(&job(&url, "import os\ndef f(): return os.environ.get('FARCALL_WEBHOOK_SECRET')"));
    let document = endpoint.await_status(&id, "COMPLETED");
    assert_eq!(document["output"]["json_result"], Value::Null, "user code does not see the secret");
    let posts = receiver.await_posts(2);
    for (head, body) in &posts {
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), document);
        let signature = head.lines().find_map(|line| line.strip_prefix("farcall-signature: ")).unwrap();
        let program = format!(
            "import hashlib, hmac\nt, v = [part.split('=')[1] for part in {signature:?}.split(',')]\n\
             body = bytes.fromhex({:?})\n\
             assert hmac.new(b's3cret', t.encode() + b'.' + body, hashlib.sha256).hexdigest() == v",
            body.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()
        );
        Python::under_test().run(&program);
    }
}

#[test]
fn every_end_is_told() {
    let receiver = Receiver::default();
    let url = receiver.start(0, &[]);
    let endpoint = LocalEndpoint::start();
    let failed = endpoint.submit(&job(&url, "def f(): raise ValueError('no')"));
    endpoint.await_status(&failed, "FAILED");
    let running = endpoint.submit(&job(&url, "import time\ndef f(): time.sleep(60)"));
    endpoint.await_status(&running, "IN_PROGRESS");
    let waiting = endpoint.submit(&job(&url, "def f(): pass"));
    endpoint.json("POST", "purge-queue", "");
    endpoint.json("POST", &format!("cancel/{running}"), "");
    let told = receiver.await_posts(3).into_iter().map(|(_, body)| {
        let document: Value = serde_json::from_str(&body).unwrap();
        (document["id"].as_str().unwrap().to_owned(), document["status"].as_str().unwrap().to_owned())
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    let mut expected =
        [(failed, "FAILED".to_owned()), (running, "CANCELLED".to_owned()), (waiting, "CANCELLED".to_owned())];
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn a_webhook_that_was_not_called_is_called_after_the_next_start() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut endpoint = LocalEndpoint::start();
    let id = endpoint.submit(&job(&format!("http://127.0.0.1:{port}/hook"), "def f(): return 1"));
    endpoint.await_status(&id, "COMPLETED");
    assert!(wait_until(|| endpoint.log().contains("webhook not called")), "{}", endpoint.log());
    endpoint.kill();
    let receiver = Receiver::default();
    receiver.start(port, &[]);
    endpoint.start_again();
    let posts = receiver.await_posts(1);
    assert!(posts[0].1.contains(&id), "{posts:?}");
}
