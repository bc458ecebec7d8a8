//! A move of a next hop, and why it is where it is, in plain words.

use std::time::Duration;

use hawser_proto::agent::v1 as wire;
use ipnet::IpNet;

use super::group::{Group, Hop, Hops, Offer, Terms, candidate};
use crate::id::{SegmentId, TunnelId};
use crate::quality::Figures;
use crate::select::{Advice, CandidateEvidence, Cause, Decision, DecisionContext};
use crate::sla::{Crossings, SlaState};
use crate::time::Micros;

/// Prefixes that a decision lists; its summary says how many there are.
const PREFIXES_LISTED: usize = 32;

/// Why a next hop was left or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HopCause {
    /// As of a path.
    Path(Cause),
    /// No path to it works.
    Down,
    /// It said that it can't get there any more.
    Withdrawn,
    /// It, or one on its way, is drained.
    Drained,
    /// It goes through another one of the next hops.
    Detour,
    /// The controller advises against it.
    Advice,
}

impl HopCause {
    /// Stable.
    pub fn code(self) -> &'static str {
        match self {
            HopCause::Path(cause) => cause.code(),
            HopCause::Down => "NEXT_HOP_DOWN",
            HopCause::Withdrawn => "WITHDRAWN",
            HopCause::Drained => "DRAINED",
            HopCause::Detour => "DETOUR",
            HopCause::Advice => "ADVICE",
        }
    }
}

/// What was known of one next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopEvidence {
    pub tunnel: TunnelId,
    pub name: String,
    pub chosen: bool,
    /// Of the whole way, as far as it is known.
    pub state: SlaState,
    /// No probe was ever answered.
    pub connecting: bool,
    /// Plain words; empty when chosen.
    pub refused_because: String,
    pub figures: Figures,
    pub crossed: Crossings,
}

/// Some prefixes moved to another next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHopDecision {
    pub at: Micros,
    pub segment: SegmentId,
    pub prefixes: Vec<IpNet>,
    pub from: Option<(TunnelId, String)>,
    pub to: Option<(TunnelId, String)>,
    pub cause: HopCause,
    /// One sentence.
    pub summary: String,
    pub candidates: Vec<HopEvidence>,
}

/// Where some prefixes go, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopExplanation {
    pub segment: SegmentId,
    pub prefixes: Vec<IpNet>,
    pub next_hop: Option<String>,
    pub meets: bool,
    pub since: Duration,
    /// One sentence.
    pub summary: String,
    pub candidates: Vec<HopEvidence>,
}

impl NextHopDecision {
    /// As it goes to the controller; `peer_edge` of the context is not used.
    pub fn to_proto(&self, context: &DecisionContext<'_>) -> wire::Decision {
        let name = |hop: &Option<(TunnelId, String)>| {
            hop.as_ref().map(|(_, name)| name.clone()).unwrap_or_default()
        };
        let peer = self.to.as_ref().or(self.from.as_ref());
        wire::Decision {
            sequence: context.sequence,
            unix_ms: context.unix_ms,
            edge: context.edge.to_owned(),
            peer_edge: peer.map(|(_, name)| name.clone()).unwrap_or_default(),
            tunnel_id: peer.map_or(0, |(tunnel, _)| tunnel.0),
            cause: self.cause.code().to_owned(),
            summary: self.summary.clone(),
            candidates: self.candidates.iter().map(HopEvidence::to_proto).collect(),
            boot_id: context.boot_id.to_owned(),
            segment_id: u32::from(self.segment.0),
            prefixes: self.prefixes.iter().take(PREFIXES_LISTED).map(IpNet::to_string).collect(),
            from_next_hop: name(&self.from),
            to_next_hop: name(&self.to),
            ..Default::default()
        }
    }
}

impl HopEvidence {
    fn to_proto(&self) -> wire::Candidate {
        // A next hop is shown as a path is.
        let shown = CandidateEvidence {
            path: candidate(self.tunnel),
            name: self.name.clone(),
            chosen: self.chosen,
            state: self.state,
            connecting: self.connecting,
            refused_because: self.refused_because.clone(),
            figures: self.figures,
            crossed: self.crossed,
        };
        wire::Candidate { path_id: 0, next_hop: self.name.clone(), ..shown.to_proto() }
    }
}

