//! What a tunnel's links are, and what they depend on.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{ClassMode, EdgeState, IkeTunnel, UplinkUse};
use crate::id::{ClassId, PathId, TunnelId, UplinkId};
use crate::policy;
use crate::select::{CandidateSpec, ClassPolicy};

/// Numbers of links are above those of all paths, which have 24 bits.
pub const FIRST_LINK_ID: u32 = hawser_proto::FIRST_IKE_LINK_ID;
/// Of one tunnel.
pub const LINKS_MAX: usize = 16;
/// A move costs a negotiation, so it takes longer proof than among the fabric's paths, which are all there already.
const FAILBACK_HOLD: Duration = Duration::from_secs(30);

/// One way to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub uplink: UplinkId,
    pub uplink_name: String,
    pub interface: String,
    /// `None`: the uplink has no address of the gateway's family.
    pub local: Option<IpAddr>,
    pub remote: IpAddr,
    pub usage: UplinkUse,
    pub drained: bool,
}

/// All that a tunnel may take, the first preferred.
pub fn links(
    edge: &EdgeState,
    tunnel: &IkeTunnel,
    addresses: impl Fn(UplinkId) -> Vec<IpAddr>,
) -> Vec<Link> {
    let mut found = Vec::new();
    for uplink in tunnel.uplinks.iter().filter_map(|id| edge.uplinks.get(id)) {
        let own = addresses(uplink.id);
        for &remote in &tunnel.peer_addresses {
            found.push(Link {
                uplink: uplink.id,
                uplink_name: uplink.name.clone(),
                interface: uplink.interface.clone(),
                local: own.iter().copied().find(|own| own.is_ipv6() == remote.is_ipv6()),
                remote,
                usage: uplink.usage,
                drained: uplink.drained,
            });
        }
    }
    found.truncate(LINKS_MAX);
    found
}

/// There is something to choose, or the operator wants to see what is measured.
#[must_use]
pub fn are_watched(tunnel: &IkeTunnel) -> bool {
    tunnel.uplinks.len() * tunnel.peer_addresses.len() > 1 || tunnel.probe.is_some()
}

/// What the links depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    pub tunnel: IkeTunnel,
    pub links: Vec<Link>,
    /// Of the tunnel among those of its edge, for numbers.
    pub slot: u32,
    /// An own address that may speak through the tunnel; `None`: it is not probed inside.
    pub inside_from: Option<IpAddr>,
    /// Wall-clock time since the Unix epoch at `Micros(0)`.
    pub unix_at_zero: Duration,
}

pub(super) fn link_id(slot: u32, index: usize) -> PathId {
    PathId(FIRST_LINK_ID + slot * LINKS_MAX as u32 + index as u32)
}

pub(super) fn keys(settings: &LinkSettings) -> impl Iterator<Item = (UplinkId, IpAddr)> {
    settings.links.iter().map(|link| (link.uplink, link.remote))
}

/// The order of preference is all: what an uplink costs was thought of when it was written.
pub(super) fn specs(settings: &LinkSettings) -> Vec<CandidateSpec> {
    let tunnel = &settings.tunnel;
    let rank = |found: Option<usize>| found.unwrap_or_default() as u16;
    let spec = |(index, link): (usize, &Link)| {
        let uplink = rank(tunnel.uplinks.iter().position(|id| *id == link.uplink));
        let remote = rank(tunnel.peer_addresses.iter().position(|peer| *peer == link.remote));
        CandidateSpec {
            path: link_id(settings.slot, index),
            name: format!("{} → {}", link.uplink_name, link.remote),
            local_uplink: link.uplink,
            remote_uplink: UplinkId(remote.into()),
            preference: (uplink, remote),
            cost: 0,
            usage: link.usage,
            drained: link.drained,
            weight: 1,
        }
    };
    settings.links.iter().enumerate().map(spec).collect()
}

pub(super) fn class_policy(settings: &LinkSettings) -> ClassPolicy {
    let hold = match settings.tunnel.failback_hold_ms {
        0 => FAILBACK_HOLD,
        ms => Duration::from_millis(ms.into()),
    };
    ClassPolicy {
        tunnel: TunnelId(FIRST_LINK_ID + settings.slot),
        class: ClassId(0),
        class_name: String::new(),
        failback_hold: hold,
        dwell: policy::DWELL,
        drop_when_none_meets: false,
        follows_peer: false,
        mode: ClassMode::Best,
    }
}
