//! A call as server-sent events: `output` as it prints, `chunk` as its generator yields, `progress` as it tells
//! it, one `result` at the end.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use farcall_protocol::frame::Encoding;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::execute::Running;
use crate::runner::Event;

/// Events encoded ahead of the connection. The job's own queue is the one that holds it up.
const ENCODED_AHEAD: usize = 4;

/// Answers with the events of a running job. The job is cancelled when the client goes away.
pub(super) fn stream(running: Running, mut events: mpsc::Receiver<Event>) -> Response {
    let (sender, body) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(ENCODED_AHEAD);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => return, // drops `running`
            };
            let Some(event) = event else { break };
            if sender.send(Ok(encode(&event))).await.is_err() {
                return;
            }
        }
        let answer = tokio::select! {
            // The request was seen to be JSON before.
            answer = running.answer() => answer.unwrap_or_default(),
            () = sender.closed() => return,
        };
        let answer = answer.into_iter().map(Bytes::from);
        let (start, end) = ("event: result\ndata: ".into(), "\n\n".into());
        for piece in [start].into_iter().chain(answer).chain([end]) {
            if sender.send(Ok(piece)).await.is_err() {
                return;
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(ReceiverStream::new(body))).into_response()
}

fn encode(event: &Event) -> Bytes {
    let (name, data) = name_and_data(event);
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// What an event is called, and what it tells, as JSON.
pub(super) fn name_and_data(event: &Event) -> (&'static str, String) {
    match event {
        Event::Output(text) | Event::Notice(text) => ("output", json!({"text": text}).to_string()),
        Event::Progress(value) => ("progress", String::from_utf8_lossy(value).into_owned()),
        Event::Chunk(chunk, body) => {
            let data = match (chunk.encoding, std::str::from_utf8(body)) {
                (Encoding::Json, Ok(value)) => {
                    format!("{{\"index\":{},\"json_result\":{value}}}", chunk.index)
                }
                (_, Ok(pickle)) => json!({"index": chunk.index, "result": pickle}).to_string(),
                (_, Err(_)) => {
                    json!({"index": chunk.index, "result": BASE64_STANDARD.encode(body)}).to_string()
                }
            };
            ("chunk", data)
        }
    }
}
