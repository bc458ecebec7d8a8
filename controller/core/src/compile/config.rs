//! One edge's configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hawser_proto::config::v1 as wire;

use super::{Plan, PlannedEdge, TunnelPlan, ike, manual};
use crate::allocate::NotAllocated;
use crate::capability;
use crate::id::SegmentId;
use crate::intent::{
    BalanceBy, ClassMode, Edge, Family, Fleet, Match, PortRange, ProfileName, SlaClass,
    TrafficClass, TunnelProfile, Uplink, UplinkUse, WhenNoneMeets,
};

pub(super) fn compile(
    plan: &Plan<'_>,
    planned: &PlannedEdge,
) -> Result<wire::EdgeConfig, NotAllocated> {
    let site = &plan.fleet.sites[planned.at.site];
    let edge = plan.edge_at(planned.at);
    let segments = plan.overlay.segments(planned.at.site);
    let traffic_classes = traffic_classes(plan, segments)?;
    let tunnels = planned.tunnels.iter().map(|index| tunnel(plan, planned, &plan.tunnels[*index]));
    Ok(wire::EdgeConfig {
        fleet: plan.fleet.name.clone(),
        site: site.name.to_string(),
        edge: edge.name.to_string(),
        edge_id: planned.id.0,
        required_features: features(edge),
        controllers: plan.fleet.controllers.clone(),
        segments: segment_list(plan, segments)?,
        uplinks: uplinks(plan, planned)?,
        lans: lans(plan, planned)?,
        tunnels: tunnels.collect(),
        routes: routes(plan, planned),
        sla_classes: sla_classes(plan, &traffic_classes, edge),
        traffic_classes,
        fabric_port: u32::from(plan.fleet.fabric_port),
        drained: site.drained || edge.drained,
        leaf: plan.graph.rank[planned.at.site].is_none(),
        ike_tunnels: ike::tunnels(plan, edge)?,
        manual_tunnels: manual::tunnels(plan, edge)?,
    })
}

fn features(edge: &Edge) -> Vec<String> {
    let mut features = Vec::new();
    if !edge.ike_tunnels.is_empty() {
        // An agent without it would leave the gateway's prefixes to the default route.
        features.push(capability::IKE.to_owned());
    }
    if edge.ike_tunnels.iter().any(capability::needs_certificates) {
        features.push(capability::IKE_CERTIFICATES.to_owned());
    }
    if edge.ike_tunnels.iter().any(capability::needs_interface) {
        features.push(capability::IKE_INTERFACES.to_owned());
    }
    if edge.ike_tunnels.iter().any(capability::needs_links) {
        features.push(capability::IKE_LINKS.to_owned());
    }
    if edge.ike_tunnels.iter().any(capability::needs_more) {
        features.push(capability::IKE_MORE.to_owned());
    }
    if !edge.manual_tunnels.is_empty() {
        features.push(capability::MANUAL_KEYS.to_owned());
    }
    features
}

fn segment_list(
    plan: &Plan<'_>,
    segments: &BTreeSet<SegmentId>,
) -> Result<Vec<wire::Segment>, NotAllocated> {
    let mut list = Vec::new();
    for name in &plan.fleet.segments {
        let id = plan.allocations.segment(name)?;
        if segments.contains(&id) {
            list.push(wire::Segment { id: id.0, name: name.to_string() });
        }
    }
    list.sort_by_key(|segment| segment.id);
    Ok(list)
}

fn uplinks(plan: &Plan<'_>, planned: &PlannedEdge) -> Result<Vec<wire::Uplink>, NotAllocated> {
    let edge = plan.edge_at(planned.at);
    let mut list = Vec::new();
    for uplink in &edge.uplinks {
        list.push(wire::Uplink {
            id: plan.allocations.uplink(&edge.name, &uplink.name)?.0,
            name: uplink.name.to_string(),
            interface: uplink.interface.clone(),
            transport: uplink.transport.to_string(),
            provider: uplink.provider.clone(),
            cost: uplink.cost,
            metered: uplink.metered,
            bandwidth_up_kbps: uplink.bandwidth_up_kbps,
            bandwidth_down_kbps: uplink.bandwidth_down_kbps,
            gateways: uplink.gateways.iter().map(ToString::to_string).collect(),
            probe_budget_bytes_per_s: uplink.probe_budget_bytes_per_s,
            r#use: usage(uplink.usage).into(),
            drained: uplink.drained,
        });
    }
    list.sort_by_key(|uplink| uplink.id);
    Ok(list)
}

/// What is as usual is not written out: configurations change only with what they say.
fn usage(usage: UplinkUse) -> wire::UplinkUse {
    match usage {
        UplinkUse::Normal => wire::UplinkUse::Unspecified,
        UplinkUse::Standby => wire::UplinkUse::Standby,
        UplinkUse::LastResort => wire::UplinkUse::LastResort,
    }
}

