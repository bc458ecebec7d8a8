//! What the kernel counts on each association, added up by path.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hawser_edge_core::id::PathId;
use hawser_edge_core::kernel::{Direction, StateId};

use super::xfrm::Reading;
use crate::dataplane::{Counters, DropReason, EspEvidence, PathCounters, SaCounters};

/// One dump of all associations serves every question in this time: probes ask often, and of all paths of a tunnel.
const FRESH: Duration = Duration::from_millis(50);
/// GRE with a key.
const GRE_BYTES: u64 = 8;
/// SPI, number, IV, padding and tag of an AEAD around what the kernel counts; other suites take some octets more.
const ESP_BYTES: u64 = 8 + 8 + 4 + 16;

/// Sums that go on when an association ends.
#[derive(Debug, Default)]
pub struct Readings {
    read: Option<Instant>,
    last: BTreeMap<StateId, Reading>,
    paths: BTreeMap<PathId, PathCounters>,
    replayed: u64,
    bad_icv: u64,
}

impl Readings {
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.read.is_some_and(|read| now < read + FRESH)
    }

    /// Takes a dump in.
    pub fn take(&mut self, all: Vec<Reading>, now: Instant) {
        self.read = Some(now);
        let present: BTreeSet<StateId> = all.iter().map(|reading| reading.id).collect();
        self.last.retain(|id, _| present.contains(id));
        for reading in all {
            self.take_one(reading);
        }
    }

    fn take_one(&mut self, new: Reading) {
        let old = self.last.get(&new.id);
        let of = |field: fn(&Reading) -> u64| field(&new).saturating_sub(old.map_or(0, field));
        let (packets, bytes) = (of(|r| r.packets), of(|r| r.bytes));
        let inner = bytes.saturating_sub(packets * GRE_BYTES);
        let path = self.paths.entry(new.id.path).or_default();
        match new.id.direction {
            Direction::In => {
                // What came before the first reading is taken to be all there was.
                let expected =
                    if old.is_none_or(|old| old.packets == 0) { packets } else { of(|r| r.top) };
                path.esp.expected = path.esp.expected.wrapping_add(expected as u32);
                path.esp.received = path.esp.received.wrapping_add(packets as u32);
                path.rx_packets += packets;
                path.rx_bytes += inner;
                self.replayed += of(|r| u64::from(r.replayed));
                self.bad_icv += of(|r| u64::from(r.bad_icv));
            }
            Direction::Out => {
                path.tx_packets += packets;
                path.tx_bytes += inner;
            }
        }
        self.last.insert(new.id, new);
    }

    /// All that the last dump had.
    pub fn last(&self) -> impl Iterator<Item = &Reading> {
        self.last.values()
    }

    /// Of a path that is gone nothing is kept.
    pub fn retain(&mut self, wanted: impl Fn(PathId) -> bool) {
        self.paths.retain(|path, _| wanted(*path));
    }

    pub fn evidence(&self, path: PathId) -> EspEvidence {
        self.paths.get(&path).map(|path| path.esp).unwrap_or_default()
    }

    /// `drops` come from elsewhere; what the kernel counts is added.
    pub fn counters(&self, drops: BTreeMap<DropReason, u64>) -> Counters {
        let mut counters = Counters { paths: self.paths.clone(), drops, ..Counters::default() };
        *counters.drops.entry(DropReason::Replayed).or_default() += self.replayed;
        *counters.drops.entry(DropReason::BadIcv).or_default() += self.bad_icv;
        for reading in self.last.values() {
            let sa = SaCounters {
                spi: reading.id.spi.0,
                packets: reading.packets,
                bytes: reading.bytes + reading.packets * ESP_BYTES,
            };
            match reading.id.direction {
                Direction::In => drop(counters.inbound_sas.insert(reading.id.spi, sa)),
                Direction::Out => drop(counters.outbound_sas.insert(reading.id.path, vec![sa])),
            }
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use hawser_edge_core::id::Spi;

    use super::*;

    fn inbound(spi: u32, top: u64, packets: u64) -> Reading {
        let id = StateId { path: PathId(1), direction: Direction::In, spi: Spi(spi) };
        let end = "192.0.2.1:4510".parse().unwrap();
        let (local, remote) = (end, end);
        let bytes = packets * 100;
        Reading { id, local, remote, top, packets, bytes, replayed: 0, bad_icv: 0, added_s: 0 }
    }

    #[test]
    fn what_is_missing_between_two_readings_is_told_and_sums_outlive_associations() {
        let mut readings = Readings::default();
        let now = Instant::now();
        let told = |readings: &mut Readings, all| {
            readings.take(all, now);
            let esp = readings.evidence(PathId(1));
            (esp.expected, esp.received)
        };
        // Numbers before the first reading tell nothing: the association may be older than this agent.
        assert_eq!(told(&mut readings, vec![inbound(300, 1_000, 10)]), (10, 10));
        assert_eq!(told(&mut readings, vec![inbound(300, 1_010, 17)]), (20, 17));
        assert_eq!(
            told(&mut readings, vec![inbound(300, 1_010, 17), inbound(301, 0, 0)]),
            (20, 17)
        );
        assert_eq!(told(&mut readings, vec![inbound(301, 5, 5)]), (25, 22));
        assert_eq!(told(&mut readings, vec![]), (25, 22));
        assert!(readings.is_fresh(now) && !readings.is_fresh(now + FRESH));
        assert_eq!(readings.counters(BTreeMap::new()).paths[&PathId(1)].rx_bytes, 22 * 92);
    }
}
