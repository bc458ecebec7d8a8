//! What is known of one path, for as long as it stays in the table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hawser_edge_core::id::{PathId, SegmentId, Spi, UplinkId, gre_key};
use hawser_esp::gre::{Gre, Protocol};
use hawser_esp::{Layout, Opener, Sealer, SequenceEvidence};

use super::counters::{EspEvidence, PathCounters};
use super::spec::{Family, PathSpec};

/// At most one `SourceSeen` of a path in this time.
const SOURCE_SEEN_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct PathState {
    pub(super) id: PathId,
    pub(super) uplink: UplinkId,
    pub(super) family: Family,
    pub(super) remote: ArcSwapOption<SocketAddr>,
    pub(super) outbound: ArcSwapOption<Outbound>,
    sent: Tally,
    received: Tally,
    evidence: Evidence,
    /// Microseconds since the start of the data plane.
    source_seen_again_us: AtomicU64,
}

/// A path's outbound SAs, one a lane, which come and go together.
#[derive(Debug)]
pub(super) struct Outbound(Vec<Arc<OutboundEntry>>);

impl Outbound {
    /// `None` without any.
    pub(super) fn new(lanes: Vec<Arc<OutboundEntry>>) -> Option<Self> {
        (!lanes.is_empty()).then_some(Outbound(lanes))
    }

    /// The lane of that number; of a sender with more, several share one.
    pub(super) fn lane(&self, lane: usize) -> &Arc<OutboundEntry> {
        &self.0[lane % self.0.len()]
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = &Arc<OutboundEntry>> {
        self.0.iter()
    }
}

/// An outbound SA: what seals is chosen when it is installed, and called once a batch.
#[derive(Debug)]
pub(super) struct OutboundEntry {
    pub(super) sa: Box<dyn Sealer>,
    pub(super) layout: Layout,
}

/// An inbound SA and whose it is.
#[derive(Debug)]
pub(super) struct InboundEntry {
    pub(super) sa: Box<dyn Opener>,
    pub(super) path: Arc<PathState>,
    /// The SPI of its lane 0, under which it comes and goes.
    pub(super) first: Spi,
    pub(super) lane: u8,
    /// When it was installed, since the start of the data plane.
    pub(super) since: Duration,
}

impl PathState {
    pub(super) fn new(spec: &PathSpec) -> Self {
        PathState {
            id: spec.id,
            uplink: spec.uplink,
            family: spec.family,
            remote: ArcSwapOption::empty(),
            outbound: ArcSwapOption::empty(),
            sent: Tally::default(),
            received: Tally::default(),
            evidence: Evidence::default(),
            source_seen_again_us: AtomicU64::new(0),
        }
    }

    /// The GRE header of the path's packets in a segment.
    pub(super) fn gre(&self, segment: SegmentId, protocol: Protocol) -> Gre {
        Gre { protocol, key: gre_key(self.id, segment), sequence: None }
    }

    pub(super) fn count_sent(&self, packets: u64, bytes: u64) {
        self.sent.add(packets, bytes);
    }

    pub(super) fn count_received(&self, packets: u64, bytes: u64) {
        self.received.add(packets, bytes);
    }

    /// What the sequence numbers of a batch told, on any of the path's SAs.
    pub(super) fn count_evidence(&self, told: SequenceEvidence) {
        self.evidence.add(told);
    }

    pub(super) fn evidence(&self) -> EspEvidence {
        self.evidence.read()
    }

    pub(super) fn counters(&self) -> PathCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PathCounters {
            tx_packets: read(&self.sent.packets),
            tx_bytes: read(&self.sent.bytes),
            rx_packets: read(&self.received.packets),
            rx_bytes: read(&self.received.bytes),
            esp: self.evidence(),
        }
    }

    /// Whether a source may be told now; `uptime` is since the start of the data plane.
    pub(super) fn may_tell_source(&self, uptime: Duration) -> bool {
        let now_us = uptime.as_micros() as u64;
        if now_us < self.source_seen_again_us.load(Ordering::Relaxed) {
            return false;
        }
        let again_us = now_us + SOURCE_SEEN_EVERY.as_micros() as u64;
        self.source_seen_again_us.store(again_us, Ordering::Relaxed);
        true
    }
}

/// Both counts in one word, so that no reader sees the one without the other: a batch would look lost.
#[derive(Debug, Default)]
struct Evidence(AtomicU64);

impl Evidence {
    fn add(&self, told: SequenceEvidence) {
        if told == SequenceEvidence::default() {
            return;
        }
        let add = |word: u64| {
            let expected = ((word >> 32) as u32).wrapping_add(told.expected as u32);
            let received = (word as u32).wrapping_add(told.received as u32);
            u64::from(expected) << 32 | u64::from(received)
        };
        // Never fails: the closure always gives a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| Some(add(word)));
    }

    fn read(&self) -> EspEvidence {
        let word = self.0.load(Ordering::Relaxed);
        EspEvidence { expected: (word >> 32) as u32, received: word as u32 }
    }
}

#[derive(Debug, Default)]
struct Tally {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
