//! The shared runners of a pool: at most one for each set of packages, the least recently used one out.

use crate::environment::Packages;
use crate::runner::shared::SharedRunner;

/// What a request for a place on a shared runner can have now.
#[derive(Debug)]
pub(super) enum Place {
    /// A place on it.
    Here(SharedRunner),
    /// It has yet to be made; the caller's next [`SharedRunners::take_wanted`] says so.
    Soon,
}

#[derive(Debug)]
struct Slot {
    packages: Packages,
    state: State,
}

#[derive(Debug)]
enum State {
    Wanted,
    Starting,
    Ready(SharedRunner),
}

/// In order of their last use, the most recent last.
#[derive(Debug)]
pub(super) struct SharedRunners {
    slots: Vec<Slot>,
    most: usize,
}

impl SharedRunners {
    /// Keeps up to `most` of them.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Vec::new(), most }
    }

    /// A place on the runner that has `packages`, which is noted as wanted if there is none.
    pub(super) fn place(&mut self, packages: &Packages) -> Place {
        let slot = match self.slots.iter().position(|slot| slot.packages == *packages) {
            Some(position) => self.slots.remove(position),
            None => Slot { packages: packages.clone(), state: State::Wanted },
        };
        let place = match &slot.state {
            State::Ready(runner) => Place::Here(runner.clone()),
            State::Wanted | State::Starting => Place::Soon,
        };
        self.slots.push(slot);
        place
    }

    /// The packages of runners that have to be made; they count as starting from now on.
    pub(super) fn take_wanted(&mut self) -> Vec<Packages> {
        let wanted = self.slots.iter_mut().filter(|slot| matches!(slot.state, State::Wanted));
        wanted
            .map(|slot| {
                slot.state = State::Starting;
                slot.packages.clone()
            })
            .collect()
    }

    /// A runner is ready. Returns the packages whose runner has to go for it.
    pub(super) fn set(&mut self, packages: &Packages, runner: SharedRunner) -> Option<Packages> {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.packages == *packages) {
            slot.state = State::Ready(runner);
        }
        let is_too_many = self.slots.len() > self.most;
        is_too_many.then(|| self.slots.remove(0).packages)
    }

    /// A runner did not start, and may be tried again.
    pub(super) fn forget(&mut self, packages: &Packages) {
        self.slots.retain(|slot| slot.packages != *packages);
    }

    /// Forgets runners whose process has ended. Returns their packages.
    pub(super) fn lose_dead(&mut self) -> Vec<Packages> {
        let ended = |slot: &mut Slot| matches!(&slot.state, State::Ready(runner) if runner.has_ended());
        self.slots.extract_if(.., ended).map(|slot| slot.packages).collect()
    }

    /// Lets all of them go; each ends with its last call.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }
}
