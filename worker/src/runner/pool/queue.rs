//! Who waits for a runner, and who gets which: the pool's decisions, without any waiting or starting.
//!
//! A runner is fresh until its first call; from then on it has the packages of that call (the interpreter's own,
//! or an environment's in front of them) and serves only calls that want the same. A fresh one stands by for
//! calls that find no other, and the least recently used of the others go when there are too many.

mod shared_runners;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{PoolHealth, PoolSize};
use crate::environment::Packages;
use crate::runner::shared::SharedRunner;
use crate::runner::{Runner, StartError};
use shared_runners::SharedRunners;

/// Starts that fail in a row until a worker without runners is called unhealthy.
const FAILING: u32 = 3;

/// Sources remembered for each runner.
const REMEMBERED_SOURCES: usize = 32;

/// What a request would like.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The packages it is to see.
    pub packages: Packages,
    /// The class instance it is for.
    pub instance: Option<String>,
    /// A hash of its source.
    pub source: u64,
    /// Its code is asynchronous, as it seems.
    pub asynchronous: bool,
    /// It may share a runner with others: asynchronous code, in a worker that runs several at a time.
    pub shareable: bool,
}

/// Where a class instance lives.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Runner(u64),
    /// The shared runner that has these packages.
    Shared(Packages),
}

/// A runner that is being made.
#[derive(Debug, Clone)]
pub(super) enum Making {
    Exclusive,
    /// The shared one that is to have these packages.
    Shared(Packages),
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
    /// A place on the shared runner that has these packages.
    Shared(SharedRunner, Packages),
    /// That place is in use.
    SharedRunning(Packages),
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

/// An idle runner that has to go.
#[derive(Debug)]
pub(super) struct Unwanted {
    pub(super) runner: Box<Runner>,
    /// Class instances that go with it.
    pub(super) instances: usize,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// Whether there may be more than one runner yet.
    pub(super) is_full_size: bool,
    size: PoolSize,
    waiting: VecDeque<Waiter>,
    idle: Vec<Idle>,
    /// Runners at work, with the sources they had loaded before.
    leased: HashMap<u64, VecDeque<u64>>,
    starting: usize,
    shared: SharedRunners,
    shared_running: usize,
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
            Self::Shared(_, packages) | Self::SharedRunning(packages) => Place::Shared(packages.clone()),
        }
    }
}

