//! What the kernel must hold for manual tunnels where it protects the packets, and the steps to it. Keys are no part of it:
//! a digest says whether they are those that must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Mode, Protocol, Wanted};

const GRE: u8 = 47;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    In,
    Out,
}

impl Direction {
    const IN: u32 = 0x4a00_0000;
    const OUT: u32 = 0x4b00_0000;
    const SPI: u32 = 0x00ff_ffff;

    /// The mark of what is ours in the kernel.
    #[must_use]
    pub fn reqid(self, spi: u32) -> u32 {
        let base = if self == Direction::In { Self::IN } else { Self::OUT };
        base | spi & Self::SPI
    }

    /// `None`: not one of ours.
    #[must_use]
    pub fn of_reqid(reqid: u32) -> Option<Direction> {
        match reqid & !Self::SPI {
            Self::IN => Some(Direction::In),
            Self::OUT => Some(Direction::Out),
            _ => None,
        }
    }
}

/// As the kernel tells associations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateId {
    pub direction: Direction,
    pub destination: IpAddr,
    pub protocol: Protocol,
    pub spi: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub source: IpAddr,
    /// `false`: transport.
    pub tunnel: bool,
    /// Of algorithms and keys.
    pub digest: [u8; 32],
}

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    In,
    Out,
    /// From the tunnel to a LAN.
    Forward,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Policy {
    pub way: Way,
    pub source: IpNet,
    pub destination: IpNet,
    /// Of the packets inside; 0: any.
    pub inner_protocol: u8,
    /// The association's.
    pub from: IpAddr,
    pub to: IpAddr,
    pub protocol: Protocol,
    pub tunnel: bool,
    pub spi: u32,
}

/// A GRE interface without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub local: IpAddr,
    pub remote: IpAddr,
    /// The interface that it leaves by.
    pub underlay: String,
    pub mtu_bytes: u32,
    pub up: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    pub states: BTreeMap<StateId, State>,
    pub policies: BTreeSet<Policy>,
    pub links: BTreeMap<String, Link>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    SetPolicy(Policy),
    RemovePolicy(Policy),
    AddState(StateId, State),
    RemoveState(StateId, State),
    AddLink(String, Link),
    RemoveLink(String),
}

/// Of the tunnels that can be there, with a digest of the inbound and of the outbound key of each.
#[must_use]
pub fn desired<'w>(tunnels: impl IntoIterator<Item = (&'w Wanted, [[u8; 32]; 2])>) -> Held {
    let mut held = Held::default();
    for (wanted, digests) in tunnels {
        let Some(local) = wanted.local else { continue };
        let tunnel = &wanted.tunnel;
        let peer = tunnel.peer_address;
        for (direction, digest) in [Direction::In, Direction::Out].into_iter().zip(digests) {
            let (source, destination, spi) = match direction {
                Direction::In => (peer, local, tunnel.inbound.spi),
                Direction::Out => (local, peer, tunnel.outbound.spi),
            };
            let id = StateId { direction, destination, protocol: tunnel.protocol, spi };
            let state = State { source, tunnel: tunnel.mode == Mode::Tunnel, digest };
            held.states.insert(id, state);
        }
        add_policies(wanted, local, &mut held);
        if tunnel.mode == Mode::Gre {
            let link = Link {
                local,
                remote: peer,
                underlay: wanted.interface.clone(),
                mtu_bytes: tunnel.inner_mtu_bytes(wanted.outer_mtu_bytes),
                up: true,
            };
            held.links.insert(tunnel.link_name(), link);
        }
    }
    held
}

fn add_policies(wanted: &Wanted, local: IpAddr, held: &mut Held) {
    let tunnel = &wanted.tunnel;
    let peer = tunnel.peer_address;
    let mut add = |way: Way, own: IpNet, beyond: IpNet, inner_protocol: u8| {
        let (source, destination, from, to, spi) = if way == Way::Out {
            (own, beyond, local, peer, tunnel.outbound.spi)
        } else {
            (beyond, own, peer, local, tunnel.inbound.spi)
        };
        held.policies.insert(Policy {
            way,
            source,
            destination,
            inner_protocol,
            from,
            to,
            protocol: tunnel.protocol,
            tunnel: tunnel.mode == Mode::Tunnel,
            spi,
        });
    };
    match tunnel.mode {
        Mode::Gre => {
            for way in [Way::In, Way::Out] {
                add(way, IpNet::from(local), IpNet::from(peer), GRE);
            }
        }
        Mode::Tunnel => {
            for &own in &tunnel.local_prefixes {
                let beyond = tunnel.remote_prefixes.iter();
                for &beyond in beyond.filter(|p| p.addr().is_ipv6() == own.addr().is_ipv6()) {
                    for way in [Way::In, Way::Forward, Way::Out] {
                        add(way, own, beyond, 0);
                    }
                }
            }
        }
    }
}

/// The steps from what is there to what must be; none if it is so already. Policies first and last: while an association is
/// missing they let nothing through.
#[must_use]
pub fn plan(want: &Held, seen: &Held) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(want.policies.difference(&seen.policies).copied().map(Step::SetPolicy));
    for (id, state) in &seen.states {
        if want.states.get(id) != Some(state) {
            steps.push(Step::RemoveState(*id, state.clone()));
        }
    }
    for (id, state) in &want.states {
        if seen.states.get(id) != Some(state) {
            steps.push(Step::AddState(*id, state.clone()));
        }
    }
    for (name, link) in &seen.links {
        if want.links.get(name) != Some(link) {
            steps.push(Step::RemoveLink(name.clone()));
        }
    }
    for (name, link) in &want.links {
        if seen.links.get(name) != Some(link) {
            steps.push(Step::AddLink(name.clone(), link.clone()));
        }
    }
    steps.extend(seen.policies.difference(&want.policies).copied().map(Step::RemovePolicy));
    steps
}
