//! A tunnel of the intent as a connection of charon.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Child, Connection, IkeVersion, Mode, Protocol, Selector, esp_proposal, ike_proposal};
use crate::config::IkeTunnel;

/// Keys of IKE itself are used for little: they last longer than those of packets.
const IKE_LIFETIMES: u32 = 4;

/// `local`: the uplink's addresses. `None`: it has none of the family of any address of the peer, or strongSwan has no
/// such suite.
#[must_use]
pub fn connection(tunnel: &IkeTunnel, local: &[IpAddr]) -> Option<Connection> {
    let peers = &tunnel.peer_addresses;
    let ours = |address: &&IpAddr| peers.iter().any(|peer| peer.is_ipv6() == address.is_ipv6());
    let local: Vec<IpAddr> = local.iter().filter(ours).copied().collect();
    let theirs = |peer: &&IpAddr| local.iter().any(|own| own.is_ipv6() == peer.is_ipv6());
    let remote: Vec<IpAddr> = peers.iter().filter(theirs).copied().collect();
    if remote.is_empty() {
        return None;
    }
    let suite = tunnel.profile.suite;
    let groups = tunnel.dh_groups.join("-");
    Some(Connection {
        version: tunnel.version,
        local,
        remote,
        local_id: tunnel.local_id.clone(),
        remote_id: tunnel.remote_id.clone(),
        proposals: vec![format!("{}-{groups}", ike_proposal(suite))],
        // The uplink is chosen by the intent: charon must not move the tunnel by itself.
        mobike: false,
        force_udp: false,
        dpd_delay_s: tunnel.dpd_delay_s,
        rekey_s: tunnel.profile.rekey_after_s.saturating_mul(IKE_LIFETIMES),
        reauthentication_s: 0,
        children: children(tunnel)?,
    })
}

fn children(tunnel: &IkeTunnel) -> Option<BTreeMap<String, Child>> {
    let child = |local: Vec<IpNet>, remote: Vec<IpNet>| {
        Some(Child {
            mode: Mode::Tunnel,
            protocol: Protocol::Esp,
            proposals: vec![proposal(tunnel)?],
            local: local.into_iter().map(Selector::Prefix).collect(),
            remote: remote.into_iter().map(Selector::Prefix).collect(),
            start: tunnel.start,
            if_id: None,
            rekey_s: tunnel.profile.rekey_after_s,
            rekey_bytes: rekey_bytes(tunnel),
        })
    };
    let (local, remote) = (&tunnel.local_prefixes, &tunnel.remote_prefixes);
    if tunnel.version == IkeVersion::V2 {
        let child = child(local.clone(), remote.clone())?;
        return Some(BTreeMap::from([("net".to_owned(), child)]));
    }
    // A quick mode negotiates one pair (RFC 2409 section 5.5).
    let pairs = local.iter().flat_map(|l| remote.iter().map(move |r| (*l, *r)));
    let pairs = pairs.filter(|(l, r)| l.addr().is_ipv6() == r.addr().is_ipv6());
    let named = |(index, (local, remote)): (usize, (IpNet, IpNet))| {
        Some((format!("net{}", index + 1), child(vec![local], vec![remote])?))
    };
    pairs.enumerate().map(named).collect()
}

fn proposal(tunnel: &IkeTunnel) -> Option<String> {
    let suite = esp_proposal(tunnel.profile.suite)?;
    Some(match tunnel.version {
        // Quick mode settles on no group: it is the one that the initiator's public value is of.
        IkeVersion::V1 => format!("{suite}-{}", tunnel.dh_groups.first()?),
        IkeVersion::V2 if tunnel.profile.esn => {
            format!("{suite}-{}-esn-noesn", tunnel.dh_groups.join("-"))
        }
        IkeVersion::V2 => format!("{suite}-{}", tunnel.dh_groups.join("-")),
    })
}

/// Keys of old ciphers are replaced well before what they may protect.
fn rekey_bytes(tunnel: &IkeTunnel) -> u64 {
    let limit = tunnel.profile.suite.byte_limit().map_or(u64::MAX, |bytes| bytes / 4);
    tunnel.profile.rekey_after_bytes.min(limit)
}
