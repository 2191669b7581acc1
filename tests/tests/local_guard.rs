//! Who may call the local endpoint.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use e2e::{LocalEndpoint, function};
use serde_json::json;

fn job() -> String {
    json!({"input": function("f", "def f(): return 1").input()}).to_string()
}

#[test]
fn a_key_is_asked_for_by_every_route_that_tells_or_does_something() {
    let endpoint = LocalEndpoint::options().with("FARCALL_API_KEY", "open-sesame").start();
    let ask = |headers: &[(&str, &str)], method: &str, path: &str| {
        endpoint.connect().ask(method, path, headers, job().as_bytes()).status
    };
    for (method, path) in [
        ("POST", "/v2/x/run"),
        ("POST", "/v2/x/runsync"),
        ("POST", "/flash/runsync"),
        ("POST", "/execute"),
        ("GET", "/v2/x/jobs"),
        ("GET", "/v2/x/worker"),
        ("GET", "/v2/x/status/none"),
        ("POST", "/v2/x/purge-queue"),
    ] {
        assert_eq!(ask(&[], method, path), 401, "{path}");
        assert_eq!(ask(&[("authorization", "Bearer open-sesam")], method, path), 401, "{path}");
    }
    // As 2.x clients send it, and as workers of RunPod do.
    for value in ["Bearer open-sesame", "open-sesame"] {
        assert_eq!(ask(&[("authorization", value)], "POST", "/v2/x/runsync"), 200, "{value}");
    }
    // The page asks for the key itself.
    for path in ["/", "/docs", "/openapi.json", "/ping"] {
        assert_eq!(ask(&[], "GET", path), 200, "{path}");
    }
}

#[test]
fn other_names_and_other_sites_are_refused() {
    let endpoint = LocalEndpoint::options().with("FARCALL_ALLOWED_HOSTS", "farm.example").start();
    let port = endpoint.address().port();
    let ask = |host: &str, origin: Option<&str>| {
        let mut headers = vec![("host", host)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        ask_as(&endpoint, &headers)
    };
    for host in [format!("127.0.0.1:{port}"), "localhost".into(), "[::1]:80".into(), "FARM.example".into()] {
        assert_eq!(ask(&host, None), 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""] {
        assert_eq!(ask(host, None), 403, "{host}");
    }
    // A page of another site that posts here, with and without a name for itself.
    for origin in ["https://evil.example", "http://localhost:1", "null"] {
        assert_eq!(ask("localhost", Some(origin)), 403, "{origin}");
    }
    assert_eq!(ask("localhost", Some("http://localhost")), 200);
}

/// Submits a job with exactly these headers, and returns the status.
fn ask_as(endpoint: &LocalEndpoint, headers: &[(&str, &str)]) -> u16 {
    use std::io::{Read, Write};

    let body = job();
    let mut request =
        format!("POST /v2/x/run HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("\r\n{body}"));
    let mut stream = std::net::TcpStream::connect(endpoint.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.to_ascii_lowercase().contains("access-control-allow"), "{answer}");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn other_machines_need_a_key_or_a_word_that_they_do_not() {
    let (code, said) = LocalEndpoint::options().with("HOST", "0.0.0.0").fail();
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("FARCALL_API_KEY") && said.contains("--insecure"), "{said}");
    let insecure = LocalEndpoint::options().with("HOST", "127.0.0.1").argument("--insecure").start();
    assert_eq!(insecure.ask("POST", "runsync", &job()).status, 200);
}
