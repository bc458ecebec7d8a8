//! When to tell which neighbour: only what changed, the bad news at once, and never faster than it can be used.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_proto::peer::v1 as wire;

use super::base::{Base, change, messages};
use super::{ADVERT_GAP, ADVERT_REFILL, ADVERT_RETRY, ADVERT_TOKENS, GATHER};
use crate::bucket::TokenBucket;
use crate::id::{EdgeId, TunnelId};
use crate::time::Micros;

#[derive(Debug, Default)]
pub(super) struct Adverts {
    base: Arc<Base>,
    /// Rises with each advertisement to anyone, for the life of this agent.
    sequence: u64,
    neighbours: BTreeMap<TunnelId, Neighbour>,
}

#[derive(Debug)]
struct Neighbour {
    edge: EdgeId,
    /// None: it has been told nothing yet.
    sent: Option<Arc<Base>>,
    due: Option<Micros>,
    last: Option<Micros>,
    tokens: TokenBucket,
}

impl Adverts {
    /// The neighbours of the generation. Those that stay are told nothing twice.
    pub(super) fn set_neighbours(
        &mut self,
        wanted: impl Iterator<Item = (TunnelId, EdgeId)>,
        now: Micros,
    ) {
        let mut old = std::mem::take(&mut self.neighbours);
        for (tunnel, edge) in wanted {
            let kept = old.remove(&tunnel).filter(|neighbour| neighbour.edge == edge);
            let new = || Neighbour {
                edge,
                sent: None,
                due: Some(now + GATHER),
                last: None,
                tokens: TokenBucket::new(ADVERT_TOKENS, ADVERT_REFILL, now),
            };
            self.neighbours.insert(tunnel, kept.unwrap_or_else(new));
        }
    }

    /// What can be told from now on.
    pub(super) fn update(&mut self, base: Base, now: Micros) {
        if base == *self.base {
            return;
        }
        let base = Arc::new(base);
        let differing = self.base.differing(&base);
        let drain_changes = self.base.drained != base.drained;
        for (tunnel, neighbour) in &mut self.neighbours {
            let change = change(&differing, *tunnel, neighbour.edge);
            if change.worse || (drain_changes && base.drained) {
                neighbour.want(now, now);
            } else if change.any || drain_changes {
                neighbour.want(now + GATHER, now);
            }
        }
        self.base = base;
    }

    /// The next advertisement that is due.
    pub(super) fn poll(&mut self, now: Micros) -> Option<(EdgeId, Vec<wire::Reachability>)> {
        for (tunnel, neighbour) in &mut self.neighbours {
            if neighbour.due.is_none_or(|due| due > now) {
                continue;
            }
            neighbour.due = None;
            let (base, edge) = (&self.base, neighbour.edge);
            if neighbour.sent.as_ref().is_some_and(|sent| sent.same_for(base, *tunnel, edge)) {
                // It changed and changed back.
                neighbour.sent = Some(base.clone());
                continue;
            }
            neighbour.tokens.take(now);
            neighbour.last = Some(now);
            neighbour.sent = Some(base.clone());
            self.sequence += 1;
            let entries = base.seen_by(*tunnel, edge);
            return Some((edge, messages(self.sequence, base.drained, entries)));
        }
        None
    }

    pub(super) fn next_deadline(&self) -> Option<Micros> {
        self.neighbours.values().filter_map(|neighbour| neighbour.due).min()
    }

    /// The session had no room for the last one.
    pub(super) fn not_sent(&mut self, edge: EdgeId, now: Micros) {
        for neighbour in self.neighbours.values_mut().filter(|n| n.edge == edge) {
            neighbour.sent = None;
            neighbour.want(now + ADVERT_RETRY, now);
        }
    }
}

impl Neighbour {
    fn want(&mut self, at: Micros, now: Micros) {
        let apart = self.last.map_or(at, |last| last + ADVERT_GAP);
        let at = at.max(apart).max(self.tokens.next_token(now));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}
