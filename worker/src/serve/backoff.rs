//! Pauses between tries: doubling, jittered, bounded.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pauses of one kind of work.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The pause after another failure: between half of the doubled pause and all of it, so that workers
    /// that failed together do not try again together.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        // Keyed anew by the system for each value: random enough, without a crate for it.
        let share =
            f64::from((RandomState::new().hash_one(self.failures) >> 32) as u32) / f64::from(u32::MAX);
        doubled.mul_f64(0.5 + share / 2.0)
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for limit in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next().as_millis();
            assert!((limit / 2..=limit).contains(&pause), "{pause} of {limit}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
