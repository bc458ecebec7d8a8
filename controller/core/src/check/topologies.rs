//! Topologies that join too little, too much, or what can't be joined.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault::{Faults, code};
use crate::graph;
use crate::intent::{Edge, Fleet, Members, SiteName, TopologyKind};
use crate::limits::{MAX_HUBS, MAX_PATHS, MAX_TUNNELS};

pub(super) fn check(fleet: &Fleet, faults: &mut Faults) {
    too_small(fleet, faults);
    let tunnels = graph::tunnels_at_most(fleet);
    if tunnels > MAX_TUNNELS as u64 {
        let message = format!("{tunnels} tunnels; at most {MAX_TUNNELS} are allowed");
        let mend = "join fewer sites directly: use hubs instead of a full mesh";
        faults.add(code::TOO_MANY_TUNNELS, "topologies", message, mend);
        return;
    }
    let hubs = graph::hubs(fleet).len();
    if hubs > MAX_HUBS {
        let message = format!("{hubs} hubs; at most {MAX_HUBS} are allowed");
        faults.add(code::TOO_MANY_ENTRIES, "topologies", message, "use fewer hubs");
        return;
    }
    profiles_agree(fleet, faults);
    paths_exist(fleet, faults);
}

/// One site alone. What names a site that does not exist has its own fault.
fn too_small(fleet: &Fleet, faults: &mut Faults) {
    for (index, topology) in fleet.topologies.iter().enumerate() {
        let mut named: BTreeSet<&SiteName> = BTreeSet::new();
        if all_of(&topology.kind) && fleet.sites.len() > 1 {
            continue;
        }
        match &topology.kind {
            // Has its own fault, HUB_MISSING.
            TopologyKind::HubSpoke { hubs, .. } if hubs.is_empty() => continue,
            TopologyKind::HubSpoke { hubs, spokes } => {
                named.extend(hubs);
                named.extend(listed(spokes));
            }
            TopologyKind::FullMesh { sites } => named.extend(listed(sites)),
            TopologyKind::Partial { .. } => continue,
        }
        if named.len() < 2 && graph::members_of(fleet, &topology.kind) < 2 {
            let path = format!("topologies[{index}]");
            let mend = "name at least two sites, or remove it until there are two";
            faults.add(code::TOPOLOGY_TOO_SMALL, path, "the topology joins nothing", mend);
        }
    }
}

fn all_of(kind: &TopologyKind) -> bool {
    matches!(
        kind,
        TopologyKind::HubSpoke { spokes: Members::All, .. }
            | TopologyKind::FullMesh { sites: Members::All }
    )
}

fn listed(members: &Members) -> &[SiteName] {
    match members {
        Members::All => &[],
        Members::Listed(names) => names,
    }
}

/// A tunnel has one profile, whoever asks for it.
fn profiles_agree(fleet: &Fleet, faults: &mut Faults) {
    let mut first: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut told = BTreeMap::new();
    graph::each_link(fleet, |link| {
        let (a, b) = (link.a.site.min(link.b.site), link.a.site.max(link.b.site));
        let earlier = *first.entry((a, b)).or_insert(link.topology);
        let profile = |topology: usize| &fleet.topologies[topology].profile;
        if profile(earlier) != profile(link.topology) {
            told.entry((link.topology, earlier)).or_insert((a, b));
        }
    });
    for ((topology, earlier), (a, b)) in told {
        let message = format!(
            "topologies[{earlier}] joins {} and {} with another profile, {}",
            fleet.sites[a].name, fleet.sites[b].name, fleet.topologies[earlier].profile
        );
        let mend = "give both the same profile, or let only one of them join these sites";
        let path = format!("topologies[{topology}].profile");
        faults.add(code::PROFILE_CONFLICT, path, message, mend);
    }
}

fn paths_exist(fleet: &Fleet, faults: &mut Faults) {
    let mut count = 0;
    for (&(a, b), topology) in &graph::Graph::new(fleet).links {
        for of_a in &fleet.sites[a].edges {
            for of_b in &fleet.sites[b].edges {
                let paths = graph::paths(&fleet.transport_pairs, of_a, of_b).count();
                count += paths;
                if paths == 0 && readable(of_a) && readable(of_b) {
                    let message = format!("{} and {} have no path", of_a.name, of_b.name);
                    let mend = "give them uplinks of one transport and address family, or list \
                                their transports in `transports.pairs`";
                    let path = format!("topologies[{topology}]");
                    faults.add(code::TUNNEL_WITHOUT_PATH, path, message, mend);
                }
            }
        }
    }
    if count > MAX_PATHS {
        let message = format!("{count} paths; at most {MAX_PATHS} are allowed");
        let mend = "join fewer sites directly, or pair fewer transports";
        faults.add(code::TOO_MANY_PATHS, "topologies", message, mend);
    }
}

/// Whether its uplinks could be read: if not, that is the fault.
fn readable(edge: &Edge) -> bool {
    !edge.uplinks.is_empty() && edge.uplinks.iter().all(|uplink| !uplink.families.is_empty())
}
