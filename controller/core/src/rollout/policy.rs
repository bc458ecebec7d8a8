//! How a rollout is staged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What the operator asked for, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Sites that go first; empty: one that is connected and no hub.
    pub canary_sites: Vec<String>,
    /// A wave must be in order for so long before the next one.
    pub soak_ms: u64,
    /// An edge must confirm its generation in that time. Longer than an agent takes to go back by itself.
    pub settle_within_ms: u64,
    /// After the last wave it is taken back unless it is confirmed in that time.
    pub confirm_within_ms: Option<u64>,
    /// The next wave may have so many times the sites that have it already.
    pub growth: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            canary_sites: Vec::new(),
            soak_ms: 30_000,
            settle_within_ms: 120_000,
            confirm_within_ms: None,
            growth: 3,
        }
    }
}

/// An edge that gets a new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub edge: String,
    pub site: String,
    pub hub: bool,
    pub connected: bool,
}

/// Edges by wave. A site goes as a whole; each hub has a wave of its own at the end, so that another one carries on.
pub fn waves(members: &[Member], policy: &Policy) -> Vec<Vec<String>> {
    let mut sites: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    for member in members {
        sites.entry(&member.site).or_default().push(member);
    }
    let canaries = canaries(&sites, policy);
    let is_hub = |site: &&str| sites[site].iter().any(|member| member.hub);
    let rest: Vec<&str> = sites.keys().copied().filter(|site| !canaries.contains(site)).collect();
    let (hubs, branches): (Vec<&str>, Vec<&str>) = rest.into_iter().partition(is_hub);
    let edges = |sites_of_wave: &[&str]| -> Vec<String> {
        sites_of_wave.iter().flat_map(|s| &sites[s]).map(|member| member.edge.clone()).collect()
    };
    let mut waves = vec![edges(&canaries.iter().copied().collect::<Vec<_>>())];
    let mut done = canaries.len();
    let mut left = branches.as_slice();
    while !left.is_empty() {
        let size = (done * policy.growth.max(1) as usize).clamp(1, left.len());
        let (wave, after) = left.split_at(size);
        waves.push(edges(wave));
        done += size;
        left = after;
    }
    waves.extend(hubs.iter().map(|hub| edges(&[hub])));
    waves.retain(|wave| !wave.is_empty());
    waves
}

fn canaries<'a>(sites: &BTreeMap<&'a str, Vec<&Member>>, policy: &Policy) -> BTreeSet<&'a str> {
    let named = |site: &&str| policy.canary_sites.iter().any(|name| name == *site);
    let named: BTreeSet<&str> = sites.keys().copied().filter(named).collect();
    if !named.is_empty() {
        return named;
    }
    // One that proves something, and hurts few.
    let best = sites.iter().min_by_key(|(name, members)| {
        let hub = members.iter().any(|member| member.hub);
        let away = !members.iter().all(|member| member.connected);
        (away, hub, **name)
    });
    best.map(|(name, _)| *name).into_iter().collect()
}
