//! An edge's tunnels with gateways that are not Hawser.

use hawser_proto::config::v1 as wire;
use ipnet::IpNet;

use super::{Plan, config};
use crate::allocate::NotAllocated;
use crate::intent::{
    Edge, IkeAuth, IkeMode, IkeProbe, IkeProbeKind, IkeStart, IkeVersion, ManualProtocol, PeerCa,
};

/// By name.
pub(super) fn tunnels(plan: &Plan<'_>, edge: &Edge) -> Result<Vec<wire::IkeTunnel>, NotAllocated> {
    let mut list = Vec::new();
    for tunnel in &edge.ike_tunnels {
        let version = match tunnel.version {
            IkeVersion::V1 => wire::IkeVersion::V1,
            IkeVersion::V2 => wire::IkeVersion::V2,
        };
        let start = match tunnel.start {
            IkeStart::Now => wire::IkeStart::Now,
            IkeStart::Trap => wire::IkeStart::Trap,
        };
        let uplink = |name| Ok(plan.allocations.uplink(&edge.name, name)?.0);
        let mut uplinks = tunnel.uplinks.iter().map(uplink).collect::<Result<Vec<_>, _>>()?;
        // A tunnel without one is a fault of the document.
        let first = if uplinks.is_empty() { 0 } else { uplinks.remove(0) };
        list.push(wire::IkeTunnel {
            name: tunnel.name.clone(),
            version: version.into(),
            uplink_id: first,
            peer_addresses: tunnel.peer_addresses.iter().map(ToString::to_string).collect(),
            local_id: tunnel.local_id.clone(),
            remote_id: tunnel.remote_id.clone(),
            psk_name: match &tunnel.auth {
                IkeAuth::Psk(name) => name.clone(),
                IkeAuth::Certificate { .. } => String::new(),
            },
            profile: Some(config::profile(plan, &tunnel.profile)),
            dh_groups: tunnel.dh_groups.iter().map(|group| (*group).to_owned()).collect(),
            segment_id: plan.allocations.segment(&tunnel.segment)?.0,
            local_prefixes: sorted(&tunnel.local_prefixes),
            remote_prefixes: sorted(&tunnel.remote_prefixes),
            start: start.into(),
            dpd_delay_s: tunnel.dpd_delay_s,
            more_uplink_ids: uplinks,
            probe: tunnel.probe.as_ref().map(probe),
            sla_class: tunnel.sla.as_ref().map(ToString::to_string).unwrap_or_default(),
            failback_hold_ms: tunnel.failback_hold_ms,
            certificate: certificate(&tunnel.auth),
            mode: mode(tunnel.mode).into(),
            ah: tunnel.protocol == ManualProtocol::Ah,
            warm: tunnel.warm,
            reauth_after_s: tunnel.reauth_after_s,
        });
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

fn certificate(auth: &IkeAuth) -> Option<wire::IkeCertificate> {
    let IkeAuth::Certificate { own, peer_ca } = auth else { return None };
    let (peer_ca_name, peer_ca_pem) = match peer_ca {
        PeerCa::Named(name) => (name.clone(), String::new()),
        PeerCa::Pem(pem) => (String::new(), pem.clone()),
    };
    Some(wire::IkeCertificate { name: own.clone().unwrap_or_default(), peer_ca_name, peer_ca_pem })
}

/// What every agent does is left unsaid: generations stay as they were.
fn mode(mode: IkeMode) -> wire::IkeMode {
    match mode {
        IkeMode::Policy => wire::IkeMode::Unspecified,
        IkeMode::Route => wire::IkeMode::Route,
        IkeMode::Gre => wire::IkeMode::Gre,
    }
}

fn probe(probe: &IkeProbe) -> wire::IkeProbe {
    let kind = match probe.kind {
        IkeProbeKind::Icmp => wire::IkeProbeKind::Icmp,
        IkeProbeKind::Stamp => wire::IkeProbeKind::Stamp,
        IkeProbeKind::None => wire::IkeProbeKind::None,
    };
    wire::IkeProbe {
        kind: kind.into(),
        port: if kind == wire::IkeProbeKind::Stamp { probe.port } else { 0 },
        interval_ms: probe.interval_ms,
        inside: probe.inside.map(|address| address.to_string()).unwrap_or_default(),
    }
}

pub(super) fn sorted(prefixes: &[IpNet]) -> Vec<String> {
    let mut prefixes = prefixes.to_vec();
    prefixes.sort();
    prefixes.iter().map(ToString::to_string).collect()
}
