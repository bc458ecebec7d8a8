//! Deadlines of many things, each with one.

use std::collections::{BTreeMap, BTreeSet};

use hawser_edge_core::time::Micros;

/// A deadline for each key; finds the earliest in logarithmic time.
#[derive(Debug)]
pub struct Timers<K> {
    by_key: BTreeMap<K, Micros>,
    by_time: BTreeSet<(Micros, K)>,
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Timers { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Sets, moves or (with `None`) removes a key's deadline.
    pub fn set(&mut self, key: K, deadline: Option<Micros>) {
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, key));
        }
        if let Some(deadline) = deadline {
            self.by_key.insert(key, deadline);
            self.by_time.insert((deadline, key));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Micros> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one key whose deadline has come.
    pub fn pop_due(&mut self, now: Micros) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_due_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set("b", Some(Micros(20)));
        timers.set("a", Some(Micros(30)));
        timers.set("a", Some(Micros(10)));
        timers.set("c", Some(Micros(5)));
        timers.set("c", None);
        assert_eq!(timers.next(), Some(Micros(10)));
        assert_eq!(timers.pop_due(Micros(9)), None);
        assert_eq!(timers.pop_due(Micros(25)), Some("a"));
        assert_eq!(timers.pop_due(Micros(25)), Some("b"));
        assert_eq!(timers.pop_due(Micros(25)), None);
        assert_eq!(timers.next(), None);
    }
}
