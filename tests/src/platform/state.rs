//! Everything a platform remembers, and the changes that more than one route makes.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::faults::Faults;
use super::jobs::{Job, Status};
use super::log::Recorded;
use super::settings::Settings;
use super::violation::{Violation, ViolationKind};

#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) jobs: HashMap<String, Job>,
    pub(super) queue: VecDeque<String>,
    pub(super) workers: HashMap<String, Worker>,
    /// Endpoints that clients have made: id and name.
    pub(super) endpoints: BTreeMap<String, String>,
    pub(super) faults: Faults,
    pub(super) log: Vec<Recorded>,
    pub(super) violations: Vec<Violation>,
    /// Jobs without a final status.
    pub(super) open: usize,
    pub(super) requeued: usize,
    last_id: usize,
}

/// What is known of a worker.
#[derive(Debug)]
pub(super) struct Worker {
    /// Jobs it was handed and has not answered.
    pub(super) held: HashSet<String>,
    /// Its answers of late, for the fault that delivers a job again.
    pub(super) answered: VecDeque<String>,
    /// Jobs it must be told to stop.
    pub(super) to_stop: Vec<String>,
    /// How many jobs it was ever given.
    pub(super) given: usize,
    /// Since when it holds nothing.
    pub(super) idle_since: Instant,
    /// The latest ping, or what excuses that there is none.
    pub(super) pinged_at: Instant,
}

impl Worker {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            held: HashSet::new(),
            answered: VecDeque::new(),
            to_stop: Vec::new(),
            given: 0,
            idle_since: now,
            pinged_at: now,
        }
    }

    pub(super) fn release(&mut self, job: &str) {
        if self.held.remove(job) && self.held.is_empty() {
            self.idle_since = Instant::now();
        }
    }
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            faults: Faults::new(settings.seed),
            endpoints: BTreeMap::from([(settings.endpoint.clone(), settings.endpoint.clone())]),
            settings,
            jobs: HashMap::new(),
            queue: VecDeque::new(),
            workers: HashMap::new(),
            log: Vec::new(),
            violations: Vec::new(),
            open: 0,
            requeued: 0,
            last_id: 0,
        }
    }

    pub(super) fn worker(&mut self, id: &str) -> &mut Worker {
        self.workers.entry(id.to_owned()).or_insert_with(Worker::new)
    }

    pub(super) fn violate(
        &mut self,
        kind: ViolationKind,
        worker: &str,
        job: Option<&str>,
        detail: impl Into<String>,
    ) {
        let (worker, job) = (worker.to_owned(), job.map(str::to_owned));
        self.violations.push(Violation { kind, worker, job, detail: detail.into() });
    }

    /// Takes the body of a `/run` in. Like the real platform, it hands an empty `input` on as none.
    pub(super) fn submit(&mut self, id: Option<String>, body: Value) -> String {
        self.last_id += 1;
        let id = id.unwrap_or_else(|| format!("job-{:06}-u1", self.last_id));
        let mut document = Map::new();
        document.insert("id".to_owned(), json!(id));
        let Value::Object(fields) = body else { return self.enqueue(id, &document) };
        document.extend(fields.into_iter().filter(|(name, _)| name != "id"));
        if document.get("input").and_then(Value::as_object).is_some_and(Map::is_empty) {
            document.remove("input");
        }
        self.enqueue(id, &document)
    }

    fn enqueue(&mut self, id: String, document: &Map<String, Value>) -> String {
        let payload = serde_json::to_vec(document).expect("it was parsed before").into();
        let mut job = Job::new(id.clone(), payload);
        let limit = |name: &str| {
            let limit = document.get("policy").and_then(|policy| policy.get(name)).and_then(Value::as_u64);
            limit.map(Duration::from_millis)
        };
        (job.execution_limit, job.time_to_live) = (limit("executionTimeout"), limit("ttl"));
        self.jobs.insert(id.clone(), job);
        self.queue.push_back(id.clone());
        self.open += 1;
        id
    }

    pub(super) fn status_document(&self, id: &str) -> Option<Value> {
        let document = self.jobs.get(id)?.document();
        Some(serde_json::to_value(document).expect("it was parsed before"))
    }

    /// Gives a job its final status, and tells its worker to stop where that is news to it.
    /// False if the job has a final status already, or is unknown.
    pub(super) fn finish(&mut self, id: &str, status: Status) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| !job.status.is_final()) else { return false };
        let was_queued = job.status == Status::InQueue;
        job.status = status;
        job.finished_at = Some(Instant::now());
        job.changed.notify_waiters();
        let holder = job.worker.clone();
        self.open -= 1;
        if was_queued {
            self.queue.retain(|other| other != id);
        } else if let Some(holder) = holder {
            let worker = self.worker(&holder);
            worker.release(id);
            if matches!(status, Status::Cancelled | Status::TimedOut) {
                worker.to_stop.push(id.to_owned());
            } else {
                worker.answered.push_back(id.to_owned());
                if worker.answered.len() > 16 {
                    worker.answered.pop_front();
                }
            }
        }
        true
    }

    /// Ends what is overdue, queues again what nobody speaks of; says whether either happened.
    pub(super) fn sweep(&mut self) -> bool {
        let now = Instant::now();
        let requeue_after = self.settings.requeue_after;
        let held = self.workers.values().flat_map(|worker| &worker.held);
        let (mut overdue, mut silent) = (Vec::new(), Vec::new());
        for job in held.chain(self.queue.iter().take(64)).filter_map(|id| self.jobs.get(id)) {
            let queued = job.status == Status::InQueue;
            if job.is_overdue(now) {
                overdue.push(job.id.clone());
            } else if !queued && requeue_after.is_some_and(|limit| now > job.seen_at + limit) {
                silent.push(job.id.clone());
            }
        }
        for id in &overdue {
            self.finish(id, Status::TimedOut);
        }
        for id in &silent {
            self.requeue(id);
        }
        !overdue.is_empty() || !silent.is_empty()
    }

    fn requeue(&mut self, id: &str) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.status = Status::InQueue;
        if let Some(worker) = job.worker.take() {
            self.worker(&worker).release(id);
        }
        self.queue.push_front(id.to_owned());
        self.requeued += 1;
    }

    /// The platform itself is deaf until then, so nobody's silence counts.
    pub(super) fn silence_is_ours(&mut self, until: Instant) {
        for worker in self.workers.values_mut() {
            worker.pinged_at = worker.pinged_at.max(until);
            for id in &worker.held {
                if let Some(job) = self.jobs.get_mut(id) {
                    job.seen_at = job.seen_at.max(until);
                    job.doubtful = true;
                }
            }
        }
    }

    /// A worker was killed; another comes under its name.
    pub(super) fn forget(&mut self, id: &str) {
        let worker = self.worker(id);
        worker.pinged_at = Instant::now();
        worker.idle_since = Instant::now();
        for job in self.jobs.values_mut().filter(|job| job.holders.iter().any(|holder| holder == id)) {
            job.doubtful = true;
            job.forgiven += 1;
        }
    }
}
