//! A small blocking HTTP client: one keep-alive connection, whole answers and event streams.
//!
//! Written out instead of taken from a library because the tests need what clients hide: half-sent requests,
//! requests sent ahead, events as they arrive, and connections dropped in the middle.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use farcall_protocol::FunctionResponse;
use serde_json::Value;

/// No answer in a test takes longer: a read that does fails the test instead of hanging it.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// A connection to a worker.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// An HTTP response with its whole body.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// The events of one call, as they arrive.
#[derive(Debug)]
pub struct Events {
    stream: BufReader<TcpStream>,
    /// Decoded from the chunked body, not yet taken.
    received: Vec<u8>,
}

/// One server-sent event.
#[derive(Debug)]
pub struct Event {
    /// `output`, `chunk` or `result`.
    pub name: String,
    /// Its place among the job's events, if it says so.
    pub id: Option<String>,
    /// Its data, parsed.
    pub data: Value,
}

impl Connection {
    /// Connects.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the worker accepts connections")
    }

    /// Connects, if something listens.
    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LONGEST_WAIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONGEST_WAIT))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
        self.send(method, path, headers, body);
        self.answer()
    }

    /// `POST /execute`.
    #[track_caller]
    pub fn execute(&mut self, request: &impl ToString) -> HttpAnswer {
        self.ask("POST", "/execute", &[], request.to_string().as_bytes())
    }

    /// The same, of a worker that may be gone before it has answered.
    pub fn try_ask(&mut self, method: &str, path: &str, body: &[u8]) -> std::io::Result<HttpAnswer> {
        self.try_send(method, path, &[], body)?;
        self.try_answer()
    }

    /// Sends a request without reading its answer.
    #[track_caller]
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.try_send(method, path, headers, body).expect("the worker takes the request");
    }

    fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<()> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let bytes = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&bytes)
    }

    /// Reads the next answer.
    #[track_caller]
    pub fn answer(&mut self) -> HttpAnswer {
        self.try_answer().expect("the worker answers")
    }

    /// Reads the next answer, or learns that the connection has ended.
    pub fn try_answer(&mut self) -> std::io::Result<HttpAnswer> {
        let (status, headers) = read_head(&mut self.stream)?;
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().expect("a length is a number"));
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(HttpAnswer { status, headers, body })
    }

    /// `POST /execute`, with events.
    #[track_caller]
    pub fn follow(mut self, request: &impl ToString) -> Events {
        self.send("POST", "/execute", &[("accept", "text/event-stream")], request.to_string().as_bytes());
        self.events()
    }

    /// Follows something that is only told by events.
    #[track_caller]
    pub fn watch(mut self, path: &str, headers: &[(&str, &str)]) -> Events {
        self.send("GET", path, headers, b"");
        self.events()
    }

    #[track_caller]
    fn events(mut self) -> Events {
        let (status, headers) = read_head(&mut self.stream).expect("the worker answers");
        assert_eq!(status, 200, "{headers:?}");
        let is = |name: &str, value: &str| headers.iter().any(|(n, v)| n == name && v == value);
        assert!(is("content-type", "text/event-stream") && is("transfer-encoding", "chunked"), "{headers:?}");
        Events { stream: self.stream, received: Vec::new() }
    }

    /// Goes away, whatever has been asked for.
    pub fn disconnect(self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }
}

impl HttpAnswer {
    /// The answer to a call, which comes with status 200 however the call ended.
    #[track_caller]
    pub fn call(&self) -> FunctionResponse {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, 200, "{text}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Events {
    /// The next event; `None` at the end of the stream.
    #[track_caller]
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\n\n") {
                let text: Vec<u8> = self.received.drain(..end + 2).collect();
                return Some(Event::parse(&String::from_utf8(text).expect("events are UTF-8")));
            }
            if !self.read_chunk() {
                assert!(self.received.is_empty(), "the stream ends inside an event");
                return None;
            }
        }
    }

    /// What is printed up to a text that must come.
    #[track_caller]
    pub fn printed_until(&mut self, text: &str) -> String {
        let mut printed = String::new();
        while !printed.ends_with(text) {
            let event = self.next_event().unwrap_or_else(|| panic!("the stream ends after {printed:?}"));
            assert_eq!(event.name, "output", "{event:?}");
            printed.push_str(event.output());
        }
        printed
    }

    /// Every event up to the end.
    #[track_caller]
    pub fn rest(mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next_event()).collect()
    }

    /// Goes away in the middle.
    pub fn disconnect(self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }

    fn read_chunk(&mut self) -> bool {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the stream goes on");
        let length = usize::from_str_radix(line.trim(), 16).expect("a chunk begins with its length");
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).expect("the stream goes on");
        self.received.extend_from_slice(&chunk[..length]);
        length > 0
    }
}

impl Event {
    fn parse(text: &str) -> Self {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let name = field("event").expect("an event has a name").to_owned();
        let data = field("data").expect("an event has data");
        let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        Self { name, id: field("id").map(str::to_owned), data }
    }

    /// The text of an `output` event; nothing for any other.
    pub fn output(&self) -> &str {
        if self.name == "output" { self.data["text"].as_str().expect("output is text") } else { "" }
    }
}

type Head = (u16, Vec<(String, String)>);

fn read_head(stream: &mut BufReader<TcpStream>) -> std::io::Result<Head> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok((status, headers)) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}
