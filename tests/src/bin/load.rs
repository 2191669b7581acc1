//! Many clients at once, for `make bench`: `load PORT CLIENTS SECONDS FILE`.
//!
//! Each client has a connection and sends the bytes of the file, a whole HTTP request, again as soon as it has its
//! answer, on one thread for all. Prints a line of JSON: answers a second, latencies in milliseconds, and how many
//! answers were not 200.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is read at once; answers here are a few hundred bytes.
const CHUNK: usize = 64 << 10;

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    latencies_ms: Vec<f64>,
    refused: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(report) => {
            let _ = writeln!(std::io::stdout(), "{report}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "load: {problem}");
            ExitCode::from(64)
        }
    }
}

async fn run() -> Result<Value, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, clients, seconds, file] = arguments.as_slice() else {
        return Err("give it PORT CLIENTS SECONDS FILE".to_owned());
    };
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
    let port = port.parse::<u16>().map_err(|error| format!("`{port}`: {error}"))?;
    let request = std::fs::read(file).map_err(|error| format!("`{file}`: {error}"))?;
    let (request, length) = (Arc::<[u8]>::from(request), Duration::from_secs(number(seconds)?));
    let begun = Instant::now();
    let mut clients_at_work = JoinSet::new();
    for _ in 0..number(clients)? {
        clients_at_work.spawn(client(port, Arc::clone(&request), begun + length));
    }
    let mut all = Seen::default();
    while let Some(seen) = clients_at_work.join_next().await {
        let seen = seen.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        all.latencies_ms.extend(seen.latencies_ms);
        all.refused += seen.refused;
    }
    Ok(report(all, begun.elapsed()))
}

/// Sends the request again and again until `end`.
async fn client(port: u16, request: Arc<[u8]>, end: Instant) -> std::io::Result<Seen> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (mut seen, mut received) = (Seen::default(), Vec::with_capacity(CHUNK));
    while Instant::now() < end {
        let begun = Instant::now();
        stream.write_all(&request).await?;
        received.clear();
        while !is_whole(&received) {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        if received.get(9..12) == Some(b"200") {
            seen.latencies_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        } else {
            seen.refused += 1;
        }
    }
    Ok(seen)
}

/// Whether an answer is there to its end: its head, and as many bytes as that says.
fn is_whole(received: &[u8]) -> bool {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    received.len() >= end + 4 + length.unwrap_or(0)
}

fn report(mut all: Seen, elapsed: Duration) -> Value {
    all.latencies_ms.sort_by(f64::total_cmp);
    let count = all.latencies_ms.len();
    let percentile = |percent: usize| all.latencies_ms.get(count * percent / 100).copied();
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are small")]
    let rate = count as f64 / elapsed.as_secs_f64();
    json!({
        "requests": count, "refused": all.refused, "requests_per_s": rate,
        "p50_ms": percentile(50), "p99_ms": percentile(99),
    })
}
