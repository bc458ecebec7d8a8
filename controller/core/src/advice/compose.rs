//! From troubles to what each edge is told to avoid; never so that nothing good remains.

use std::collections::{BTreeMap, BTreeSet};

use super::constants::{MAX_NAMED, TTL_MS};
use super::evidence::Look;
use super::map::FleetMap;
use super::track::Health;
use super::trouble::Trouble;
use super::{Advice, Subject};
use crate::id::{EdgeId, PathId};

/// What an edge should avoid, and because of what.
#[derive(Debug, Default)]
struct Draft {
    paths: BTreeSet<PathId>,
    edges: BTreeSet<EdgeId>,
    because: BTreeSet<u64>,
}

/// What a look comes to.
#[derive(Debug, Default)]
pub(super) struct Composed {
    pub advice: BTreeMap<EdgeId, Advice>,
    pub spared: u64,
}

/// Edges that a trouble's advice may be about: those that have a way around it. Of a provider's trouble no centre is
/// led away: that would lead away all of its peers at once.
pub(super) fn eligible(map: &FleetMap, subject: &Subject) -> BTreeSet<EdgeId> {
    let mut edges = BTreeSet::new();
    match subject {
        Subject::Hub(hub) => {
            let chooses = map.edges.iter().filter(|(edge, node)| {
                *edge != hub && node.choices.iter().any(|choice| choice.contains(hub))
            });
            edges.extend(chooses.map(|(edge, _)| *edge));
        }
        Subject::Uplink(uplink) => {
            let paths = map.uplinks.get(uplink).map(|wan| wan.paths.iter());
            edges.extend(paths.into_iter().flatten().map(|p| map.paths[p].far_end(*uplink).0));
        }
        Subject::Provider(_) => {
            for (edge, node) in map.edges.iter().filter(|(edge, _)| !map.is_centre(**edge)) {
                let mut own = node.uplinks.iter().filter_map(|id| map.uplinks.get(id));
                let concerned = own.any(|wan| is_of(wan.provider.as_ref(), subject));
                if concerned && node.uplinks.len() > 1 {
                    edges.insert(*edge);
                }
            }
        }
    }
    edges
}

/// Both ends of a path are told: its two directions should not part.
pub(super) fn compose<'a>(
    map: &FleetMap,
    look: &Look<'_>,
    troubles: impl Iterator<Item = (&'a Subject, &'a Trouble)>,
    name: impl Fn(u64) -> String,
) -> Composed {
    let mut drafts: BTreeMap<EdgeId, Draft> = BTreeMap::new();
    let mut reasons: BTreeMap<u64, String> = BTreeMap::new();
    for (subject, trouble) in troubles {
        reasons.insert(trouble.id, reason(map, subject));
        for edge in trouble.advised() {
            if let Subject::Hub(hub) = subject {
                let draft = drafts.entry(edge).or_default();
                draft.edges.insert(*hub);
                draft.because.insert(trouble.id);
                continue;
            }
            for path in avoided(map, subject, edge) {
                for (end, _) in map.paths[&path].ends {
                    let draft = drafts.entry(end).or_default();
                    draft.paths.insert(path);
                    draft.because.insert(trouble.id);
                }
            }
        }
    }
    let mut composed = Composed::default();
    for (edge, mut draft) in drafts {
        composed.spared += spare(map, look, edge, &mut draft);
        if draft.paths.is_empty() && draft.edges.is_empty() {
            continue;
        }
        while draft.paths.len() + draft.edges.len() > MAX_NAMED {
            draft.paths.pop_last();
        }
        let ids: Vec<String> = draft.because.iter().map(|id| name(*id)).collect();
        let why: Vec<&str> =
            draft.because.iter().filter_map(|id| reasons.get(id)).map(String::as_str).collect();
        let advice = Advice {
            id: ids.join("+"),
            ttl_ms: TTL_MS,
            avoid_paths: draft.paths,
            avoid_edges: draft.edges,
            reason: why.join("; "),
        };
        composed.advice.insert(edge, advice);
    }
    composed
}

/// In plain words, without figures: they change, and the reason of what is in force should not.
pub(super) fn reason(map: &FleetMap, subject: &Subject) -> String {
    match subject {
        Subject::Provider(provider) => format!("provider {provider} has trouble at many sites"),
        Subject::Hub(_) => {
            format!("{} suffers: sites reach it badly, and others well", describe(map, subject))
        }
        Subject::Uplink(_) => format!("{} fails for all its peers", describe(map, subject)),
    }
}

/// The subject's name for people.
pub(super) fn describe(map: &FleetMap, subject: &Subject) -> String {
    match subject {
        Subject::Provider(provider) => format!("provider {provider}"),
        Subject::Hub(hub) => format!("hub {}", map.names(*hub).0),
        Subject::Uplink(id) => match map.uplinks.get(id) {
            None => format!("uplink {id}"),
            Some(wan) => format!("uplink {} of {}", wan.name, map.names(wan.edge).0),
        },
    }
}

/// Paths of an advised edge that the trouble lies on.
fn avoided(map: &FleetMap, subject: &Subject, edge: EdgeId) -> Vec<PathId> {
    let Some(node) = map.edges.get(&edge) else { return Vec::new() };
    let own = node.uplinks.iter().filter_map(|id| map.uplinks.get(id));
    match subject {
        Subject::Hub(_) => Vec::new(),
        Subject::Provider(_) => own
            .filter(|wan| is_of(wan.provider.as_ref(), subject))
            .flat_map(|wan| wan.paths.iter().copied())
            .collect(),
        Subject::Uplink(uplink) => {
            let ends_there = |path: &PathId| map.paths[path].ends.iter().any(|e| e.1 == *uplink);
            own.flat_map(|wan| wan.paths.iter().copied()).filter(ends_there).collect()
        }
    }
}

fn is_of(provider: Option<&super::Provider>, subject: &Subject) -> bool {
    matches!((provider, subject), (Some(own), Subject::Provider(theirs)) if own == theirs)
}

/// Takes back what would leave a tunnel or a route with nothing that is known to be good.
fn spare(map: &FleetMap, look: &Look<'_>, edge: EdgeId, draft: &mut Draft) -> u64 {
    let Some(node) = map.edges.get(&edge) else {
        *draft = Draft::default();
        return 0;
    };
    let mut spared = 0;
    for id in &node.tunnels {
        let paths = &map.tunnels[id].paths;
        if !paths.iter().any(|path| draft.paths.contains(path)) {
            continue;
        }
        let good =
            |path: &&PathId| !draft.paths.contains(path) && look.path(**path) == Health::Good;
        if paths.iter().find(good).is_none() {
            paths.iter().for_each(|path| {
                draft.paths.remove(path);
            });
            spared += 1;
        }
    }
    let reached = |hub: EdgeId| {
        let mut to = node.tunnels.iter().filter(|id| map.tunnels[id].other(edge) == hub);
        to.any(|id| look.tunnel(*id) == Health::Good)
    };
    for choice in &node.choices {
        let stays = choice.iter().any(|hub| !draft.edges.contains(hub) && reached(*hub));
        if !stays && choice.iter().any(|hub| draft.edges.contains(hub)) {
            choice.iter().for_each(|hub| {
                draft.edges.remove(hub);
            });
            spared += 1;
        }
    }
    spared
}
