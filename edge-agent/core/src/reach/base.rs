//! What this edge can tell its neighbours: one list for all of them, of which each sees its part.

use hawser_proto::peer::v1 as wire;

use super::{PART_MAX_BYTES, Prefix};
use crate::id::{EdgeId, TunnelId};

/// A prefix that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) prefix: Prefix,
    /// None: it is this edge's own.
    pub(super) next_hop: Option<TunnelId>,
    /// From the origin to this edge.
    pub(super) via: Vec<EdgeId>,
    pub(super) violates: bool,
}

/// Everything, in order of prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) entries: Vec<Entry>,
    pub(super) drained: bool,
}

/// What changed for a neighbour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) any: bool,
    /// Something is withdrawn, or worse than before: it must be told at once.
    pub(super) worse: bool,
}

impl Entry {
    /// Split horizon: not to the next hop itself, nor to one that would find itself on the way.
    fn shown_to(&self, tunnel: TunnelId, edge: EdgeId) -> bool {
        self.next_hop != Some(tunnel) && !self.via.contains(&edge)
    }

    fn says_as(&self, other: &Entry) -> bool {
        self.via == other.via && self.violates == other.violates
    }
}

/// An entry before and after.
pub(super) type Differing<'a> = (Option<&'a Entry>, Option<&'a Entry>);

impl Base {
    /// What a neighbour sees.
    pub(super) fn seen_by(&self, tunnel: TunnelId, edge: EdgeId) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.shown_to(tunnel, edge))
    }

    /// Says the same to the neighbour.
    pub(super) fn same_for(&self, other: &Base, tunnel: TunnelId, edge: EdgeId) -> bool {
        let told = |base| Base::seen_by(base, tunnel, edge).map(|e| (e.prefix, &e.via, e.violates));
        self.drained == other.drained && told(self).eq(told(other))
    }

    /// Entries that differ: both lists are in order.
    pub(super) fn differing<'a>(&'a self, after: &'a Base) -> Vec<Differing<'a>> {
        let (mut old, mut new) = (self.entries.iter().peekable(), after.entries.iter().peekable());
        let mut found = Vec::new();
        loop {
            let pair = match (old.peek(), new.peek()) {
                (None, None) => return found,
                (Some(o), Some(n)) if o.prefix == n.prefix => (old.next(), new.next()),
                (Some(o), Some(n)) if o.prefix < n.prefix => (old.next(), None),
                (Some(_), None) => (old.next(), None),
                _ => (None, new.next()),
            };
            if pair.0 != pair.1 {
                found.push(pair);
            }
        }
    }
}

/// What a list of differing entries means to a neighbour.
pub(super) fn change(differing: &[Differing<'_>], tunnel: TunnelId, edge: EdgeId) -> Change {
    let mut change = Change::default();
    for (before, after) in differing {
        let shown = |entry: &Option<&Entry>| entry.is_some_and(|e| e.shown_to(tunnel, edge));
        match (shown(before), shown(after)) {
            (false, false) => {}
            (true, true) => {
                let (Some(before), Some(after)) = (before, after) else { continue };
                change.any |= !before.says_as(after);
                // A longer way is a detour, which the neighbour may well have a shorter one than.
                change.worse |=
                    after.violates && !before.violates || after.via.len() > before.via.len();
            }
            (was, _) => {
                change.any = true;
                change.worse |= was;
            }
        }
    }
    change
}

/// The messages of one advertisement.
pub(super) fn messages<'a>(
    sequence: u64,
    drained: bool,
    entries: impl Iterator<Item = &'a Entry>,
) -> Vec<wire::Reachability> {
    let part = || wire::Reachability { sequence, drained, ..Default::default() };
    let (mut messages, mut bytes) = (vec![part()], 0);
    for entry in entries {
        let prefix = wire::ReachablePrefix {
            segment_id: u32::from(entry.prefix.0.0),
            prefix: entry.prefix.1.to_string(),
            via_edge_ids: entry.via.iter().map(|edge| edge.0).collect(),
            violates: entry.violates,
        };
        let more_bytes = encoded_bytes(&prefix);
        if bytes + more_bytes > PART_MAX_BYTES {
            messages.push(part());
            bytes = 0;
        }
        bytes += more_bytes;
        if let Some(last) = messages.last_mut() {
            last.prefixes.push(prefix);
        }
    }
    let parts = messages.len() as u32;
    for (number, message) in messages.iter_mut().enumerate().filter(|_| parts > 1) {
        (message.part, message.parts) = (number as u32, parts);
    }
    messages
}

/// At most: tags, lengths, and numbers of full width.
fn encoded_bytes(prefix: &wire::ReachablePrefix) -> usize {
    3 + 3 + 2 + prefix.prefix.len() + 3 + 5 * prefix.via_edge_ids.len() + 2
}
