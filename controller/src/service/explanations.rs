//! What each edge said of why its traffic was where it was: newest in, oldest out, bounded by bytes.

use std::collections::VecDeque;

use hawser_proto::agent::v1::Explanation;
use prost::Message as _;

/// For the whole fleet; each edge has its share.
const FLEET_BYTES: usize = 256 << 20;
/// A branch of two tunnels with three classes fills this in about four days.
const MOST_PER_EDGE_BYTES: usize = 16 << 20;
/// Some minutes of a branch.
const LEAST_PER_EDGE_BYTES: usize = 64 << 10;
/// An entry's own cost in memory, beside its text.
const ENTRY_BYTES: usize = 512;

#[derive(Debug, Default)]
pub struct Explanations {
    /// In the order of their coming.
    kept: VecDeque<(Explanation, usize)>,
    bytes: usize,
}

/// Bytes that an edge of a fleet of so many may fill.
pub fn share_of(edges: usize) -> usize {
    (FLEET_BYTES / edges.max(1)).clamp(LEAST_PER_EDGE_BYTES, MOST_PER_EDGE_BYTES)
}

impl Explanations {
    pub fn push(&mut self, explanation: Explanation, most_bytes: usize) {
        let size = explanation.encoded_len() + ENTRY_BYTES;
        self.bytes += size;
        self.kept.push_back((explanation, size));
        while self.bytes > most_bytes && self.kept.len() > 1 {
            if let Some((_, size)) = self.kept.pop_front() {
                self.bytes -= size;
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Explanation> {
        self.kept.iter().map(|(explanation, _)| explanation)
    }

    /// 0: none.
    pub fn oldest_unix_ms(&self) -> u64 {
        self.kept.front().map_or(0, |(oldest, _)| oldest.unix_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_within_the_bytes() {
        let mut kept = Explanations::default();
        for unix_ms in 1..=1_000 {
            let summary = "x".repeat(100);
            kept.push(Explanation { unix_ms, summary, ..Default::default() }, 10_000);
        }
        assert!(kept.bytes <= 10_000 && kept.iter().count() > 10, "{}", kept.bytes);
        assert_eq!(kept.iter().last().unwrap().unix_ms, 1_000);
        assert_eq!(kept.bytes, kept.kept.iter().map(|(_, size)| size).sum::<usize>());
        // One that is too big alone stays until the next comes.
        kept.push(Explanation { summary: "x".repeat(20_000), ..Default::default() }, 10_000);
        assert_eq!(kept.iter().count(), 1);
    }

    #[test]
    fn a_fleet_of_any_size_has_its_bound() {
        assert_eq!(share_of(0), MOST_PER_EDGE_BYTES);
        assert_eq!(share_of(3), MOST_PER_EDGE_BYTES);
        assert_eq!(share_of(1_024), FLEET_BYTES / 1_024);
        assert_eq!(share_of(1_000_000), LEAST_PER_EDGE_BYTES);
    }
}
