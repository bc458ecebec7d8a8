//! A map that forgets what was used least recently.

use std::collections::BTreeMap;

/// At most `limit` entries; each `get` and `insert` makes its entry the newest.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    entries: BTreeMap<K, (V, u64)>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
    limit: usize,
}

impl<K: Ord + Clone, V: Copy> Lru<K, V> {
    /// An empty map.
    pub(super) fn new(limit: usize) -> Self {
        assert!(limit > 0);
        Lru { entries: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, limit }
    }

    /// The value, now the newest.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        let value = self.entries.get(key)?.0;
        self.insert(key.clone(), value);
        Some(value)
    }

    /// Adds or replaces. Says whether the oldest entry had to go.
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        self.uses += 1;
        if let Some((_, used)) = self.entries.insert(key.clone(), (value, self.uses)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.uses, key);
        if self.entries.len() <= self.limit {
            return false;
        }
        if let Some((_, oldest)) = self.by_use.pop_first() {
            self.entries.remove(&oldest);
        }
        true
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
