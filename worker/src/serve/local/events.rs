//! What happens while a job runs, kept so that whoever comes later, or again, misses nothing.
//!
//! An event's place is told as `attempt-number`: a job that is begun again starts a new log.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::runner::Event;
use crate::serve::stream::name_and_data;

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Logged {
    /// `output`, `chunk` or `progress`.
    pub(super) event: String,
    pub(super) data: Box<RawValue>,
}

/// The events of one attempt.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct EventLog {
    pub(super) attempt: u32,
    pub(super) events: Vec<Logged>,
    #[serde(default)]
    output_bytes: usize,
    #[serde(default)]
    chunks: usize,
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) attempt: u32,
    pub(super) number: usize,
}

impl Place {
    /// `attempt-number`, or a number alone for the first attempt.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (attempt, number) = text.split_once('-').unwrap_or(("1", text));
        Some(Self { attempt: attempt.parse().ok()?, number: number.parse().ok()? })
    }
}

impl EventLog {
    pub(super) fn new(attempt: u32) -> Self {
        Self { attempt, ..Self::default() }
    }

    /// The log of a job that has ended.
    pub(super) fn read(stored: &[u8]) -> Option<Self> {
        serde_json::from_slice(stored).ok()
    }

    /// What is kept of it after the job's end; nothing, if nothing happened.
    pub(super) fn to_stored(&self) -> Option<Vec<u8>> {
        (!self.events.is_empty()).then(|| serde_json::to_vec(self).unwrap_or_default())
    }

    /// Adds what happened. Output beyond the limit is left out, which is said once; the answer has its end.
    pub(super) fn add(&mut self, event: &Event, most_output_bytes: usize) {
        if let Event::Output(text) | Event::Notice(text) = event {
            let is_within = self.output_bytes <= most_output_bytes;
            self.output_bytes += text.len();
            if !is_within {
                return;
            }
            if self.output_bytes > most_output_bytes {
                let text =
                    format!("[more than {most_output_bytes} bytes of output: the answer has the rest]\n");
                return self.push("output", json!({"text": text}).to_string());
            }
        }
        self.chunks += usize::from(matches!(event, Event::Chunk(..)));
        let (name, data) = name_and_data(event);
        self.push(name, data);
    }

    /// The stream of chunks ends with an error.
    pub(super) fn add_failure(&mut self, error: &str) {
        self.push("chunk", json!({"index": self.chunks, "error": error}).to_string());
        self.chunks += 1;
    }

    fn push(&mut self, event: &str, data: String) {
        // Both runners and we write JSON; what is none is not worth ending a job for.
        if let Ok(data) = RawValue::from_string(data) {
            self.events.push(Logged { event: event.to_owned(), data });
        }
    }

    /// Where to go on for someone who was there: at the beginning, if that was another attempt.
    pub(super) fn from(&self, place: Option<Place>) -> usize {
        place
            .filter(|place| place.attempt == self.attempt)
            .map_or(0, |place| place.number.min(self.events.len()))
    }

    /// The latest progress.
    pub(super) fn progress(&self) -> Option<&str> {
        self.events.iter().rev().find(|logged| logged.event == "progress").map(|logged| logged.data.get())
    }

    /// What `stream` answers for the chunks after the first `seen` of them.
    pub(super) fn chunks_after(&self, seen: usize) -> Vec<Value> {
        let chunks = self.events.iter().filter(|logged| logged.event == "chunk");
        chunks.skip(seen).map(|logged| json!({"output": envelope(&logged.data)})).collect()
    }

    /// How many chunks there are.
    pub(super) fn chunk_count(&self) -> usize {
        self.chunks
    }
}

/// A chunk as 2.x clients read it.
fn envelope(data: &RawValue) -> Value {
    let mut chunk: Value = serde_json::from_str(data.get()).unwrap_or_default();
    let mut envelope = json!({"success": chunk.get("error").is_none(), "__stream__": true});
    for field in ["result", "json_result", "error"] {
        if let Some(value) = chunk.get_mut(field) {
            envelope[field] = value.take();
        }
    }
    envelope
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Event {
        Event::Output(text.to_owned())
    }

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let mut log = EventLog::new(2);
        assert!(log.to_stored().is_none());
        log.add(&output("one\n"), 100);
        log.add(&Event::Progress(b"{\"step\":1}".to_vec()), 100);
        log.add_failure("no more");
        let read = EventLog::read(&log.to_stored().unwrap()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&log).unwrap());
        assert_eq!(read.progress(), Some("{\"step\":1}"));
        assert_eq!(
            read.chunks_after(0),
            [json!({"output": {"success": false, "__stream__": true, "error": "no more"}})]
        );
        assert_eq!(read.chunks_after(read.chunk_count()), Vec::<Value>::new());
    }

    #[test]
    fn output_over_the_limit_is_left_out_once_and_said() {
        let mut log = EventLog::new(1);
        for text in ["12345", "67890", "x", "y"] {
            log.add(&output(text), 8);
        }
        assert_eq!(log.events.len(), 2);
        assert!(log.events[1].data.get().contains("more than 8 bytes"));
    }

    #[test]
    fn another_attempt_is_told_from_its_beginning() {
        let mut log = EventLog::new(2);
        log.add(&output("a"), 100);
        assert_eq!(Place::parse("2-1"), Some(Place { attempt: 2, number: 1 }));
        assert_eq!(log.from(Place::parse("2-1")), 1);
        assert_eq!(log.from(Place::parse("2-9")), 1);
        assert_eq!(log.from(Place::parse("1-1")), 0);
        assert_eq!(log.from(None), 0);
        assert_eq!(Place::parse("x"), None);
    }
}
