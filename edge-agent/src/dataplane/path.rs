//! What is known of one path, for as long as it stays in the table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hawser_edge_core::id::{PathId, SegmentId, UplinkId, gre_key};
use hawser_esp::gre::{Gre, Protocol};
use hawser_esp::{InboundSa, OutboundSa};

use super::counters::PathCounters;
use super::spec::{Family, PathSpec};

/// At most one `SourceSeen` of a path in this time.
const SOURCE_SEEN_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct PathState {
    pub(super) id: PathId,
    pub(super) uplink: UplinkId,
    pub(super) family: Family,
    pub(super) remote: ArcSwapOption<SocketAddr>,
    pub(super) outbound: ArcSwapOption<OutboundSa>,
    sent: Tally,
    received: Tally,
    /// Microseconds since the start of the data plane.
    source_seen_again_us: AtomicU64,
}

/// An inbound SA and whose it is.
#[derive(Debug)]
pub(super) struct InboundEntry {
    pub(super) sa: InboundSa,
    pub(super) path: Arc<PathState>,
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
            source_seen_again_us: AtomicU64::new(0),
        }
    }

    /// The GRE header of the path's packets in a segment.
    pub(super) fn gre(&self, segment: SegmentId, protocol: Protocol) -> Gre {
        Gre { protocol, key: gre_key(self.id, segment) }
    }

    pub(super) fn count_sent(&self, packets: u64, bytes: u64) {
        self.sent.add(packets, bytes);
    }

    pub(super) fn count_received(&self, packets: u64, bytes: u64) {
        self.received.add(packets, bytes);
    }

    pub(super) fn counters(&self) -> PathCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PathCounters {
            tx_packets: read(&self.sent.packets),
            tx_bytes: read(&self.sent.bytes),
            rx_packets: read(&self.received.packets),
            rx_bytes: read(&self.received.bytes),
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
