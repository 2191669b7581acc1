//! A bounded map that forgets what was used least recently.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key, at most `limit` of them.
#[derive(Debug)]
pub(crate) struct Kept<K, V> {
    entries: HashMap<K, (u64, V)>,
    limit: usize,
    clock: u64,
}

impl<K: Hash + Eq + Clone, V> Kept<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit: limit.max(1), clock: 0 }
    }

    /// The value of `key`, which counts as a use.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        self.clock += 1;
        let (used, value) = self.entries.get_mut(key)?;
        *used = self.clock;
        Some(value)
    }

    /// Adds or replaces a value; returns what has to go for it: the old value, or the least recently used.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        self.clock += 1;
        if let Some((_, old)) = self.entries.insert(key.clone(), (self.clock, value)) {
            return Some((key, old));
        }
        if self.entries.len() <= self.limit {
            return None;
        }
        let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())?;
        self.entries.remove(&oldest).map(|(_, value)| (oldest, value))
    }
}
