//! A `farcall serve` that is an endpoint of its own: started, asked, killed, and started again on the same disk.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::Events;
use crate::{Connection, HttpAnswer, Python, Request, binary, processes, wait_until};

/// An endpoint to be started.
#[derive(Debug)]
pub struct LocalOptions {
    directory: TempDir,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    launcher: Vec<String>,
}

/// A running endpoint. Killed, with all it has started, when dropped.
#[derive(Debug)]
pub struct LocalEndpoint {
    options: LocalOptions,
    process: Child,
    address: SocketAddr,
}

impl LocalOptions {
    /// Sets an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument of `farcall serve`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Has it started by a command that becomes it.
    #[must_use]
    pub fn launched_by(mut self, command: &[&str]) -> Self {
        self.launcher = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> LocalEndpoint {
        let (process, address) = self.launch(0);
        LocalEndpoint { options: self, process, address }
    }

    /// Starts it, expecting that it ends by itself. Returns its exit code and what it said.
    #[track_caller]
    pub fn fail(self) -> (Option<i32>, String) {
        let mut process = self.spawn(0);
        let status = process.wait().expect("it is our child");
        (status.code(), self.log())
    }

    fn launch(&self, port: u16) -> (Child, SocketAddr) {
        let said_before = self.log().matches("serving HTTP").count();
        let process = self.spawn(port);
        let serves = || self.log().matches("serving HTTP").count() > said_before;
        assert!(wait_until(serves), "it does not serve: {}", self.log());
        let log = self.log();
        let address = log.rsplit_once("address=").and_then(|(_, rest)| rest.split([' ', '\n']).next());
        let address = address.and_then(|text| text.parse().ok()).expect("the line has the address");
        let ready = || {
            Connection::try_open(address).is_ok_and(|mut it| it.ask("GET", "/ping", &[], b"").status == 200)
        };
        assert!(wait_until(ready), "it does not become ready: {log}");
        (process, address)
    }

    fn spawn(&self, port: u16) -> Child {
        let log = File::options().create(true).append(true).open(self.directory.path().join("log"));
        let log = log.expect("the directory is writable");
        let second = log.try_clone().expect("a descriptor is left");
        let temporary = self.directory.path().join("tmp");
        std::fs::create_dir_all(&temporary).expect("the directory is writable");
        let mut words = self.launcher.clone();
        words.push(binary().display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["serve", "--port", &port.to_string()]).args(&self.arguments);
        command.current_dir(self.directory.path()).env_clear();
        for name in ["PATH", "HOME", "LANG"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("FARCALL_PYTHON", Python::under_test().path())
            .env("FARCALL_DATA_DIR", self.directory.path().join("data"))
            .env("FARCALL_CACHE_DIR", self.directory.path().join("cache"))
            .env("FARCALL_CANCEL_GRACE_S", "1")
            .env("TMPDIR", temporary)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second);
        command.spawn().expect("farcall can be started")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl LocalEndpoint {
    /// On a free port, with a queue of its own.
    pub fn options() -> LocalOptions {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        LocalOptions { directory, variables: Vec::new(), arguments: Vec::new(), launcher: Vec::new() }
    }

    /// With nothing but defaults, ready.
    #[track_caller]
    pub fn start() -> Self {
        Self::options().start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its API begins, for clients.
    pub fn url(&self) -> String {
        format!("http://{}/v2", self.address)
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.options.directory.path()
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.options.log()
    }

    /// A new connection.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// One request to a path below `/v2/test`.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> HttpAnswer {
        self.connect().ask(method, &format!("/v2/test/{path}"), &[], body.as_bytes())
    }

    /// The same, with an answer that must be JSON with status 200.
    #[track_caller]
    pub fn json(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.ask(method, path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("answers are JSON")
    }

    /// Submits a job with `run`. Returns its id.
    #[track_caller]
    pub fn run(&self, request: &Request) -> String {
        self.submit(&json!({"input": request.input()}))
    }

    /// Submits a whole job, with webhook and policy.
    #[track_caller]
    pub fn submit(&self, job: &Value) -> String {
        let answer = self.json("POST", "run", &job.to_string());
        assert_eq!(answer["status"], "IN_QUEUE", "{answer}");
        answer["id"].as_str().expect("a job has an id").to_owned()
    }

    /// Runs a job with `runsync`.
    #[track_caller]
    pub fn runsync(&self, request: &Request) -> Value {
        self.json("POST", "runsync", &json!({"input": request.input()}).to_string())
    }

    /// What `status` answers.
    #[track_caller]
    pub fn status(&self, id: &str) -> Value {
        self.json("GET", &format!("status/{id}"), "")
    }

    /// Waits until a job has a status, and returns what `status` answers then.
    #[track_caller]
    pub fn await_status(&self, id: &str, status: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let document = self.status(id);
            if document["status"] == status {
                return document;
            }
            assert!(Instant::now() < deadline, "never {status}: {document}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The events of a job.
    #[track_caller]
    pub fn events(&self, id: &str, offset: &str) -> Events {
        let query = if offset.is_empty() { String::new() } else { format!("?offset={offset}") };
        self.connect().watch(&format!("/v2/test/events/{id}{query}"), &[])
    }

    /// Waits until user code has made a file of its directory.
    #[track_caller]
    pub fn await_file(&self, name: &str) {
        assert!(wait_until(|| self.path(name).exists()), "no file `{name}`: {}", self.log());
    }

    /// Makes a file of its directory, for a call that waits for it.
    pub fn touch(&self, name: &str) {
        std::fs::write(self.path(name), "x").expect("the directory is writable");
    }

    /// Sends a signal, by the name `kill` knows.
    pub fn signal(&self, name: &str) {
        processes::signal(self.process.id(), name);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let process = std::cell::RefCell::new(&mut self.process);
        let ended = || process.borrow_mut().try_wait().expect("it is our child").is_some();
        assert!(wait_until(ended), "it goes on: {}", self.options.log());
        self.process.wait().expect("it is our child")
    }

    /// Kills it as a full machine would.
    pub fn kill(&mut self) {
        self.process.kill().expect("it is our child");
        self.process.wait().expect("it is our child");
    }

    /// Starts it again, on the same port and the same disk.
    #[track_caller]
    pub fn start_again(&mut self) {
        (self.process, self.address) = self.options.launch(self.address.port());
    }

    /// Another process on the same disk, which must fail.
    #[track_caller]
    pub fn start_beside(&self) -> Option<i32> {
        self.options.spawn(0).wait().expect("it is our child").code()
    }
}

impl Drop for LocalEndpoint {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its endpoint said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("end of the endpoint's log:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        processes::end(&mut self.process);
    }
}
