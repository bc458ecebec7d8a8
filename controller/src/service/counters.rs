//! Counts of what happened and of what was dropped, by name.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Names are literals, so the table is bounded.
#[derive(Debug, Default)]
pub struct Counters(Mutex<BTreeMap<&'static str, u64>>);

impl Counters {
    pub fn add(&self, name: &'static str, count: u64) {
        if count > 0 {
            let mut counters = self.0.lock().unwrap_or_else(|e| e.into_inner());
            *counters.entry(name).or_default() += count;
        }
    }

    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        let counters = self.0.lock().unwrap_or_else(|e| e.into_inner());
        counters.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    }
}
