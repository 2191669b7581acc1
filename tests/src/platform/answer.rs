//! `job-done` and `job-stream`: results, progress, chunks.

use std::time::Instant;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::check;
use super::faults::Fault;
use super::jobs::Status;
use super::log::Recorded;
use super::reply::Reply;
use super::route::Query;
use super::state::State;
use super::violation::ViolationKind as Kind;

/// What a worker posts. `Some("null")` where the field is there and null.
#[derive(Debug, Deserialize)]
struct Posted {
    #[serde(default, deserialize_with = "present")]
    output: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    error: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default, rename = "stopPod")]
    _stop_pod: Option<bool>,
}

/// A post, and whose it is.
#[derive(Debug)]
pub(super) struct Post<'a> {
    pub(super) worker: &'a str,
    pub(super) job: &'a str,
    pub(super) query: Query,
    pub(super) request: &'a Recorded,
    pub(super) fault: Option<Fault>,
}

impl State {
    /// A final result, or progress.
    pub(super) fn done(&mut self, post: &Post<'_>) -> Reply {
        let (worker, job) = (post.worker, post.job);
        let Some((posted, is_stream)) = self.open_post(post) else { return Reply::json(&json!({})) };
        if posted.status.as_deref() == Some("IN_PROGRESS") {
            return self.progress(post, posted, is_stream);
        }
        let Some(known) = self.jobs.get(job) else { return Reply::json(&json!({})) };
        if !known.chunks.is_empty() && !is_stream {
            self.violate(Kind::Query, worker, Some(job), "`isStream` is false after chunks");
        }
        let failed = posted.error.as_ref().is_some_and(|error| !matches!(error.get(), "null" | "\"\""));
        let status = if failed { Status::Failed } else { Status::Completed };
        let lost = matches!(post.fault, Some(Fault::ResetAfter | Fault::BrokenBody | Fault::SlowBody));
        if !self.finish(job, status) {
            self.second_answer(worker, job);
        } else if let Some(known) = self.jobs.get_mut(job) {
            known.worker = Some(worker.to_owned());
            (known.output, known.error) = (posted.output, posted.error.filter(|_| failed));
        }
        if let Some(known) = self.jobs.get_mut(job) {
            known.forgiven += usize::from(lost);
        }
        Reply::json(&json!({}))
    }

    /// A chunk of a stream.
    pub(super) fn chunk(&mut self, post: &Post<'_>) -> Reply {
        let (worker, job) = (post.worker, post.job);
        let Some((posted, is_stream)) = self.open_post(post) else { return Reply::json(&json!({})) };
        if is_stream {
            self.violate(Kind::Query, worker, Some(job), "a chunk with `isStream=true`");
        }
        self.refuse_after_final(worker, job, "a chunk");
        let Some(chunk) = posted.output else {
            self.violate(Kind::Body, worker, Some(job), "a chunk without `output`");
            return Reply::json(&json!({}));
        };
        if let Some(known) = self.jobs.get_mut(job).filter(|job| !job.status.is_final()) {
            known.chunks.push(chunk);
            known.changed.notify_waiters();
        }
        Reply::json(&json!({}))
    }

    fn progress(&mut self, post: &Post<'_>, posted: Posted, is_stream: bool) -> Reply {
        let (worker, job) = (post.worker, post.job);
        if is_stream {
            self.violate(Kind::Query, worker, Some(job), "progress with `isStream=true`");
        }
        self.refuse_after_final(worker, job, "progress");
        if let Some(known) = self.jobs.get_mut(job).filter(|job| !job.status.is_final()) {
            known.output = posted.output;
            known.changed.notify_waiters();
        }
        Reply::json(&json!({}))
    }

    /// Checks what holds for every post, and parses it. None if it cannot be taken.
    fn open_post(&mut self, post: &Post<'_>) -> Option<(Posted, bool)> {
        let (worker, job) = (post.worker, post.job);
        check::worker_request(self, worker);
        check::post(self, post.request, worker, job);
        let is_stream = match post.query.get("isStream") {
            Some("true") => true,
            Some("false") => false,
            _ => {
                self.violate(Kind::Query, worker, Some(job), format!("`isStream` in `{}`", post.query));
                false
            }
        };
        let held =
            self.jobs.get(job).is_some_and(|known| known.holders.iter().any(|holder| holder == worker));
        if !held {
            self.violate(Kind::UnknownJob, worker, Some(job), "a post for a job that it never had");
        }
        if let Some(known) = self.jobs.get_mut(job) {
            known.doubtful = true;
            known.seen_at = Instant::now();
        }
        match serde_json::from_slice(&post.request.body) {
            Ok(posted) => held.then_some((posted, is_stream)),
            Err(error) => {
                let body = String::from_utf8_lossy(&post.request.body[..post.request.body.len().min(200)]);
                let detail = format!("{error}: {body}");
                self.violate(Kind::Body, worker, Some(job), detail);
                None
            }
        }
    }

    fn refuse_after_final(&mut self, worker: &str, job: &str, what: &str) {
        let answered =
            self.jobs.get(job).is_some_and(|job| matches!(job.status, Status::Completed | Status::Failed));
        if answered {
            self.violate(Kind::AfterFinal, worker, Some(job), format!("{what} after the final answer"));
        }
        self.refuse_after_stop(worker, job);
    }

    fn second_answer(&mut self, worker: &str, job: &str) {
        let Some(known) = self.jobs.get_mut(job) else { return };
        if !matches!(known.status, Status::Completed | Status::Failed) {
            return self.refuse_after_stop(worker, job);
        }
        if known.forgiven > 0 {
            known.forgiven -= 1;
        } else {
            self.violate(Kind::SecondAnswer, worker, Some(job), "the job was answered before");
        }
    }

    fn refuse_after_stop(&mut self, worker: &str, job: &str) {
        let grace = self.settings.stop_grace;
        let late = self.jobs.get(job).and_then(|job| job.stop_told_at).filter(|told| told.elapsed() > grace);
        if let Some(told) = late {
            let detail = format!("posted {:?} after it was told to stop", told.elapsed());
            self.violate(Kind::AnswerAfterStop, worker, Some(job), detail);
        }
    }
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}
