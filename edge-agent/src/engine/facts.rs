//! What the controller tells besides generations: runtime facts and advice.

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_edge_core::id::{EdgeId, PathId, UplinkId};
use hawser_edge_core::policy;
use hawser_edge_core::select::Advice;
use hawser_edge_core::time::Micros;
use hawser_proto::agent::v1 as wire;
use hawser_proto::revocation::RevocationList;

use super::Engine;
use crate::peer::RevokedSerials;

/// Of an advice's ID and reason, as they are kept.
const MAX_ID_CHARS: usize = 128;
const MAX_REASON_CHARS: usize = 512;

impl Engine {
    /// All facts, merged: they replace those before.
    pub(super) fn on_facts(&mut self, facts: &wire::Facts) {
        self.fact_endpoints = facts
            .endpoints
            .iter()
            .map(|e| {
                let endpoints = e.endpoints.iter().filter_map(|text| text.parse().ok()).collect();
                (UplinkId(e.uplink_id), endpoints)
            })
            .collect();
        let peers: Vec<EdgeId> = facts.endpoints.iter().map(|e| EdgeId(e.edge_id)).collect();
        for peer in peers {
            self.refresh_endpoints(peer);
        }
    }

    /// A newer list of certificates that are good no more: connections and keys that rest on one end at once.
    pub(super) fn on_revocations(&mut self, list: &RevocationList) {
        tracing::info!(number = list.number(), revoked = list.serials().len(), "revocations");
        self.peers.set_revoked(RevokedSerials::of(list));
    }

    /// Replaces the advice that was there; with nothing to avoid there is none.
    pub(super) fn on_advice(&mut self, advice: &wire::Advice) {
        let now = self.clock.now();
        self.advice = Advised::new(advice, now);
        tracing::info!(id = advice.id, ttl_s = advice.ttl_s, "advice: {}", advice.reason);
        let edges = self.advice.edges(now).cloned().unwrap_or_default();
        let until = self.advice.until(now).unwrap_or(now);
        self.reach.handle_advice(edges, until, self.advice.reason().to_owned(), now);
        for selection in self.selections.values_mut() {
            selection.selector.handle_advice(self.advice.of_paths(now), now);
        }
        let tunnels: BTreeSet<_> = self.selections.keys().map(|(tunnel, _)| *tunnel).collect();
        for tunnel in tunnels {
            self.select_tunnel(tunnel, None, now);
        }
        self.drive_reach(now);
    }
}

/// The controller's advice, until it runs out. It only orders what is equally good.
#[derive(Debug, Default)]
pub(super) struct Advised {
    id: String,
    reason: String,
    paths: BTreeSet<PathId>,
    edges: BTreeSet<EdgeId>,
    until: Micros,
}

impl Advised {
    fn new(advice: &wire::Advice, now: Micros) -> Self {
        let bounded = |ids: &[u32]| ids.iter().copied().take(policy::ADVICE_PATHS_MAX).collect();
        let (paths, edges): (Vec<u32>, Vec<u32>) =
            (bounded(&advice.avoid_path_ids), bounded(&advice.avoid_edge_ids));
        let ttl = Duration::from_secs(u64::from(advice.ttl_s)).min(policy::ADVICE_MAX);
        Advised {
            id: advice.id.chars().take(MAX_ID_CHARS).collect(),
            reason: advice.reason.chars().take(MAX_REASON_CHARS).collect(),
            paths: paths.into_iter().map(PathId).collect(),
            edges: edges.into_iter().map(EdgeId).collect(),
            until: now + ttl,
        }
    }

    /// For selectors.
    pub(super) fn of_paths(&self, now: Micros) -> Option<Advice> {
        (now < self.until && !self.paths.is_empty()).then(|| Advice {
            avoid: self.paths.clone(),
            until: self.until,
            reason: self.reason.clone(),
        })
    }

    /// Edges to avoid as next hops.
    pub(super) fn edges(&self, now: Micros) -> Option<&BTreeSet<EdgeId>> {
        (now < self.until && !self.edges.is_empty()).then_some(&self.edges)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// When it runs out; `None`: there is none.
    pub(super) fn until(&self, now: Micros) -> Option<Micros> {
        (now < self.until).then_some(self.until)
    }

    /// The advice that a voluntary move from one path to another follows.
    pub(super) fn followed(
        &self,
        from: Option<PathId>,
        to: Option<PathId>,
        now: Micros,
    ) -> Option<&str> {
        let avoids = |path: Option<PathId>| path.is_some_and(|path| self.paths.contains(&path));
        (now < self.until && avoids(from) && !avoids(to)).then_some(self.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_followed_until_it_runs_out_and_bounded_whatever_it_says() {
        let wire = wire::Advice {
            id: "x".repeat(1_000),
            ttl_s: 10,
            avoid_path_ids: (1..=5_000).collect(),
            avoid_edge_ids: vec![7],
            reason: "because".into(),
        };
        let now = Micros(1_000_000);
        let advised = Advised::new(&wire, now);
        let later = now + Duration::from_secs(10);
        assert_eq!(advised.of_paths(now).unwrap().avoid.len(), policy::ADVICE_PATHS_MAX);
        assert_eq!(advised.edges(now), Some(&[EdgeId(7)].into()));
        assert_eq!((advised.until(now), advised.until(later)), (Some(later), None));
        let path = |id| Some(PathId(id));
        let followed = |from, to, at| advised.followed(path(from), path(to), at).map(str::len);
        assert_eq!(followed(1, 4_000, now), Some(MAX_ID_CHARS));
        assert_eq!(followed(1, 2, now), None);
        assert_eq!(followed(4_000, 1, now), None);
        assert_eq!(followed(1, 4_000, later), None);
        assert_eq!((advised.of_paths(later), advised.edges(later)), (None, None));
        let withdrawn = Advised::new(&wire::Advice::default(), now);
        assert_eq!((withdrawn.of_paths(now), withdrawn.until(now)), (None, None));
    }
}
