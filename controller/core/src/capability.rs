//! What edges say that they can do, and what a document newly asks of them beyond that.
//!
//! An edge that never said anything is asked for anything: its agent refuses what it can't do. What a fleet asks of an edge
//! already is no hindrance either: one site that lost something must not hold up every change of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fault::{Fault, code};
use crate::graph::each_link;
use crate::intent::{
    Edge, EdgeName, Fleet, IkeAuth, IkeMode, IkeTunnel, ManualProtocol, ProfileName, TunnelProfile,
};

/// What one agent says of itself and its host, e.g. `ike` or `suite:aes-128-gcm`.
pub type Features = BTreeSet<String>;

/// An agent that says it names its suites and its host's abilities too: what it does not name is not there. Of others
/// nothing is known but what they were built with.
pub const TELLS_ALL: &str = "capabilities";
/// Tunnels with gateways, keyed by IKE.
pub const IKE: &str = "ike";
/// Such tunnels whose gateway is known by its certificate.
pub const IKE_CERTIFICATES: &str = "ike-certificates";
/// Such tunnels that routes lead to.
pub const IKE_INTERFACES: &str = "ike-interfaces";
/// Such tunnels with several links, a probe or an SLA class.
pub const IKE_LINKS: &str = "ike-links";
/// Such tunnels with AH, with a second association that is kept warm, or with reauthentication.
pub const IKE_MORE: &str = "ike-more";
/// Tunnels whose keys people have put at both ends.
pub const MANUAL_KEYS: &str = "manual-keys";
/// The host has strongSwan.
pub const STRONGSWAN: &str = "strongswan";
/// The host's kernel has IPsec.
pub const KERNEL_IPSEC: &str = "kernel-ipsec";
/// Before the name of a suite that the edge's driver has.
pub const SUITE_PREFIX: &str = "suite:";

/// Edges named in one fault; the rest is counted.
const NAMED: usize = 5;

/// Something that an edge must be able to do for the document to hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Ask<'a> {
    /// Of the document.
    path: String,
    edge: &'a EdgeName,
    feature: String,
}

/// A fault for each place of the document that newly asks edges for what they said they can't do. `before`: what is in
/// force.
pub fn lacking(
    fleet: &Fleet,
    before: Option<&Fleet>,
    reported: &BTreeMap<String, Arc<Features>>,
) -> Vec<Fault> {
    let lacks = |ask: &Ask<'_>| {
        reported.get(ask.edge.as_str()).is_some_and(|has| !offers(has, &ask.feature))
    };
    let lacking: BTreeSet<Ask<'_>> = asks(fleet, reported).into_iter().filter(lacks).collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    let before = before.map(|before| asks(before, reported)).unwrap_or_default();
    let before: BTreeSet<_> = before.iter().map(|ask| (ask.edge, &ask.feature)).collect();
    let mut places: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for ask in lacking.iter().filter(|ask| !before.contains(&(ask.edge, &ask.feature))) {
        places
            .entry((ask.path.as_str(), ask.feature.as_str()))
            .or_default()
            .push(ask.edge.as_str());
    }
    places.into_iter().map(|((path, feature), edges)| fault(path, feature, &edges)).collect()
}

/// Whether an agent that said this has a feature, as far as it would have said so.
fn offers(has: &Features, feature: &str) -> bool {
    let of_the_host =
        feature.starts_with(SUITE_PREFIX) || [STRONGSWAN, KERNEL_IPSEC].contains(&feature);
    has.contains(feature) || of_the_host && !has.contains(TELLS_ALL)
}

/// Of the edges that are known.
fn asks<'a>(fleet: &'a Fleet, reported: &BTreeMap<String, Arc<Features>>) -> BTreeSet<Ask<'a>> {
    let known = |edge: &Edge| reported.contains_key(edge.name.as_str());
    let mut asks = BTreeSet::new();
    for (s, site) in fleet.sites.iter().enumerate() {
        for (e, edge) in site.edges.iter().enumerate().filter(|(_, edge)| known(edge)) {
            of_edge(edge, &format!("sites[{s}].edges[{e}]"), &mut asks);
        }
    }
    let profiles: BTreeMap<&ProfileName, (usize, &TunnelProfile)> =
        fleet.tunnel_profiles.iter().enumerate().map(|(i, p)| (&p.name, (i, p))).collect();
    let mut seen = BTreeSet::new();
    each_link(fleet, |link| {
        let Some(&(index, profile)) = profiles.get(&fleet.topologies[link.topology].profile) else {
            return;
        };
        for site in [link.a.site, link.b.site] {
            if seen.insert((site, index)) {
                let edges = fleet.sites[site].edges.iter().filter(|edge| known(edge));
                asks.extend(edges.map(|edge| of_suite(edge, index, profile)));
            }
        }
    });
    asks
}

