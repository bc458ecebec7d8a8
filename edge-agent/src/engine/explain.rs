//! Why classes are where they are and why nothing moves, for the controller: what changed in substance, or was not told for
//! a minute. A hub has thousands of selections, so each report looks at a few of them, in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use hawser_edge_core::id::{ClassId, TunnelId};
use hawser_edge_core::ike::links::FIRST_LINK_ID;
use hawser_edge_core::select::{CandidateEvidence, Explanation};
use hawser_edge_core::sla::SlaState;
use hawser_edge_core::time::Micros;
use hawser_proto::agent::v1 as wire;

use super::{Engine, clock};

/// Selections looked at for one report: about 10 µs each.
const LOOKED_AT: usize = 256;
/// Told again after this time, though nothing changed.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// What was told of each selection.
#[derive(Debug, Default)]
pub(super) struct Told {
    by_class: BTreeMap<(TunnelId, ClassId), (u64, Micros)>,
    /// Moved since the last report: they come first.
    due: BTreeSet<(TunnelId, ClassId)>,
    /// The last one that was looked at.
    cursor: Option<(TunnelId, ClassId)>,
}

impl Told {
    /// Something was decided.
    pub(super) fn moved(&mut self, tunnel: TunnelId, class: ClassId) {
        self.due.insert((tunnel, class));
    }

    /// A new session: the controller may know nothing.
    pub(super) fn forget(&mut self) {
        self.by_class.clear();
    }

    /// Whether it is news; then it counts as told.
    fn tell(&mut self, key: (TunnelId, ClassId), substance: u64, now: Micros) -> bool {
        let known = self.by_class.get(&key);
        let old = known.is_some_and(|(s, at)| *s == substance && now.since(*at) < TOLD_AGAIN);
        if !old {
            self.by_class.insert(key, (substance, now));
        }
        !old
    }
}

impl Engine {
    pub(super) fn explanations(&mut self) -> Vec<wire::Explanation> {
        let Some(edge) = self.edge.clone() else { return Vec::new() };
        let now = self.clock.now();
        let of_gateway = |key: &(TunnelId, ClassId)| key.0.0 >= FIRST_LINK_ID;
        let selections = &self.selections;
        self.told.by_class.retain(|key, _| selections.contains_key(key) || of_gateway(key));
        let due = std::mem::take(&mut self.told.due);
        let after = self.told.cursor.take();
        let turn = self.selections.keys().filter(|key| after.is_none_or(|last| **key > last));
        let turn: Vec<_> = turn.copied().filter(|k| !due.contains(k)).take(LOOKED_AT).collect();
        // Fewer than wanted: the next report begins anew.
        self.told.cursor = turn.last().copied().filter(|_| turn.len() == LOOKED_AT);
        let mut news = Vec::new();
        for key in due.into_iter().take(LOOKED_AT).chain(turn) {
            let Some(selection) = self.selections.get(&key) else { continue };
            let explanation = selection.selector.explain(now);
            if !self.told.tell(key, substance(&explanation), now) {
                continue;
            }
            let peer = edge.tunnels.get(&key.0).map(|tunnel| tunnel.peer_edge.clone());
            let name = explanation.selected.map(|path| self.path_name(path));
            news.push(wire::Explanation {
                tunnel_id: key.0.0,
                peer_edge: peer.unwrap_or_default(),
                traffic_class: selection.selector.policy().class_name.clone(),
                path_name: name.unwrap_or_default(),
                since_unix_ms: selection.since_unix_ms,
                unix_ms: clock::unix_ms(),
                ..to_wire(&explanation)
            });
        }
        self.explain_gateways(&mut news, now);
        news
    }

