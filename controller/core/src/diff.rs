//! Whose configuration changed.

use std::collections::{BTreeMap, BTreeSet};

use hawser_proto::config::v1::EdgeConfig;

use crate::intent::EdgeName;

/// Edges, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    pub added: BTreeSet<EdgeName>,
    pub changed: BTreeSet<EdgeName>,
    pub removed: BTreeSet<EdgeName>,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// What became of each edge's configuration.
pub fn diff(old: &BTreeMap<EdgeName, EdgeConfig>, new: &BTreeMap<EdgeName, EdgeConfig>) -> Diff {
    let mut found = Diff::default();
    for (name, config) in new {
        match old.get(name) {
            None => found.added.insert(name.clone()),
            Some(before) if before != config => found.changed.insert(name.clone()),
            Some(_) => false,
        };
    }
    found.removed = old.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
    found
}