/// `10.3.0.0/24 and 2 more`.
pub(super) fn listed<'a>(mut prefixes: impl ExactSizeIterator<Item = &'a IpNet>) -> String {
    let more = prefixes.len().saturating_sub(1);
    let first = prefixes.next().map(ToString::to_string).unwrap_or_default();
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// What the selector decided, in terms of next hops.
pub(super) fn decision(
    group: &Group,
    hops: &Hops,
    advice: Option<&Advice>,
    new_generation: bool,
    decided: &Decision,
) -> NextHopDecision {
    let named = |path: Option<crate::id::PathId>| {
        path.map(|path| (TunnelId(path.0), name(hops, TunnelId(path.0))))
    };
    let (from, to) = (named(decided.from), named(decided.to));
    let cause = cause(group, hops, advice, new_generation, decided);
    let prefixes = listed(group.prefixes.iter());
    let destination = to.as_ref().map_or("no next hop", |(_, name)| name.as_str());
    let summary = match &from {
        None => format!("{prefixes}: through {destination}, as a first choice"),
        Some((tunnel, from)) => {
            let why = reason(group, hops, advice, *tunnel, from, cause);
            format!("{prefixes}: from {from} to {destination}, {why}")
        }
    };
    NextHopDecision {
        at: decided.at,
        segment: group.key.segment,
        prefixes: group.prefixes.iter().copied().collect(),
        candidates: evidence(group, hops, advice, decided.to.map(|p| TunnelId(p.0)), decided.at),
        from,
        to,
        cause,
        summary,
    }
}

fn cause(
    group: &Group,
    hops: &Hops,
    advice: Option<&Advice>,
    new_generation: bool,
    decided: &Decision,
) -> HopCause {
    let from = decided.from.map(|path| TunnelId(path.0));
    let offer = from.map_or(Offer::Open(Terms::default()), |from| group.offer(from));
    let advised = |path: Option<crate::id::PathId>| {
        path.is_some_and(|path| advice.is_some_and(|advice| advice.avoid.contains(&path)))
    };
    match (decided.cause, offer) {
        (Cause::PathDown | Cause::NoneLeft, Offer::Withdrawn) => HopCause::Withdrawn,
        (Cause::PathDown, _) => HopCause::Down,
        (Cause::SlaViolated, Offer::Open(Terms { drained: true, .. })) => HopCause::Drained,
        (Cause::Config, Offer::Open(Terms { detours: true, .. })) if !new_generation => {
            HopCause::Detour
        }
        // The preferred one goes straight again: the way back of a detour.
        (Cause::Config, _) if !new_generation => HopCause::Path(Cause::FailBack),
        (Cause::BetterPath | Cause::FailBack, _)
            if advised(decided.from) && !advised(decided.to) =>
        {
            HopCause::Advice
        }
        (Cause::NoneLeft, _) if from.and_then(|from| hops.get(&from)).is_none() => {
            HopCause::Path(Cause::Config)
        }
        (cause, _) => HopCause::Path(cause),
    }
}

fn reason(
    group: &Group,
    hops: &Hops,
    advice: Option<&Advice>,
    tunnel: TunnelId,
    from: &str,
    cause: HopCause,
) -> String {
    match cause {
        HopCause::Advice => {
            let why = advice.map_or("", |advice| advice.reason.as_str());
            format!("for the controller advises against {from} ({why})")
        }
        HopCause::Path(Cause::FailBack) => "which has proven good again".to_owned(),
        HopCause::Path(Cause::Config) => "for the configuration changed".to_owned(),
        HopCause::Detour => format!("for {from} would go through another next hop itself"),
        _ => {
            let hop = hops.get(&tunnel);
            let trouble = hop.and_then(|hop| trouble(group.offer(tunnel), hop));
            trouble.map_or_else(String::new, |trouble| format!("for {from} {trouble}"))
        }
    }
}

/// What is wrong with a next hop, as the end of a sentence about it.
fn trouble(offer: Offer, hop: &Hop) -> Option<String> {
    let Offer::Open(terms) = offer else {
        return Some("says that it can't get there".to_owned());
    };
    let text = match hop.health.state {
        SlaState::Down if hop.health.connecting => "has answered no probe yet".to_owned(),
        SlaState::Down => "is down: no path to it works".to_owned(),
        SlaState::Recovering => "answers again, but has not proven itself yet".to_owned(),
        _ if terms.drained => {
            "is drained or has dropped the tunnel, or on its way one is drained".to_owned()
        }
        SlaState::Violates => {
            let crossed: Vec<String> = hop.health.crossed.iter().map(|c| c.to_string()).collect();
            match crossed.is_empty() {
                true => "violates the SLA on its paths".to_owned(),
                false => format!("violates the SLA on its paths: {}", crossed.join(", ")),
            }
        }
        SlaState::Meets if terms.violates => "says that the SLA is violated beyond it".to_owned(),
        SlaState::Meets => return None,
    };
    Some(text)
}

fn evidence(
    group: &Group,
    hops: &Hops,
    advice: Option<&Advice>,
    chosen: Option<TunnelId>,
    now: Micros,
) -> Vec<HopEvidence> {
    let held = group.selector.as_ref().map(|s| s.explain(now).held).unwrap_or_default();
    let refusal = |tunnel: TunnelId, hop: &Hop| {
        if let Some(trouble) = trouble(group.offer(tunnel), hop) {
            return format!("it {trouble}");
        }
        if let Some(held) = held.iter().find(|held| held.path == candidate(tunnel)) {
            return held.because.clone();
        }
        if advice.is_some_and(|advice| advice.avoid.contains(&candidate(tunnel))) {
            return "the controller advises against it".to_owned();
        }
        if matches!(group.offer(tunnel), Offer::Open(Terms { detours: true, .. })) {
            return "it goes through another next hop itself".to_owned();
        }
        "it comes later in the order".to_owned()
    };
    let hop = |(index, tunnel): (usize, &TunnelId)| {
        let hop = hops.get(tunnel)?;
        let health = group.effective(index, hops);
        let is_chosen = chosen == Some(*tunnel);
        Some(HopEvidence {
            tunnel: *tunnel,
            name: hop.name.clone(),
            chosen: is_chosen,
            state: health.map_or(SlaState::Down, |health| health.state),
            connecting: hop.health.connecting,
            refused_because: if is_chosen { String::new() } else { refusal(*tunnel, hop) },
            figures: hop.health.figures,
            crossed: hop.health.crossed,
        })
    };
    group.key.next_hops.iter().enumerate().filter_map(hop).collect()
}

/// Why a group is where it is.
pub(super) fn explain(
    group: &Group,
    hops: &Hops,
    advice: Option<&Advice>,
    now: Micros,
) -> HopExplanation {
    let candidates = evidence(group, hops, advice, group.carried, now);
    let next_hop = group.carried.map(|tunnel| name(hops, tunnel));
    let first_refusal = candidates.iter().take_while(|c| !c.chosen).next();
    let summary = match (&next_hop, first_refusal) {
        (None, _) => "no next hop can be used".to_owned(),
        (Some(hop), None) => format!("through {hop}, the first in the order"),
        (Some(hop), Some(other)) => {
            format!("through {hop}; not {}: {}", other.name, other.refused_because)
        }
    };
    HopExplanation {
        segment: group.key.segment,
        prefixes: group.prefixes.iter().copied().collect(),
        meets: candidates.iter().any(|c| c.chosen && c.state == SlaState::Meets),
        next_hop,
        since: now.since(group.carried_since),
        summary,
        candidates,
    }
}

fn name(hops: &Hops, tunnel: TunnelId) -> String {
    hops.get(&tunnel).map_or_else(|| format!("tunnel {tunnel}"), |hop| hop.name.clone())
}
