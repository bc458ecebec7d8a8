//! Which of several paths a flow takes: weighted rendezvous hashing (Thaler and Ravishankar 1998; with weights by the
//! logarithmic method of Schindelhauer and Schomaker 2005).
//!
//! Each path draws a score for the flow, and the highest wins. So a flow stays as long as its path does, and when a path
//! comes, goes or changes its weight, only flows to it or from it move.

use hawser_edge_core::id::PathId;

/// The candidate that the flow takes; `None` without one. A weight of 0 counts as 1.
pub(super) fn pick<T>(
    flow: u64,
    candidates: impl IntoIterator<Item = (PathId, u32, T)>,
) -> Option<T> {
    let scored =
        candidates.into_iter().map(|(path, weight, what)| (score(flow, path, weight), what));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, what)| what)
}

/// Of independent exponential variables the one of rate w is the least with a probability in proportion to w.
fn score(flow: u64, path: PathId, weight: u32) -> f64 {
    let bits = avalanche(flow ^ avalanche(u64::from(path.0)));
    // 53 bits, and never 0 or 1.
    let uniform = ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(weight.max(1)) / uniform.ln()
}

/// The finalizer of splitmix64: every bit of the input changes half of the output's.
fn avalanche(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Weights = [(u32, u32)];

    fn path_of(flow: u64, weights: &Weights) -> Option<u32> {
        pick(flow, weights.iter().map(|&(path, weight)| (PathId(path), weight, path)))
    }

    fn shares(flows: u64, weights: &Weights) -> BTreeMap<u32, u64> {
        let mut shares = BTreeMap::new();
        for path in (0..flows).filter_map(|flow| path_of(flow, weights)) {
            *shares.entry(path).or_default() += 1;
        }
        shares
    }

    #[test]
    fn flows_are_shared_by_weight() {
        let shares = shares(100_000, &[(1, 1), (2, 2), (9, 7)]);
        // Three standard deviations are below 500.
        for (path, wanted) in [(1, 10_000), (2, 20_000), (9, 70_000)] {
            assert!(shares[&path].abs_diff(wanted) < 500, "{shares:?}");
        }
    }

    #[test]
    fn without_a_path_there_is_none_and_no_weight_is_a_weight_of_one() {
        assert_eq!(path_of(1, &[]), None);
        let shares = shares(20_000, &[(1, 0), (2, 1)]);
        assert!(shares[&1].abs_diff(10_000) < 300, "{shares:?}");
    }

    proptest! {
        #[test]
        fn only_flows_of_a_path_that_comes_or_goes_move(
            weights in prop::collection::btree_map(0_u32..1 << 24, 1_u32..1_000, 2..10),
            which in any::<prop::sample::Index>(),
            flows in prop::collection::vec(any::<u64>(), 1..50),
        ) {
            let all: Vec<(u32, u32)> = weights.into_iter().collect();
            let mut fewer = all.clone();
            let (gone, _) = fewer.remove(which.index(all.len()));
            for flow in flows {
                let before = path_of(flow, &all);
                prop_assert_eq!(before, path_of(flow, &all));
                let after = path_of(flow, &fewer);
                prop_assert!(after == before || before == Some(gone));
                prop_assert!(after != Some(gone));
            }
        }

        #[test]
        fn more_weight_only_draws_flows_to_its_path(
            weights in prop::collection::btree_map(0_u32..1 << 24, 1_u32..1_000, 2..10),
            which in any::<prop::sample::Index>(),
            flows in prop::collection::vec(any::<u64>(), 1..50),
        ) {
            let light: Vec<(u32, u32)> = weights.into_iter().collect();
            let mut heavy = light.clone();
            let more = which.index(light.len());
            heavy[more].1 *= 3;
            for flow in flows {
                let (before, after) = (path_of(flow, &light), path_of(flow, &heavy));
                prop_assert!(after == before || after == Some(heavy[more].0));
            }
        }
    }
}