    fn explain_gateways(&mut self, news: &mut Vec<wire::Explanation>, now: Micros) {
        for (name, gateway) in &self.gateways {
            let explanation = gateway.links.explain(now);
            let slot = gateway.links.settings().slot;
            let key = (TunnelId(FIRST_LINK_ID + slot), ClassId(0));
            if !self.told.tell(key, substance(&explanation), now) {
                continue;
            }
            let chosen = explanation.candidates.iter().find(|c| c.chosen);
            news.push(wire::Explanation {
                tunnel_id: key.0.0,
                peer_edge: name.clone(),
                path_name: chosen.map(|c| c.name.clone()).unwrap_or_default(),
                since_unix_ms: gateway.since_unix_ms,
                unix_ms: clock::unix_ms(),
                ..to_wire(&explanation)
            });
        }
    }
}

/// Without the names that only the shell knows.
fn to_wire(explanation: &Explanation) -> wire::Explanation {
    let chosen = explanation.candidates.iter().find(|c| c.chosen);
    wire::Explanation {
        path_id: explanation.selected.map_or(0, |path| path.0),
        meets_sla: chosen.is_some_and(|c| c.state == SlaState::Meets),
        cause: explanation.cause.map(|cause| cause.code().to_owned()).unwrap_or_default(),
        summary: explanation.summary.clone(),
        held: held(explanation),
        tokens_left: explanation.tokens_left,
        next_token_in_ms: ms(explanation.next_token_in),
        dwell_left_ms: ms(explanation.dwell_left),
        candidates: explanation.candidates.iter().map(CandidateEvidence::to_proto).collect(),
        ..Default::default()
    }
}

fn held(explanation: &Explanation) -> Vec<wire::HeldPath> {
    let name = |held: &hawser_edge_core::select::Held| {
        let named = explanation.candidates.iter().find(|c| c.path == held.path);
        named.map(|c| c.name.clone()).unwrap_or_default()
    };
    let held = explanation.held.iter().map(|held| wire::HeldPath {
        path_id: held.path.0,
        name: name(held),
        remaining_ms: ms(held.remaining),
        because: held.because.clone(),
    });
    held.collect()
}

/// What a reader would call the same is the same: figures change all the time, so digits are left out.
fn substance(explanation: &Explanation) -> u64 {
    let mut hasher = DefaultHasher::new();
    explanation.selected.hash(&mut hasher);
    let mut words = |text: &str| {
        text.bytes().filter(|byte| !byte.is_ascii_digit()).for_each(|byte| byte.hash(&mut hasher));
        0u8.hash(&mut hasher);
    };
    words(&explanation.summary);
    explanation.held.iter().for_each(|held| words(&held.because));
    for candidate in &explanation.candidates {
        words(&candidate.state.to_string());
        words(&candidate.refused_because);
        candidate.crossed.iter().for_each(|crossed| words(&format!("{:?}", crossed.limit)));
    }
    let held: Vec<_> = explanation.held.iter().map(|held| held.path).collect();
    held.hash(&mut hasher);
    hasher.finish()
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(summary: &str) -> Explanation {
        Explanation {
            selected: None,
            since: Duration::ZERO,
            cause: None,
            summary: summary.to_owned(),
            candidates: Vec::new(),
            held: Vec::new(),
            tokens_left: 0,
            next_token_in: Duration::ZERO,
            dwell_left: Duration::ZERO,
        }
    }

    #[test]
    fn figures_are_no_news_and_words_are() {
        let of = |text| substance(&explanation(text));
        assert_eq!(of("waits for another 12 s"), of("waits for another 9 s"));
        assert_ne!(of("waits for another 12 s"), of("no path is better"));
    }

    #[test]
    fn what_did_not_change_is_told_once_a_minute() {
        let mut told = Told::default();
        let key = (TunnelId(1), ClassId(1));
        let at = |s: u64| Micros(s * 1_000_000);
        let table = [(0, 7, true), (59, 7, false), (59, 8, true), (118, 8, false), (119, 8, true)];
        for (second, substance, expected) in table {
            assert_eq!(told.tell(key, substance, at(second)), expected, "{second} {substance}");
        }
        told.forget();
        assert!(told.tell(key, 8, at(120)));
    }
}
