//! A job as it happens: by events where the endpoint tells them, else by asking again and again.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{CommandError, Remote, is_final};

/// How long a stream of events may be interrupted: an endpoint that is restarted comes back.
const LONGEST_INTERRUPTION: Duration = Duration::from_mins(1);

/// Pause before the next try, and between two looks at a job that does not tell by itself.
const PAUSE: Duration = Duration::from_millis(500);

/// Something that happened to a job.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Told {
    /// `output`, `chunk`, `progress` or `status`.
    pub(in crate::cli) event: String,
    pub(in crate::cli) id: String,
    pub(in crate::cli) data: Value,
}

impl Remote {
    /// Tells everything about a job until it is over, or until now; `tell` gets each event once. Returns the last
    /// status document.
    pub(in crate::cli) async fn follow(
        &self,
        job: &str,
        follow: bool,
        mut tell: impl FnMut(&Told),
    ) -> Result<Value, CommandError> {
        let (mut place, mut document) = (String::new(), Value::Null);
        let mut heard = Instant::now();
        loop {
            let mut request = self.request(Method::GET, &format!("events/{job}"));
            if !place.is_empty() {
                request = request.header("last-event-id", &place);
            }
            if !follow {
                request = request.query(&[("follow", "0")]);
            }
            let failure = match self.send(request).await {
                Ok(response) if is_event_stream(&response) => {
                    heard = Instant::now();
                    let mut on_told = |told: Told| {
                        place.clone_from(&told.id);
                        if told.event == "status" {
                            document.clone_from(&told.data);
                        }
                        tell(&told);
                    };
                    read_events(response, &mut on_told).await;
                    if !follow || is_final(&document) {
                        return Ok(document);
                    }
                    None
                }
                // Its platform tells no events: it is asked again and again.
                Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                    return self.poll(job, follow, tell).await;
                }
                Ok(response) => Some(self.read(response).await.err()),
                Err(error) => Some(Some(error)),
            };
            if let Some(error) = failure.flatten()
                && (place.is_empty() || heard.elapsed() > LONGEST_INTERRUPTION)
            {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The same, of an endpoint that answers only to `status` and `stream`.
    async fn poll(
        &self,
        job: &str,
        follow: bool,
        mut tell: impl FnMut(&Told),
    ) -> Result<Value, CommandError> {
        let mut told_status = Value::Null;
        loop {
            let document = self.get(&format!("status/{job}"), &[]).await?;
            let stream = self.get(&format!("stream/{job}"), &[]).await.unwrap_or_default();
            for chunk in stream["stream"].as_array().into_iter().flatten() {
                tell(&Told { event: "chunk".to_owned(), id: String::new(), data: chunk["output"].clone() });
            }
            let is_over = is_final(&document);
            if is_over
                && let Some(text) = document["output"]["stdout"].as_str().filter(|text| !text.is_empty())
            {
                tell(&Told { event: "output".to_owned(), id: String::new(), data: json!({"text": text}) });
            }
            if document["status"] != told_status {
                told_status = document["status"].clone();
                tell(&Told { event: "status".to_owned(), id: String::new(), data: document.clone() });
            }
            if is_over || !follow {
                return Ok(document);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn is_event_stream(response: &Response) -> bool {
    let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    response.status().is_success() && content_type.is_some_and(|value| value.starts_with("text/event-stream"))
}

/// Reads events until the stream ends, however it does.
async fn read_events(mut response: Response, tell: &mut impl FnMut(Told)) {
    let mut received: Vec<u8> = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        received.extend_from_slice(&chunk);
        while let Some(end) = received.windows(2).position(|pair| pair == b"\n\n") {
            let text: Vec<u8> = received.drain(..end + 2).collect();
            if let Some(told) = Told::parse(&String::from_utf8_lossy(&text)) {
                tell(told);
            }
        }
    }
}

impl Told {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let data = serde_json::from_str(field("data")?).ok()?;
        let id = field("id").unwrap_or_default().to_owned();
        Some(Self { event: field("event")?.to_owned(), id, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_with_their_places() {
        let told = Told::parse("event: output\nid: 1-2\ndata: {\"text\":\"x\"}\n\n").unwrap();
        assert_eq!(
            (told.event.as_str(), told.id.as_str(), &told.data["text"]),
            ("output", "1-2", &json!("x"))
        );
        assert_eq!(Told::parse(": still here\n\n"), None);
    }
}
