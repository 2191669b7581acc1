//! What clients see of a job: its document, its chunks, its events as they happen.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::Endpoint;
use super::events::{EventLog, Logged, Place};
use super::files::Kind;
use super::job::Status;
use super::store::{Payload, StoreError};

/// How long `stream` waits for a chunk.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);

/// How often a quiet stream of events says that it is alive: proxies close what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events encoded ahead of the connection.
const ENCODED_AHEAD: usize = 16;

/// What has happened since a place in the log.
struct News {
    place: Place,
    events: Vec<Logged>,
    /// Where the job stands, if that is news.
    document: Bytes,
    status: Status,
    is_over: bool,
}

impl Endpoint {
    /// What `status` answers.
    pub(super) async fn document(&self, id: &str) -> Result<Option<Bytes>, StoreError> {
        {
            let queue = self.queue();
            if let Some(open) = queue.get(id) {
                let progress = open.run.as_ref().and_then(|run| run.log.progress());
                return Ok(Some(open.record.document(progress.map(str::as_bytes))));
            }
        }
        let Some((record, payloads)) = self.store.find(id).await? else { return Ok(None) };
        let output = self.payload(id, Kind::Output, payloads.output).await?;
        Ok(Some(record.document(output.as_deref())))
    }

    /// A job's request.
    pub(super) async fn request(&self, id: &str) -> Result<Option<Bytes>, StoreError> {
        let Some((_, payloads)) = self.store.find(id).await? else { return Ok(None) };
        self.payload(id, Kind::Input, payloads.input).await
    }

    async fn payload(&self, id: &str, kind: Kind, payload: Payload) -> Result<Option<Bytes>, StoreError> {
        Ok(match payload {
            Payload::Inline(bytes) => Some(bytes),
            Payload::File => Some(self.store.files().read(id, kind).await?),
            Payload::Missing => None,
        })
    }

    /// The events of a job that has ended.
    async fn ended_log(&self, id: &str, attempt: u32, payload: Payload) -> Result<EventLog, StoreError> {
        let stored = self.payload(id, Kind::Events, payload).await?;
        Ok(stored.and_then(|stored| EventLog::read(&stored)).unwrap_or_else(|| EventLog::new(attempt)))
    }

    /// What `stream` answers: the chunks since the last call. Waits a moment for one.
    pub(super) async fn chunks(&self, id: &str) -> Result<Option<Bytes>, StoreError> {
        let deadline = Instant::now() + STREAM_PATIENCE;
        let seen = self.cursors().get(id).copied().unwrap_or_default();
        loop {
            let (status, chunks, count, changed) = {
                let mut queue = self.queue();
                match queue.get_mut(id) {
                    Some(open) => {
                        let log = open.run.as_ref().map(|run| &run.log);
                        let chunks = log.map(|log| log.chunks_after(seen)).unwrap_or_default();
                        let count = log.map_or(0, EventLog::chunk_count);
                        (open.record.status, chunks, count, Some(open.changed()))
                    }
                    None => (Status::Completed, Vec::new(), 0, None),
                }
            };
            let Some(changed) = changed else { break };
            if status.is_final() || !chunks.is_empty() || Instant::now() >= deadline {
                self.cursors().insert(id.to_owned(), count.max(seen));
                return Ok(Some(json!({"status": status, "stream": chunks}).to_string().into()));
            }
            // The pause covers what was told between looking and waiting.
            let pause = (Instant::now() + Duration::from_millis(20)).min(deadline);
            let _ = tokio::time::timeout_at(pause, changed.notified()).await;
        }
        let Some((record, payloads)) = self.store.find(id).await? else { return Ok(None) };
        let log = self.ended_log(id, record.attempts, payloads.events).await?;
        let chunks = log.chunks_after(seen);
        if log.chunk_count() > 0 {
            self.cursors().insert(id.to_owned(), log.chunk_count());
        }
        Ok(Some(json!({"status": record.status, "stream": chunks}).to_string().into()))
    }