fn of_edge<'a>(edge: &'a Edge, place: &str, asks: &mut BTreeSet<Ask<'a>>) {
    let mut ask = |path: &str, feature: &str| {
        asks.insert(Ask { path: path.to_owned(), edge: &edge.name, feature: feature.to_owned() });
    };
    for t in 0..edge.manual_tunnels.len() {
        ask(&format!("{place}.manual_tunnels[{t}]"), MANUAL_KEYS);
    }
    for (t, tunnel) in edge.ike_tunnels.iter().enumerate() {
        let path = format!("{place}.ike_tunnels[{t}]");
        [IKE, STRONGSWAN, KERNEL_IPSEC].into_iter().for_each(|feature| ask(&path, feature));
        for (needed, feature) in [
            (needs_certificates(tunnel), IKE_CERTIFICATES),
            (needs_interface(tunnel), IKE_INTERFACES),
            (needs_links(tunnel), IKE_LINKS),
            (needs_more(tunnel), IKE_MORE),
        ] {
            if needed {
                ask(&path, feature);
            }
        }
    }
}

fn of_suite<'a>(edge: &'a Edge, index: usize, profile: &TunnelProfile) -> Ask<'a> {
    Ask {
        path: format!("tunnel_profiles[{index}].suite"),
        edge: &edge.name,
        feature: format!("{SUITE_PREFIX}{}", profile.suite.name()),
    }
}

/// It can't be had from an agent that knows one uplink and probes nothing.
pub(crate) fn needs_links(tunnel: &IkeTunnel) -> bool {
    tunnel.uplinks.len() > 1 || tunnel.probe.is_some() || tunnel.sla.is_some()
}

/// It can't be had from an agent that knows pre-shared keys only.
pub(crate) fn needs_certificates(tunnel: &IkeTunnel) -> bool {
    matches!(tunnel.auth, IkeAuth::Certificate { .. })
}

/// It can't be had from an agent that knows policies only.
pub(crate) fn needs_interface(tunnel: &IkeTunnel) -> bool {
    tunnel.mode != IkeMode::Policy
}

/// It can't be had from an agent of before these were there.
pub(crate) fn needs_more(tunnel: &IkeTunnel) -> bool {
    tunnel.protocol == ManualProtocol::Ah || tunnel.warm || tunnel.reauth_after_s > 0
}

fn fault(path: &str, feature: &str, edges: &[&str]) -> Fault {
    let (more, named) = (edges.len().saturating_sub(NAMED), &edges[..edges.len().min(NAMED)]);
    let mut who = named.join(", ");
    if more > 0 {
        who.push_str(&format!(" and {more} more"));
    }
    let (what, mend) = match feature.strip_prefix(SUITE_PREFIX) {
        Some(suite) => (
            format!("the suite {suite} in their driver"),
            "choose a suite that all of them have, or run their agents with another --driver",
        ),
        None => match feature {
            STRONGSWAN => (
                "strongSwan".to_owned(),
                "there: apt-get install charon-systemd, then systemctl restart hawser-edge",
            ),
            KERNEL_IPSEC => (
                "a kernel with IPsec".to_owned(),
                "put the tunnel on an edge whose kernel has it; there: modprobe xfrm_user esp4 esp6",
            ),
            feature => (
                format!("an agent with {feature}"),
                "update their agents first, or take it out of the document",
            ),
        },
    };
    Fault {
        code: code::CAPABILITY_MISSING,
        path: path.to_owned(),
        message: format!("needs {what}, which these edges said they do not have: {who}"),
        mend: mend.to_owned(),
    }
}

#[cfg(test)]
mod tests;