impl Queue {
    pub(super) fn new(size: PoolSize) -> Self {
        Self {
            is_full_size: false,
            size,
            waiting: VecDeque::new(),
            idle: Vec::new(),
            leased: HashMap::new(),
            starting: 0,
            shared: SharedRunners::new(size.kept + 1),
            shared_running: 0,
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
        while index < self.waiting.len() && self.free_places() > 0 {
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

    /// The packages of shared runners that have to be made.
    pub(super) fn take_wanted_shared(&mut self) -> Vec<Packages> {
        if self.closed { Vec::new() } else { self.shared.take_wanted() }
    }

    /// How many exclusive runners have to be made.
    pub(super) fn take_missing(&mut self) -> usize {
        if self.closed {
            return 0;
        }
        let fresh = self.idle.iter().filter(|idle| idle.runner.is_fresh()).count();
        let used = self.leased.len() + self.idle.len() - fresh;
        let (most, spare) = if self.is_full_size { (self.size.concurrency, self.size.spare) } else { (1, 0) };
        let wanted = spare + most.saturating_sub(used).max(self.unserved());
        let missing = wanted.saturating_sub(fresh + self.starting);
        self.starting += missing;
        missing
    }

    /// Requests that could run at once if there were a fresh runner.
    fn unserved(&self) -> usize {
        let takes_any = |waiter: &&Waiter| {
            let has_home = waiter.wish.instance.as_ref().is_some_and(|id| self.instances.contains_key(id));
            !has_home && !waiter.wish.shareable
        };
        self.waiting.iter().filter(takes_any).take(self.free_places()).count()
    }

    fn free_places(&self) -> usize {
        self.size.concurrency.saturating_sub(self.leased.len() + self.shared_running)
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

    pub(super) fn set_shared(&mut self, packages: &Packages, runner: SharedRunner) {
        self.failures = 0;
        if let Some(dropped) = self.shared.set(packages, runner) {
            self.forget_place(&Place::Shared(dropped));
        }
    }

    /// A runner did not start. Returns how many in a row did not. Until [`Queue::may_retry`] it counts as
    /// starting, so that nobody tries again at once.
    pub(super) fn note_failure(&mut self, failure: StartError) -> u32 {
        self.failures += 1;
        self.last_failure = Some(Arc::new(failure));
        self.failures
    }

    /// A failed start may be tried again.
    pub(super) fn may_retry(&mut self, making: &Making) {
        match making {
            Making::Shared(packages) => self.shared.forget(packages),
            Making::Exclusive => self.starting -= 1,
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

    /// Idle runners that have to go, since [`Queue::dispatch`] has given a fresh one out.
    pub(super) fn take_unwanted(&mut self) -> Vec<Unwanted> {
        let is_used = |idle: &Idle| !idle.runner.is_fresh();
        let used = self.leased.len() + self.idle.iter().filter(|idle| is_used(idle)).count();
        let too_many = used.saturating_sub(self.size.concurrency + self.size.kept);
        let mut unwanted = Vec::new();
        for _ in 0..too_many {
            let Some(oldest) = self.idle.iter().position(is_used) else { break };
            let Idle { member, runner, .. } = self.idle.remove(oldest);
            unwanted.push(Unwanted { runner, instances: self.forget_place(&Place::Runner(member)) });
        }
        unwanted
    }

    /// A runner is dead. Returns how many class instances went with it.
    pub(super) fn lose(&mut self, member: u64) -> usize {
        self.leased.remove(&member);
        self.forget_place(&Place::Runner(member))
    }

    pub(super) fn end_shared(&mut self) {
        self.shared_running -= 1;
        self.lose_dead();
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
        self.waiting.clear();
        self.shared.clear();
        self.idle.drain(..).map(|idle| *idle.runner).collect()
    }

    /// What the request at `index` can have now.
    fn choose(&mut self, index: usize) -> Option<Grant> {
        let wish = &self.waiting[index].wish;
        let home = wish.instance.as_ref().and_then(|id| self.instances.get(id));
        match home.map(|home| home.place.clone()) {
            Some(Place::Shared(packages)) => return self.choose_shared(packages),
            Some(Place::Runner(member)) if self.leased.contains_key(&member) => return None,
            Some(Place::Runner(member)) => {
                let position = self.idle.iter().position(|idle| idle.member == member)?;
                return Some(self.take_idle(position));
            }
            None if wish.shareable => {
                let packages = wish.packages.clone();
                return self.choose_shared(packages);
            }
            None => {}
        }
        // The source loaded before all, then the packages; fresh runners last.
        let rank = |idle: &Idle| {
            let fewest = std::cmp::Reverse(idle.sources.len());
            (idle.sources.contains(&wish.source), !idle.runner.is_fresh(), fewest)
        };
        let fitting = (0..self.idle.len()).filter(|&at| self.idle[at].runner.fits(&wish.packages));
        let best = fitting.max_by_key(|&at| rank(&self.idle[at]))?;
        Some(self.take_idle(best))
    }

    fn choose_shared(&mut self, packages: Packages) -> Option<Grant> {
        let shared_runners::Place::Here(runner) = self.shared.place(&packages) else { return None };
        self.shared_running += 1;
        Some(Grant::Shared(runner, packages))
    }

    /// Forgets runners that have ended while idle: something may kill them at any time.
    fn lose_dead(&mut self) {
        let dead = self.idle.extract_if(.., |idle| idle.runner.has_ended());
        let dead = dead.map(|idle| Place::Runner(idle.member)).collect::<Vec<_>>();
        for place in dead.into_iter().chain(self.shared.lose_dead().into_iter().map(Place::Shared)) {
            self.forget_place(&place);
        }
    }

    fn take_idle(&mut self, position: usize) -> Grant {
        let Idle { member, runner, sources } = self.idle.remove(position);
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

    fn forget_place(&mut self, place: &Place) -> usize {
        let before = self.instances.len();
        self.instances.retain(|_, home| home.place != *place);
        before - self.instances.len()
    }
}
