//! Who waits for a runner, and who gets which: the pool's decisions, without any waiting or starting.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use farcall_protocol::frame::Role;
use tokio::sync::oneshot;

use super::PoolHealth;
use crate::runner::shared::SharedRunner;
use crate::runner::{Runner, StartError};

/// Starts that fail in a row until a worker without runners is called unhealthy.
const FAILING: u32 = 3;

/// Sources remembered for each runner.
const REMEMBERED_SOURCES: usize = 32;

/// What a request would like.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The class instance it is for.
    pub instance: Option<String>,
    /// A hash of its source.
    pub source: u64,
    /// It may share a runner with others: asynchronous code, in a worker that runs several at a time.
    pub shareable: bool,
}

/// Where a class instance lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Runner(u64),
    Shared,
}

/// Where a class instance lives, or is being made.
#[derive(Debug)]
struct Home {
    place: Place,
    /// A call has told that it exists.
    exists: bool,
}

/// What a request got.
#[derive(Debug)]
pub(super) enum Grant {
    /// A runner of its own.
    Exclusive(u64, Box<Runner>),
    /// That runner is at work.
    Running(u64),
    /// A place on the shared runner.
    Shared(SharedRunner),
    /// That place is in use.
    SharedRunning,
}

#[derive(Debug)]
struct Waiter {
    wish: Wish,
    grant: oneshot::Sender<Grant>,
}

/// An idle runner.
#[derive(Debug)]
struct Idle {
    member: u64,
    runner: Box<Runner>,
    /// Sources it has loaded, the most recent last.
    sources: VecDeque<u64>,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// Runners there are to be.
    pub(super) desired: usize,
    concurrency: usize,
    waiting: VecDeque<Waiter>,
    idle: Vec<Idle>,
    /// Runners at work, with the sources they had loaded before.
    leased: HashMap<u64, VecDeque<u64>>,
    starting: usize,
    shared: Option<SharedRunner>,
    shared_running: usize,
    shared_wanted: bool,
    shared_starting: bool,
    instances: HashMap<String, Home>,
    next_member: u64,
    failures: u32,
    last_failure: Option<Arc<StartError>>,
    closed: bool,
}

impl Grant {
    fn place(&self) -> Place {
        match self {
            Self::Exclusive(member, _) | Self::Running(member) => Place::Runner(*member),
            Self::Shared(_) | Self::SharedRunning => Place::Shared,
        }
    }
}

