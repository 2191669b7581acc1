//! The end of a job: written, then told.

use bytes::Bytes;
use tracing::{error, warn};

use super::Endpoint;
use super::files::{Kind, Stored};
use super::job::{Status, now_ms};
use super::queue::Begun;
use super::store::{Change, Finish};
use crate::job::on_one_line;
use crate::serve::answer::Answer;

impl Endpoint {
    /// Writes how a call has ended, and tells everybody who waits for it.
    pub(super) async fn finish(&self, begun: &Begun, status: Status, answer: Answer) {
        let (id, finished_ms) = (&*begun.id, now_ms());
        if let Some(error) = answer.error.as_ref().filter(|_| answer.is_stream)
            && let Some(run) = self.queue().get_mut(id).and_then(|open| open.run.as_mut())
        {
            run.log.add_failure(error);
        }
        let output = answer.output.map(Bytes::from);
        let kept = self.keep(id, output.clone()).await;
        let finish = Finish {
            seq: begun.record.seq,
            status,
            finished_ms,
            expires_ms: self.expiry(begun.record.is_sync),
            error: answer.error.clone(),
            output: kept.0,
            events: kept.1,
        };
        if let Err(error) = self.store.write(Change::Finish(Box::new(finish))).await {
            // Those who wait get their answer all the same. What the disk has no room for is written later; if the
            // process ends before, the job runs again.
            error!(job = id, error = on_one_line(&error), "the end of a job is not written");
        }
        let mut queue = self.queue();
        if let Some(open) = queue.get_mut(id) {
            open.record.finished_ms = Some(finished_ms);
            open.record.error = answer.error;
        }
        queue.set_status(id, status);
        let Some(open) = queue.remove(id) else { return };
        drop(queue);
        self.tell_end(open, output.as_deref());
    }

    /// Adds what a job had to say that was ended from outside, and forgets it.
    pub(super) async fn amend(&self, begun: &Begun, answer: Option<Answer>) {
        let output = answer.and_then(|answer| answer.output).map(Bytes::from);
        let (output, events) = self.keep(&begun.id, output).await;
        let amended = self.store.write(Change::Amend { seq: begun.record.seq, output, events }).await;
        if let Err(error) = amended {
            warn!(job = &*begun.id, error = on_one_line(&error), "what a job printed is not written");
        }
        self.queue().remove(&begun.id);
    }

    /// Keeps a call's output and events.
    async fn keep(&self, id: &str, output: Option<Bytes>) -> (Option<Stored>, Option<Stored>) {
        let events =
            self.queue().get(id).and_then(|open| open.run.as_ref()?.log.to_stored()).map(Bytes::from);
        let files = self.store.files();
        let mut kept = [None, None];
        for (place, (kind, payload)) in kept.iter_mut().zip([(Kind::Output, output), (Kind::Events, events)])
        {
            let Some(payload) = payload else { continue };
            *place = Some(files.keep(id, kind, payload.clone()).await.unwrap_or_else(|error| {
                warn!(job = id, %error, "a payload has no file: it goes into the database");
                Stored::Inline(payload)
            }));
        }
        let [output, events] = kept;
        let bytes = [&output, &events].into_iter().flatten().map(|stored| stored.len() as u64).sum::<u64>();
        self.queue().payload_bytes += bytes;
        (output, events)
    }
}