fn lans(plan: &Plan<'_>, planned: &PlannedEdge) -> Result<Vec<wire::Lan>, NotAllocated> {
    let mut list = Vec::new();
    for lan in &plan.fleet.sites[planned.at.site].lans {
        let mut prefixes = lan.prefixes.clone();
        prefixes.sort();
        list.push(wire::Lan {
            interface: lan.interface.clone(),
            segment_id: plan.allocations.segment(&lan.segment)?.0,
            prefixes: prefixes.iter().map(ToString::to_string).collect(),
            vlan: u32::from(lan.vlan),
        });
    }
    list.sort_by(|a, b| (&a.interface, a.vlan).cmp(&(&b.interface, b.vlan)));
    Ok(list)
}

/// Seen from one of its ends.
fn tunnel(plan: &Plan<'_>, planned: &PlannedEdge, tunnel: &TunnelPlan) -> wire::Tunnel {
    let at_a = tunnel.a.edge_id == planned.id;
    let peer = if at_a { &tunnel.b } else { &tunnel.a };
    let sources = plan.overlay.peer_sources(&plan.graph, planned.at.site, peer.place.site);
    let mut peer_uplinks = BTreeMap::new();
    let mut paths = Vec::new();
    for path in &tunnel.paths {
        let a = (path.a_uplink_id, &path.a_uplink);
        let b = (path.b_uplink_id, &path.b_uplink);
        let (local, remote) = if at_a { (a, b) } else { (b, a) };
        peer_uplinks.insert(remote.0, remote.1);
        paths.push(wire::Path {
            id: path.id.0,
            local_uplink_id: local.0.0,
            remote_uplink_id: remote.0.0,
            family: family(path.family).into(),
        });
    }
    let of_peer = &plan.edge_at(peer.place).uplinks;
    let peer_uplinks = peer_uplinks.into_iter().filter_map(|(id, name)| {
        let uplink = of_peer.iter().find(|uplink| uplink.name == *name)?;
        let paths = if tells_paths(uplink) { plan.paths_over(id) } else { 0 };
        Some(wire::PeerUplink { paths, ..peer_uplink(id.0, uplink, plan.fleet) })
    });
    wire::Tunnel {
        id: tunnel.id.0,
        peer_edge: peer.edge.to_string(),
        peer_site: peer.site.to_string(),
        peer_edge_id: peer.edge_id.0,
        profile: Some(profile(plan, &tunnel.profile)),
        paths,
        peer_sources: sources
            .into_iter()
            .map(|(segment, prefix)| wire::SegmentPrefix { segment_id: segment.0, prefix })
            .collect(),
        peer_uplinks: peer_uplinks.collect(),
    }
}

/// What all of its paths share must be divided by as many at both ends.
pub(super) fn tells_paths(uplink: &Uplink) -> bool {
    uplink.probe_budget_bytes_per_s > 0 || uplink.usage == UplinkUse::Standby
}

fn peer_uplink(id: u32, uplink: &Uplink, fleet: &Fleet) -> wire::PeerUplink {
    let endpoint = |address| SocketAddr::new(address, fleet.fabric_port).to_string();
    // Only weights ask what a peer can receive: without them it is no part of this edge's configuration.
    let balanced = fleet
        .traffic_classes
        .iter()
        .any(|class| class.mode == ClassMode::Balance(BalanceBy::Bandwidth));
    wire::PeerUplink {
        id,
        name: uplink.name.to_string(),
        provider: uplink.provider.clone(),
        endpoints: uplink.addresses.iter().copied().map(endpoint).collect(),
        r#use: usage(uplink.usage).into(),
        drained: uplink.drained,
        bandwidth_down_kbps: if balanced { uplink.bandwidth_down_kbps } else { 0 },
        probe_budget_bytes_per_s: uplink.probe_budget_bytes_per_s,
        ..Default::default()
    }
}

fn family(family: Family) -> wire::AddressFamily {
    match family {
        Family::Ipv4 => wire::AddressFamily::Ipv4,
        Family::Ipv6 => wire::AddressFamily::Ipv6,
    }
}

pub(super) fn profile(plan: &Plan<'_>, name: &ProfileName) -> wire::TunnelProfile {
    let standard = TunnelProfile::default();
    let declared = plan.fleet.tunnel_profiles.iter().find(|profile| profile.name == *name);
    let profile = declared.unwrap_or(&standard);
    wire::TunnelProfile {
        name: profile.name.to_string(),
        suite: profile.suite.name().to_owned(),
        waiver: profile.waiver.as_ref().map(|waiver| wire::Waiver {
            ends_unix_s: waiver.until.ends_unix_s(),
            reason: waiver.reason.clone(),
        }),
        rekey_after_s: profile.rekey_after_s,
        rekey_after_bytes: profile.rekey_after_bytes,
        replay_window_packets: profile.replay_window_packets,
        esn: profile.esn,
        probe_interval_ms: profile.probe_interval_ms,
        probe_idle_interval_ms: profile.probe_idle_interval_ms,
        down_after_probes: profile.down_after_probes.unwrap_or(0),
    }
}

