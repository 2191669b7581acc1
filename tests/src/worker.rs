//! A `farcall serve` under test: started, asked, watched through `/proc`, and killed with all it has started.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use farcall_protocol::FunctionResponse;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::Events;
use crate::{Connection, HttpAnswer, Python, Request, binary, processes, wait_until};

/// A worker to be started.
#[derive(Debug)]
pub struct WorkerOptions {
    directory: TempDir,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    launcher: Vec<String>,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    directory: TempDir,
    process: Child,
    address: Option<SocketAddr>,
    log: Log,
}

/// Lines of a worker's log that are kept: an hour of load prints more than fits in memory.
const MOST_LINES: usize = 200_000;

/// What a worker has written so far: standard output and error, a line each. The oldest go when they are too many.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl WorkerOptions {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let arguments = ["--port", "0"].map(str::to_owned).into();
        Self { directory, variables: Vec::new(), arguments, launcher: Vec::new() }
            .with("FARCALL_PYTHON", &Python::under_test().path().display().to_string())
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets environment variables.
    #[must_use]
    pub fn with_all<'a>(self, variables: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        variables.into_iter().fold(self, |options, (name, value)| options.with(name, &value))
    }

    /// Instead of `--port 0`.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// Has runners run Python code while they start; `HERE` in it stands for the worker's directory. The probe
    /// of the interpreter does not run it.
    #[must_use]
    pub fn with_startup(self, code: &str) -> Self {
        let directory = self.directory.path().join("site");
        std::fs::create_dir(&directory).expect("the directory is writable");
        let code = code.replace("HERE", &self.directory.path().display().to_string());
        std::fs::write(directory.join("sitecustomize.py"), code).expect("the directory is writable");
        self.with("PYTHONPATH", &directory.display().to_string())
    }

    /// Has it started by a command that becomes it.
    #[must_use]
    pub fn launched_by(mut self, command: &[&str]) -> Self {
        self.launcher = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Puts a file into its working directory.
    #[must_use]
    pub fn with_file(self, name: &str, content: &str) -> Self {
        std::fs::write(self.directory.path().join(name), content).expect("the directory is writable");
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Worker {
        let worker = self.start_listening();
        assert!(wait_until(|| worker.ping().status == 200), "{worker:?}");
        worker
    }

    /// Starts it and waits until it can be connected to.
    #[track_caller]
    pub fn start_listening(self) -> Worker {
        let mut worker = self.spawn();
        assert!(wait_until(|| worker.logged("serving HTTP").is_some()), "{worker:?}");
        let line = worker.logged("serving HTTP").expect("it was there just now");
        let address = line.split("address=").nth(1).and_then(|rest| rest.split([' ', '"']).next());
        worker.address = Some(address.and_then(|text| text.parse().ok()).expect("the line has the address"));
        worker
    }

    /// Starts it without waiting for anything.
    #[track_caller]
    pub fn spawn(self) -> Worker {
        let Self { directory, variables, arguments, mut launcher } = self;
        let temporary = directory.path().join("tmp");
        std::fs::create_dir(&temporary).expect("the directory is writable");
        launcher.push(binary().display().to_string());
        let mut command = Command::new(&launcher[0]);
        command
            .args(&launcher[1..])
            .args(["serve", "--mode", "http"])
            .args(arguments)
            .current_dir(directory.path())
            .env_clear();
        for name in ["PATH", "HOME", "LANG"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("TMPDIR", temporary).env("FARCALL_CACHE_DIR", directory.path().join("cache"));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("farcall can be started");
        let log = Log::default();
        log.collect(process.stdout.take().expect("it is piped"));
        log.collect(process.stderr.take().expect("it is piped"));
        Worker { directory, process, address: None, log }
    }
}

impl Worker {
    /// A worker with the interpreter under test, on a free port.
    pub fn options() -> WorkerOptions {
        WorkerOptions::new()
    }

    /// With nothing but defaults, ready.
    #[track_caller]
    pub fn start() -> Self {
        Self::options().start()
    }

    /// Its working directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file of its working directory, as text for use in Python code.
    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Waits until a file of its working directory has content, and returns that.
    #[track_caller]
    pub fn await_file(&self, name: &str) -> String {
        let read = || std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        assert!(wait_until(|| !read().is_empty()), "no file `{name}`: {self:?}");
        read()
    }

    /// Makes a file of its working directory, for a call that waits for it.
    pub fn touch(&self, name: &str) {
        std::fs::write(self.directory.path().join(name), "x").expect("the directory is writable");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the worker was waited for")
    }

    /// A new connection to it.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address())
    }

    /// `GET /ping` on a new connection.
    #[track_caller]
    pub fn ping(&self) -> HttpAnswer {
        self.connect().ask("GET", "/ping", &[], b"")
    }

    /// Runs one call on a new connection.
    #[track_caller]
    pub fn call(&self, request: &Request) -> FunctionResponse {
        self.connect().execute(request).call()
    }

    /// Runs one call, which must succeed, and returns its JSON result.
    #[track_caller]
    pub fn value(&self, request: &Request) -> Value {
        value(&self.call(request))
    }

    /// Runs one call, which must fail, and returns its error.
    #[track_caller]
    pub fn error(&self, request: &Request) -> String {
        let response = self.call(request);
        assert!(!response.success, "{response:?}");
        response.error.clone().unwrap_or_else(|| panic!("no error text: {response:?}"))
    }

    /// Runs calls at the same time, each on a connection of its own.
    pub fn at_once(&self, requests: impl IntoIterator<Item = Request>) -> Vec<FunctionResponse> {
        let calls = requests.into_iter().map(|request| self.begin(request)).collect::<Vec<_>>();
        calls.into_iter().map(PendingCall::answer).collect()
    }

    /// Begins a call; its answer can be waited for.
    pub fn begin(&self, request: Request) -> PendingCall {
        let mut connection = self.connect();
        PendingCall(thread::spawn(move || connection.execute(&request).call()))
    }

    /// Begins a call with events.
    #[track_caller]
    pub fn follow(&self, request: &Request) -> Events {
        self.connect().follow(request)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        processes::signal(self.pid(), name);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn await_exit(&mut self) -> ExitStatus {
        let process = Mutex::new(&mut self.process);
        let ended = || process.lock().expect("nobody panics").try_wait().expect("it is our child");
        assert!(wait_until(|| ended().is_some()), "still running: {}", self.log.text());
        ended().expect("it was there just now")
    }

    /// The first line of its log that contains `text`.
    pub fn logged(&self, text: &str) -> Option<String> {
        self.log.lines().into_iter().find(|line| line.contains(text))
    }

    /// Its log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Directories of runners that exist.
    pub fn runner_directories(&self) -> usize {
        let entries = std::fs::read_dir(self.directory.path().join("tmp")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    }
}

impl Drop for Worker {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its worker said")]
    fn drop(&mut self) {
        if thread::panicking() {
            let lines = self.log.lines();
            eprintln!("end of the worker's log:\n{}", lines[lines.len().saturating_sub(100)..].join("\n"));
        }
        processes::end(&mut self.process);
    }
}

/// A call whose answer has not been waited for.
#[derive(Debug)]
pub struct PendingCall(thread::JoinHandle<FunctionResponse>);

impl PendingCall {
    /// Waits for the answer.
    #[track_caller]
    pub fn answer(self) -> FunctionResponse {
        self.0.join().expect("the call is answered")
    }

    /// Whether the answer is there.
    pub fn is_answered(&self) -> bool {
        self.0.is_finished()
    }
}

impl Log {
    fn collect(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut lines = log.0.lock().expect("no holder panics");
                if lines.len() == MOST_LINES {
                    lines.drain(..MOST_LINES / 2);
                }
                lines.push(line);
            }
        });
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no holder panics").clone()
    }

    fn text(&self) -> String {
        self.lines().join("\n")
    }
}

/// The JSON result of a call that must have succeeded.
#[track_caller]
pub fn value(response: &FunctionResponse) -> Value {
    assert!(response.success && response.error.is_none(), "{response:?}");
    let json = response.json_result.as_ref().map_or("null", |json| json.get());
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}