    /// The events of a job from a place on: until it is over, or those there are.
    pub(super) fn events(self: &Arc<Self>, id: String, from: Option<Place>, follow: bool) -> Response {
        let (sender, body) = mpsc::channel::<Result<Bytes, Infallible>>(ENCODED_AHEAD);
        let endpoint = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = endpoint.tell_events(&id, from, follow, &sender) => {}
                () = sender.closed() => {}
            }
        });
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        (headers, Body::from_stream(ReceiverStream::new(body))).into_response()
    }

    async fn tell_events(
        &self,
        id: &str,
        from: Option<Place>,
        follow: bool,
        sender: &mpsc::Sender<Result<Bytes, Infallible>>,
    ) {
        let (mut place, mut told): (Option<Place>, Option<Status>) = (from, None);
        let mut quiet_since = Instant::now();
        loop {
            let changed = self.queue().get_mut(id).map(super::queue::Open::changed);
            let notified = changed.as_ref().map(|changed| {
                let mut notified = Box::pin(changed.notified());
                notified.as_mut().enable(); // nothing that happens from here on is missed
                notified
            });
            let Ok(Some(news)) = self.news(id, place).await else { return };
            let mut text = String::new();
            let first = news.place.number - news.events.len() + 1;
            for (number, logged) in (first..).zip(&news.events) {
                let Logged { event, data } = logged;
                text.push_str(&format!(
                    "event: {event}\nid: {}-{number}\ndata: {data}\n\n",
                    news.place.attempt
                ));
            }
            if told != Some(news.status) || news.is_over {
                let document = String::from_utf8_lossy(&news.document);
                text.push_str(&format!(
                    "event: status\nid: {}-{}\ndata: {document}\n\n",
                    news.place.attempt, news.place.number
                ));
            }
            (place, told) = (Some(news.place), Some(news.status));
            if text.is_empty() && quiet_since.elapsed() >= KEEP_ALIVE {
                text.push_str(": still here\n\n");
            }
            if !text.is_empty() {
                quiet_since = Instant::now();
                if sender.send(Ok(text.into())).await.is_err() {
                    return;
                }
            }
            let Some(notified) = notified.filter(|_| follow && !news.is_over) else {
                if news.is_over || !follow {
                    return;
                }
                continue; // it has ended since: the database tells
            };
            tokio::select! {
                () = notified => {}
                () = tokio::time::sleep(KEEP_ALIVE) => {}
                () = self.worker.draining.cancelled(), if news.status == Status::InQueue => return,
            }
        }
    }

    /// What has happened to a job since a place in its log.
    async fn news(&self, id: &str, place: Option<Place>) -> Result<Option<News>, StoreError> {
        {
            let queue = self.queue();
            if let Some(open) = queue.get(id) {
                let nothing = EventLog::new(open.record.attempts);
                let log = open.run.as_ref().map_or(&nothing, |run| &run.log);
                let progress = log.progress();
                let document = open.record.document(progress.map(str::as_bytes));
                // Ended from outside, its call still has things to say.
                return Ok(Some(News::of(log, place, document, open.record.status, false)));
            }
        }
        let Some((record, payloads)) = self.store.find(id).await? else { return Ok(None) };
        let log = self.ended_log(id, record.attempts, payloads.events).await?;
        let output = self.payload(id, Kind::Output, payloads.output).await?;
        let is_over = record.status.is_final();
        Ok(Some(News::of(&log, place, record.document(output.as_deref()), record.status, is_over)))
    }
}

impl News {
    fn of(log: &EventLog, place: Option<Place>, document: Bytes, status: Status, is_over: bool) -> Self {
        let from = log.from(place);
        let events = log.events[from..].to_vec();
        let place = Place { attempt: log.attempt, number: log.events.len() };
        Self { place, events, document, status, is_over }
    }
}
