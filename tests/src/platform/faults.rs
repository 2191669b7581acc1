//! Faults: which of them strikes which request. Random, but the same for the same seed.

use std::time::Duration;

use super::route::Route;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is looked at later.
    Delay(Duration),
    /// The request is refused, unprocessed, with this status.
    Status(u16),
    /// The connection is reset, the request unprocessed.
    ResetBefore,
    /// The request is processed, but its answer lost: the connection is reset.
    ResetAfter,
    /// The request is processed; the answer breaks off in the middle.
    BrokenBody,
    /// The request is processed; the answer comes in two halves, with a pause.
    SlowBody,
    /// On a take: a job that the worker has, or has just answered, is delivered again.
    Duplicate,
    /// On a take: something comes that is no job.
    Malformed(Malformed),
}

/// What is no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// An object without `id`.
    NoId,
    /// An object without `input`. It has an id, so it must be answered.
    NoInput,
    /// A number, or one in the batch.
    NotAnObject,
    /// A body that is not JSON, called JSON.
    NotJson,
    /// A job, called HTML.
    WrongContentType,
    /// 200, and nothing.
    Empty,
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// The next so many requests on the route.
    Next(usize),
    /// Each request on the route, with this probability.
    Chance(f64),
}

#[derive(Debug)]
pub(super) struct Faults {
    switched_on: Vec<(Route, Fault, When)>,
    random: u64,
    pub(super) struck: usize,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self { switched_on: Vec::new(), random: seed.max(1), struck: 0 }
    }

    pub(super) fn add(&mut self, route: Route, fault: Fault, when: When) {
        self.switched_on.push((route, fault, when));
    }

    pub(super) fn clear(&mut self) {
        self.switched_on.clear();
    }

    /// The first fault that strikes this request. `Take` stands for both ways to take.
    pub(super) fn strike(&mut self, route: Route) -> Option<Fault> {
        if self.switched_on.is_empty() {
            return None;
        }
        let route = if route == Route::Batch { Route::Take } else { route };
        let mut found = None;
        for index in 0..self.switched_on.len() {
            let (on, fault, when) = self.switched_on[index];
            let strikes = on == route
                && match when {
                    When::Next(left) => left > 0,
                    When::Chance(chance) => self.random() < chance,
                };
            if strikes {
                if let When::Next(left) = &mut self.switched_on[index].2 {
                    *left -= 1;
                }
                found = Some(fault);
                break;
            }
        }
        self.switched_on.retain(|(_, _, when)| *when != When::Next(0));
        self.struck += usize::from(found.is_some());
        found
    }

    /// In [0, 1): xorshift64*, which is random enough for faults.
    fn random(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = u32::try_from(self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).unwrap_or(0);
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}
