//! What a new revision changes: for people to read before it is applied.

mod blink;
mod edge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hawser_proto::config::v1::EdgeConfig;

pub use blink::{Blink, blinks};
pub use edge::edge_changes;

/// What becomes of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Made,
    Changed,
    Removed,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Made => "made",
            Action::Changed => "changed",
            Action::Removed => "removed",
        }
    }
}

/// One thing of an edge that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub action: Action,
    /// E.g. `uplink isp-a`.
    pub what: String,
    /// E.g. `cost 10 → 21`; may be empty.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeChanges {
    pub edge: String,
    pub action: Action,
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteChanges {
    pub site: String,
    pub action: Action,
    pub edges: Vec<EdgeChanges>,
}

/// Configurations by the edge's name.
pub type Configs = BTreeMap<String, EdgeConfig>;

/// Sites whose edges' configurations differ, sorted by name.
pub fn site_changes(old: &Configs, new: &Configs) -> Vec<SiteChanges> {
    let mut sites: BTreeMap<String, Vec<EdgeChanges>> = BTreeMap::new();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (before, after) = (old.get(name), new.get(name));
        let (site, action, changes) = match (before, after) {
            (None, Some(after)) => (&after.site, Action::Made, Vec::new()),
            (Some(before), None) => (&before.site, Action::Removed, Vec::new()),
            (Some(before), Some(after)) if before != after => {
                (&after.site, Action::Changed, edge_changes(before, after))
            }
            _ => continue,
        };
        let change = EdgeChanges { edge: name.clone(), action, changes };
        sites.entry(site.clone()).or_default().push(change);
    }
    let of = |configs: &Configs| -> BTreeSet<String> {
        configs.values().map(|config| config.site.clone()).collect()
    };
    let (before, after) = (of(old), of(new));
    let action = |site: &String| match (before.contains(site), after.contains(site)) {
        (false, _) => Action::Made,
        (true, false) => Action::Removed,
        (true, true) => Action::Changed,
    };
    let whole = |(site, edges)| SiteChanges { action: action(&site), site, edges };
    sites.into_iter().map(whole).collect()
}
