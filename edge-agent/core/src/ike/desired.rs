//! A tunnel of the intent as a connection of charon.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    Child, Connection, IkeVersion, Mode, Proof, Protocol, Selector, TunnelMode, esp_proposal,
    if_id, ike_proposal,
};
use crate::config::IkeTunnel;

/// Keys of IKE itself are used for little: they last longer than those of packets.
const IKE_LIFETIMES: u32 = 4;

/// `local`: the uplink's addresses. `None`: it has none of the family of any address of the peer, or strongSwan has no
/// such suite.
#[must_use]
pub fn connection(tunnel: &IkeTunnel, local: &[IpAddr], proof: Proof) -> Option<Connection> {
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
        proof,
        version: tunnel.version,
        local,
        remote,
        local_id: tunnel.local_id.clone(),
        remote_id: tunnel.remote_id.clone(),
        proposals: vec![format!("{}-{groups}", ike_proposal(suite))],
        // The link is chosen by the edge: charon must not move the tunnel by itself.
        mobike: false,
        several: tunnel.warm,
        force_udp: false,
        dpd_delay_s: tunnel.dpd_delay_s,
        rekey_s: tunnel.profile.rekey_after_s.saturating_mul(IKE_LIFETIMES),
        reauthentication_s: tunnel.reauth_after_s,
        children: children(tunnel)?,
    })
}

fn children(tunnel: &IkeTunnel) -> Option<BTreeMap<String, Child>> {
    let child = |mode, local: Vec<Selector>, remote: Vec<Selector>| {
        Some(Child {
            mode,
            protocol: tunnel.protocol,
            proposals: vec![proposal(tunnel)?],
            local,
            remote,
            start: tunnel.start,
            if_id: if_id(tunnel),
            rekey_s: tunnel.profile.rekey_after_s,
            rekey_bytes: rekey_bytes(tunnel),
        })
    };
    if tunnel.mode == TunnelMode::Gre {
        let child = child(Mode::Transport, vec![Selector::Gre], vec![Selector::Gre])?;
        return Some(BTreeMap::from([("net".to_owned(), child)]));
    }
    let (local, remote) = prefixes(tunnel);
    let selectors = |prefixes: &[IpNet]| prefixes.iter().copied().map(Selector::Prefix).collect();
    if tunnel.version == IkeVersion::V2 {
        let child = child(Mode::Tunnel, selectors(&local), selectors(&remote))?;
        return Some(BTreeMap::from([("net".to_owned(), child)]));
    }
    // A quick mode negotiates one pair (RFC 2409 section 5.5).
    let pairs = local.iter().flat_map(|l| remote.iter().map(move |r| (*l, *r)));
    let pairs = pairs.filter(|(l, r)| l.addr().is_ipv6() == r.addr().is_ipv6());
    let named = |(index, (local, remote)): (usize, (IpNet, IpNet))| {
        let child = child(Mode::Tunnel, selectors(&[local]), selectors(&[remote]))?;
        Some((format!("net{}", index + 1), child))
    };
    pairs.enumerate().map(named).collect()
}

/// What is offered to the gateway. Where routes decide it is everything of the families that are in use, which is what
/// gateways with interfaces ask for; the guard lets no more pass than the prefixes.
fn prefixes(tunnel: &IkeTunnel) -> (Vec<IpNet>, Vec<IpNet>) {
    let (local, remote) = (&tunnel.local_prefixes, &tunnel.remote_prefixes);
    if tunnel.mode == TunnelMode::Policy {
        return (local.clone(), remote.clone());
    }
    let has = |list: &[IpNet], ipv6| list.iter().any(|prefix| prefix.addr().is_ipv6() == ipv6);
    let any = [(false, IpNet::V4(Ipv4Net::default())), (true, IpNet::V6(Ipv6Net::default()))];
    let used = any.into_iter().filter(|(ipv6, _)| has(local, *ipv6) && has(remote, *ipv6));
    let used: Vec<IpNet> = used.map(|(_, any)| any).collect();
    (used.clone(), used)
}

fn proposal(tunnel: &IkeTunnel) -> Option<String> {
    let suite = esp_proposal(tunnel.profile.suite)?;
    // Only its integrity, by the same name.
    let suite = match tunnel.protocol {
        Protocol::Esp => suite,
        Protocol::Ah => suite.strip_prefix("null-")?,
    };
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
