//! Blocks of one edge to traces: one for each pair of uplinks of each tunnel.

use std::collections::{BTreeMap, BTreeSet};

use super::{Block, Blocks, Entry, Names, PathName, Tick, Trace, grid};
use crate::id::{PathId, TunnelId};

/// Probes kept of one edge: a week of eight paths at 10 Hz.
const MAX_PROBES: usize = 50_000_000;
/// In the year 2286; what is later is nonsense.
const LAST: Tick = Tick(100_000_000_000_000);

/// Gathers what is asked for.
#[derive(Debug)]
pub struct Collector {
    since: Tick,
    until: Tick,
    names: BTreeMap<PathId, PathName>,
    edge: String,
    probes: BTreeMap<PathId, Vec<Entry>>,
    kept: usize,
    /// Probes left out because there were too many.
    pub dropped: u64,
    /// Octets that were damaged.
    pub skipped_bytes: u64,
}

impl Collector {
    pub fn new(since: Tick, until: Tick) -> Self {
        Collector {
            since,
            until: until.min(LAST),
            names: BTreeMap::new(),
            edge: String::new(),
            probes: BTreeMap::new(),
            kept: 0,
            dropped: 0,
            skipped_bytes: 0,
        }
    }

    /// Whole blocks, in the order in which they were written.
    pub fn add(&mut self, octets: &[u8]) {
        let mut blocks = Blocks::new(octets);
        for block in blocks.by_ref() {
            match block {
                Block::Names(names) => self.add_names(names),
                Block::Probes { path, entries } => self.add_probes(path, entries),
            }
        }
        self.skipped_bytes += blocks.skipped();
    }

    /// Probes that fall into the time that was asked for.
    pub fn len(&self) -> usize {
        self.kept
    }

    pub fn is_empty(&self) -> bool {
        self.kept == 0
    }

    /// Of every pair of uplinks of the tunnels to `peer` (an edge or a site), or of all.
    pub fn traces(mut self, peer: Option<&str>, grid_ms: u32) -> Vec<Trace> {
        self.probes.values_mut().for_each(settle);
        let mut tunnels: BTreeMap<TunnelId, Vec<&PathName>> = BTreeMap::new();
        let measured = self.names.values().filter(|name| self.probes.contains_key(&name.path));
        for name in measured {
            if peer.is_none_or(|peer| peer == name.peer_edge || peer == name.peer_site) {
                tunnels.entry(name.tunnel).or_default().push(name);
            }
        }
        let mut traces = Vec::new();
        for paths in tunnels.values() {
            for pair in self.pairs(paths) {
                let probes = pair.map(|(_, path)| self.probes[&path.path].as_slice());
                let columns = pair.map(|(column, _)| column.to_owned());
                let stem =
                    format!("{}-{}-{}-{}", self.edge, pair[0].1.peer_edge, columns[0], columns[1]);
                traces.extend(grid::traces(&stem, &columns, probes, grid_ms));
            }
        }
        traces
    }

    /// For each pair of uplinks the two paths that tell most: without an uplink in common, of one family, with most probes.
    fn pairs<'a>(&self, paths: &[&'a PathName]) -> Vec<[(&'a str, &'a PathName); 2]> {
        let locals: BTreeSet<&str> = paths.iter().map(|p| p.local_uplink.as_str()).collect();
        // With one uplink at this end, those of the other end are compared.
        let column = |path: &'a PathName| -> &'a str {
            if locals.len() > 1 { &path.local_uplink } else { &path.remote_uplink }
        };
        let mut by_uplinks: BTreeMap<(&str, &str), [&'a PathName; 2]> = BTreeMap::new();
        for &a in paths {
            for &b in paths.iter().filter(|b| column(a) < column(b)) {
                let best = by_uplinks.entry((column(a), column(b))).or_insert([a, b]);
                if self.worth([a, b]) > self.worth(*best) {
                    *best = [a, b];
                }
            }
        }
        by_uplinks.into_iter().map(|((u, v), [a, b])| [(u, a), (v, b)]).collect()
    }

    fn worth(&self, [a, b]: [&PathName; 2]) -> (bool, bool, usize) {
        let count = |path: &PathName| self.probes.get(&path.path).map_or(0, Vec::len);
        let apart = a.remote_uplink != b.remote_uplink && a.local_uplink != b.local_uplink;
        (apart, a.ipv6 == b.ipv6, count(a).min(count(b)))
    }

    fn add_names(&mut self, names: Names) {
        self.edge = names.edge;
        // Path IDs are given once: the newest name of one is the name of all of it.
        self.names.extend(names.paths.into_iter().map(|path| (path.path, path)));
    }

    fn add_probes(&mut self, path: PathId, entries: Vec<Entry>) {
        let wanted = entries.into_iter().filter(|e| (self.since..=self.until).contains(&e.sent));
        let wanted: Vec<Entry> = wanted.collect();
        let room = MAX_PROBES.saturating_sub(self.kept).min(wanted.len());
        self.dropped += (wanted.len() - room) as u64;
        self.kept += room;
        if room > 0 {
            self.probes.entry(path).or_default().extend(&wanted[..room]);
        }
    }
}

/// In the order of sending; of two entries of one probe the later one counts.
fn settle(entries: &mut Vec<Entry>) {
    entries.sort_by_key(|entry| entry.sent);
    let mut settled: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries.drain(..) {
        match settled.last_mut() {
            Some(before) if before.sent == entry.sent => *before = entry,
            _ => settled.push(entry),
        }
    }
    *entries = settled;
}