fn routes(plan: &Plan<'_>, planned: &PlannedEdge) -> Vec<wire::Route> {
    let reached = plan.overlay.reached(&plan.graph, planned.at.site);
    let route = |found: super::overlay::Reached<'_>| wire::Route {
        segment_id: found.segment.0,
        prefix: found.prefix.to_owned(),
        next_hop_edge_ids: found.next_hops.iter().map(|edge| edge.0).collect(),
    };
    reached.into_iter().map(route).collect()
}

/// Those of any segment and of the edge's own: what is of others must not change its configuration.
fn traffic_classes(
    plan: &Plan<'_>,
    segments: &BTreeSet<SegmentId>,
) -> Result<Vec<wire::TrafficClass>, NotAllocated> {
    let mut list = Vec::new();
    for class in &plan.fleet.traffic_classes {
        let segment = match &class.segment {
            None => None,
            Some(name) => Some(plan.allocations.segment(name)?),
        };
        if segment.is_none_or(|segment| segments.contains(&segment)) {
            let id = plan.allocations.class(&class.name)?.0;
            list.push(traffic_class(class, id, segment.map_or(0, |segment| segment.0)));
        }
    }
    Ok(list)
}

fn traffic_class(class: &TrafficClass, id: u32, segment_id: u32) -> wire::TrafficClass {
    let when_none_meets = match class.when_none_meets {
        WhenNoneMeets::LeastBad => wire::WhenNoneMeets::LeastBad,
        WhenNoneMeets::Drop => wire::WhenNoneMeets::Drop,
    };
    let (mode, balance_by) = mode(class.mode);
    wire::TrafficClass {
        id,
        name: class.name.to_string(),
        segment_id,
        matches: class.matches.iter().map(one_match).collect(),
        sla_class: class.sla.as_ref().map(ToString::to_string).unwrap_or_default(),
        when_none_meets: when_none_meets.into(),
        prefer_uplinks: class.prefer_uplinks.iter().map(ToString::to_string).collect(),
        failback_hold_ms: class.failback_hold_ms,
        dwell_ms: class.dwell_ms,
        symmetric: class.symmetric,
        mode: mode.into(),
        balance_by: balance_by.into(),
        wan_dscp: class.wan_dscp.map(u32::from),
    }
}

fn mode(mode: ClassMode) -> (wire::ClassMode, wire::BalanceBy) {
    match mode {
        ClassMode::Best => (wire::ClassMode::Unspecified, wire::BalanceBy::Unspecified),
        ClassMode::Balance(BalanceBy::Bandwidth) => {
            (wire::ClassMode::Balance, wire::BalanceBy::Bandwidth)
        }
        ClassMode::Balance(BalanceBy::Cost) => (wire::ClassMode::Balance, wire::BalanceBy::Cost),
        ClassMode::Duplicate => (wire::ClassMode::Duplicate, wire::BalanceBy::Unspecified),
    }
}

fn one_match(found: &Match) -> wire::Match {
    let ports = |ranges: &[PortRange]| {
        ranges
            .iter()
            .map(|range| wire::PortRange { first: range.first.into(), last: range.last.into() })
            .collect()
    };
    wire::Match {
        source_prefixes: found.source_prefixes.iter().map(ToString::to_string).collect(),
        destination_prefixes: found.destination_prefixes.iter().map(ToString::to_string).collect(),
        protocols: found.protocols.iter().copied().map(u32::from).collect(),
        destination_ports: ports(&found.destination_ports),
        dscps: found.dscps.iter().copied().map(u32::from).collect(),
        source_ports: ports(&found.source_ports),
    }
}

/// Those that the classes name, sorted.
fn sla_classes(
    plan: &Plan<'_>,
    classes: &[wire::TrafficClass],
    edge: &Edge,
) -> Vec<wire::SlaClass> {
    let of_gateways = edge.ike_tunnels.iter().filter_map(|tunnel| tunnel.sla.as_ref());
    let used: BTreeSet<&str> = classes
        .iter()
        .map(|class| class.sla_class.as_str())
        .chain(of_gateways.map(|sla| sla.as_str()))
        .collect();
    let declared = &plan.fleet.sla_classes;
    let mut list: Vec<&SlaClass> =
        declared.iter().filter(|sla| used.contains(sla.name.as_str())).collect();
    list.sort_by_key(|sla| &sla.name);
    let sla_class = |sla: &SlaClass| wire::SlaClass {
        name: sla.name.to_string(),
        max_rtt_us: sla.max_rtt_us.unwrap_or(0),
        max_jitter_us: sla.max_jitter_us.unwrap_or(0),
        max_loss_ppm: sla.max_loss_ppm.unwrap_or(0),
        loss_confidence_ppm: sla.loss_confidence_ppm.unwrap_or(0),
        loss_mended_ms: sla.loss_mended_ms.unwrap_or(0),
        delay_damage_ms: sla.delay_damage_ms.unwrap_or(0),
        delay_mended_ms: sla.delay_mended_ms.unwrap_or(0),
    };
    list.into_iter().map(sla_class).collect()
}
