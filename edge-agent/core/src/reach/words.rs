//! What a peer has told, checked. What is malformed is left out and counted: what is left out counts as withdrawn.

use std::collections::BTreeMap;

use hawser_proto::peer::v1 as wire;
use ipnet::IpNet;

use super::{PARTS_MAX, PREFIXES_MAX, Prefix, VIA_MAX};
use crate::id::{EdgeId, SegmentId};

/// How a peer gets to a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// From the origin to the peer.
    pub(super) via: Vec<EdgeId>,
    pub(super) violates: bool,
}

/// A whole advertisement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) ways: BTreeMap<Prefix, Way>,
    pub(super) drained: bool,
}

/// Why something of a peer was not taken. Stable names of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// Its sequence number is not above the last one: it was sent again, or overtaken.
    Stale,
    /// A part that does not follow the one before.
    BadPart,
    BadSegment,
    BadPrefix,
    BadVia,
    Duplicate,
    TooMany,
    UnknownPeer,
}

impl Refusal {
    pub(super) fn counter(self) -> &'static str {
        match self {
            Refusal::Stale => "reachability_stale",
            Refusal::BadPart => "reachability_bad_part",
            Refusal::BadSegment => "reachability_bad_segment",
            Refusal::BadPrefix => "reachability_bad_prefix",
            Refusal::BadVia => "reachability_bad_via",
            Refusal::Duplicate => "reachability_duplicate",
            Refusal::TooMany => "reachability_too_many",
            Refusal::UnknownPeer => "reachability_unknown_peer",
        }
    }
}

/// One peer's last word. A lost session changes nothing about it.
#[derive(Debug, Default)]
pub(super) struct Words {
    boot_id: String,
    /// Of the last whole advertisement of this start of the peer's agent.
    sequence: u64,
    /// None: the peer has never said anything.
    pub(super) told: Option<Told>,
    gathering: Option<Gathering>,
}

/// The parts so far of an advertisement.
#[derive(Debug)]
struct Gathering {
    sequence: u64,
    next: u32,
    parts: u32,
    told: Told,
}

impl Words {
    /// A session began. Another start of the agent counts its sequence anew.
    pub(super) fn handle_session(&mut self, boot_id: &str) {
        self.gathering = None;
        if self.boot_id != boot_id {
            boot_id.clone_into(&mut self.boot_id);
            self.sequence = 0;
        }
    }

    /// Takes one message. With the last part of an advertisement the word before comes back.
    pub(super) fn handle_message(
        &mut self,
        message: &wire::Reachability,
        mut refuse: impl FnMut(Refusal),
    ) -> Option<Option<Told>> {
        if message.sequence <= self.sequence {
            refuse(Refusal::Stale);
            return None;
        }
        let parts = message.parts.max(1);
        if message.part == 0 && parts <= PARTS_MAX {
            let (sequence, told) = (message.sequence, Told::default());
            self.gathering = Some(Gathering { sequence, next: 0, parts, told });
        }
        let follows = |g: &&mut Gathering| {
            (g.sequence, g.next, g.parts) == (message.sequence, message.part, parts)
        };
        let Some(gathering) = self.gathering.as_mut().filter(follows) else {
            self.gathering = None;
            refuse(Refusal::BadPart);
            return None;
        };
        gathering.next += 1;
        gathering.told.drained |= message.drained;
        for entry in &message.prefixes {
            if let Err(refusal) = take(&mut gathering.told.ways, entry) {
                refuse(refusal);
            }
        }
        if gathering.next < gathering.parts {
            return None;
        }
        self.sequence = message.sequence;
        let whole = self.gathering.take()?.told;
        Some(self.told.replace(whole))
    }

    /// None: it is not said, and nothing else is either.
    pub(super) fn way(&self, prefix: &Prefix) -> Option<&Way> {
        self.told.as_ref()?.ways.get(prefix)
    }
}

fn take(ways: &mut BTreeMap<Prefix, Way>, entry: &wire::ReachablePrefix) -> Result<(), Refusal> {
    if ways.len() >= PREFIXES_MAX {
        return Err(Refusal::TooMany);
    }
    let segment = u8::try_from(entry.segment_id).map_err(|_| Refusal::BadSegment)?;
    if SegmentId(segment) == SegmentId::INFRASTRUCTURE {
        return Err(Refusal::BadSegment);
    }
    let prefix: IpNet = entry.prefix.parse().map_err(|_| Refusal::BadPrefix)?;
    if prefix != prefix.trunc() {
        return Err(Refusal::BadPrefix);
    }
    let via: Vec<EdgeId> = entry.via_edge_ids.iter().copied().map(EdgeId).collect();
    if via.is_empty() || via.len() > VIA_MAX {
        return Err(Refusal::BadVia);
    }
    let key = (SegmentId(segment), prefix);
    if ways.contains_key(&key) {
        return Err(Refusal::Duplicate);
    }
    ways.insert(key, Way { via, violates: entry.violates });
    Ok(())
}