impl Queue {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            desired: 0,
            concurrency,
            waiting: VecDeque::new(),
            idle: Vec::new(),
            leased: HashMap::new(),
            starting: 0,
            shared: None,
            shared_running: 0,
            shared_wanted: false,
            shared_starting: false,
            instances: HashMap::new(),
            next_member: 1,
            failures: 0,
            last_failure: None,
            closed: false,
        }
    }

    /// Adds a request at the end. Returns how many wait, it included.
    pub(super) fn enter(&mut self, wish: Wish, grant: oneshot::Sender<Grant>) -> usize {
        if !self.closed {
            self.waiting.push_back(Waiter { wish, grant });
        }
        self.waiting.len()
    }

    /// Grants runners to whoever can be served, the longest waiting first.
    pub(super) fn dispatch(&mut self) {
        self.lose_dead();
        let mut index = 0;
        while index < self.waiting.len() && self.leased.len() + self.shared_running < self.concurrency {
            if self.waiting[index].grant.is_closed() {
                self.waiting.remove(index);
                continue;
            }
            let Some(grant) = self.choose(index) else {
                index += 1;
                continue;
            };
            let waiter = self.waiting.remove(index).expect("the index is in range");
            if let Some(id) = &waiter.wish.instance {
                // From now on: a second call that comes before the first has made it must not make another.
                let home = Home { place: grant.place(), exists: false };
                self.instances.entry(id.clone()).or_insert(home);
            }
            if let Err(grant) = waiter.grant.send(grant) {
                self.take_back(grant); // it gave up just now
            }
        }
    }

    /// Whether a shared runner has to be made.
    pub(super) fn take_need_for_shared(&mut self) -> bool {
        let needed = std::mem::take(&mut self.shared_wanted) && !self.shared_starting && !self.closed;
        self.shared_starting |= needed;
        needed
    }

    /// How many runners have to be made.
    pub(super) fn take_missing(&mut self) -> usize {
        let missing = self.desired.saturating_sub(self.idle.len() + self.leased.len() + self.starting);
        self.starting += missing;
        missing
    }

    /// A runner is ready. Returns whether it is the first ever.
    pub(super) fn add(&mut self, runner: Box<Runner>) -> bool {
        self.starting -= 1;
        self.failures = 0;
        let member = self.next_member;
        self.next_member += 1;
        self.idle.push(Idle { member, runner, sources: VecDeque::new() });
        member == 1
    }

    pub(super) fn set_shared(&mut self, runner: SharedRunner) {
        self.shared_starting = false;
        self.failures = 0;
        self.shared = Some(runner);
    }

    /// A runner did not start. Returns how many in a row did not. Until [`Queue::may_retry`] it counts as
    /// starting, so that nobody tries again at once.
    pub(super) fn note_failure(&mut self, failure: StartError) -> u32 {
        self.failures += 1;
        self.last_failure = Some(Arc::new(failure));
        self.failures
    }

    /// A failed start may be tried again.
    pub(super) fn may_retry(&mut self, role: Role) {
        match role {
            Role::Shared => self.shared_starting = false,
            Role::Exclusive | Role::Template => self.starting -= 1,
        }
    }

    /// Nobody who waits will get a runner.
    pub(super) fn fail_all(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn last_failure(&self) -> Arc<StartError> {
        self.last_failure.clone().unwrap_or_else(|| Arc::new(StartError::Closed))
    }

    /// A runner comes back. Returns it if it is not wanted any more.
    pub(super) fn give_back(&mut self, member: u64, runner: Box<Runner>, source: u64) -> Option<Box<Runner>> {
        let mut sources = self.leased.remove(&member).unwrap_or_default();
        if self.closed {
            return Some(runner);
        }
        sources.retain(|known| *known != source);
        sources.push_back(source);
        if sources.len() > REMEMBERED_SOURCES {
            sources.pop_front();
        }
        self.idle.push(Idle { member, runner, sources });
        None
    }

    /// A runner is dead. Returns how many class instances went with it.
    pub(super) fn lose(&mut self, member: u64) -> usize {
        self.leased.remove(&member);
        self.forget_place(Place::Runner(member))
    }

    pub(super) fn end_shared(&mut self) {
        self.shared_running -= 1;
        if self.shared.as_ref().is_some_and(SharedRunner::has_ended) {
            self.shared = None;
            self.forget_place(Place::Shared);
        }
    }

    pub(super) fn note_instance(&mut self, id: String, place: Place) {
        self.instances.insert(id, Home { place, exists: true });
    }

    /// A call has ended without making its instance.
    pub(super) fn unreserve(&mut self, id: &str) {
        if self.instances.get(id).is_some_and(|home| !home.exists) {
            self.instances.remove(id);
        }
    }

    pub(super) fn forget_instance(&mut self, id: &str) {
        self.instances.remove(id);
    }

    pub(super) fn health(&self) -> PoolHealth {
        let has_runner = !self.idle.is_empty() || !self.leased.is_empty();
        let had_runner = self.next_member > 1;
        if !has_runner && self.failures >= FAILING {
            PoolHealth::Failing
        } else if has_runner || had_runner {
            PoolHealth::Ready // without one, it is between a death and its replacement
        } else {
            PoolHealth::Starting
        }
    }

    /// Nobody gets a runner any more. Returns the idle ones.
    pub(super) fn close(&mut self) -> Vec<Runner> {
        self.closed = true;
        self.desired = 0;
        self.waiting.clear();
        self.shared = None;
        self.idle.drain(..).map(|idle| *idle.runner).collect()
    }

    /// What the request at `index` can have now.
    fn choose(&mut self, index: usize) -> Option<Grant> {
        let wish = &self.waiting[index].wish;
        let home = wish.instance.as_ref().and_then(|id| self.instances.get(id));
        let place = home.map(|home| home.place);
        match place {
            Some(Place::Shared) => return self.choose_shared(),
            Some(Place::Runner(member)) if self.leased.contains_key(&member) => return None,
            Some(Place::Runner(member)) => {
                let position = self.idle.iter().position(|idle| idle.member == member)?;
                return Some(self.take_idle(position));
            }
            None if wish.shareable => return self.choose_shared(),
            None => {}
        }
        let source = wish.source;
        let recency = |idle: &Idle| idle.sources.iter().rposition(|known| *known == source);
        let fewest = |idle: &Idle| std::cmp::Reverse(idle.sources.len());
        let best = (0..self.idle.len())
            .max_by_key(|&at| (recency(&self.idle[at]).is_some(), fewest(&self.idle[at])))?;
        Some(self.take_idle(best))
    }

    fn choose_shared(&mut self) -> Option<Grant> {
        if self.shared.as_ref().is_some_and(SharedRunner::has_ended) {
            self.shared = None;
            self.forget_place(Place::Shared);
        }
        let Some(shared) = &self.shared else {
            self.shared_wanted = true;
            return None;
        };
        self.shared_running += 1;
        Some(Grant::Shared(shared.clone()))
    }

    /// Forgets idle runners that have ended: something may kill them at any time.
    fn lose_dead(&mut self) {
        let dead = self.idle.extract_if(.., |idle| idle.runner.has_ended());
        for member in dead.map(|idle| idle.member).collect::<Vec<_>>() {
            self.forget_place(Place::Runner(member));
        }
    }

    fn take_idle(&mut self, position: usize) -> Grant {
        let Idle { member, runner, sources } = self.idle.swap_remove(position);
        self.leased.insert(member, sources);
        Grant::Exclusive(member, runner)
    }

    fn take_back(&mut self, grant: Grant) {
        match grant {
            Grant::Exclusive(member, runner) => {
                let sources = self.leased.remove(&member).unwrap_or_default();
                self.idle.push(Idle { member, runner, sources });
            }
            _ => self.shared_running -= 1,
        }
    }

    fn forget_place(&mut self, place: Place) -> usize {
        let before = self.instances.len();
        self.instances.retain(|_, home| home.place != place);
        before - self.instances.len()
    }
}
