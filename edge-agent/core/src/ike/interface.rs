//! Interfaces of tunnels that routes lead to: an xfrm interface, which the policies of one tunnel alone are for, or GRE.

use std::net::IpAddr;

use ring::digest::{SHA256, digest};

use super::{TunnelMode, lanes};
use crate::config::IkeTunnel;

/// What names of interfaces to gateways begin with.
pub(crate) const XFRM: &str = "hwx";
pub(crate) const GRE: &str = "hwg";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterfaceKind {
    Xfrm {
        if_id: u32,
    },
    /// Without a key: it is the only one between these two.
    Gre {
        local: IpAddr,
        remote: IpAddr,
    },
}

/// `None`: the kernel's policies do without.
#[must_use]
pub fn interface_name(tunnel: &IkeTunnel) -> Option<String> {
    let prefix = match tunnel.mode {
        TunnelMode::Policy => return None,
        TunnelMode::Route => XFRM,
        TunnelMode::Gre => GRE,
    };
    Some(format!("{prefix}{:08x}", number(&tunnel.name)))
}

/// Of all its links, where each has one.
pub fn interface_names(tunnel: &IkeTunnel) -> impl Iterator<Item = String> {
    lanes(tunnel).into_iter().filter_map(|lane| interface_name(&lane))
}

/// Of the xfrm interface, and of the policies that are for it.
#[must_use]
pub fn if_id(tunnel: &IkeTunnel) -> Option<u32> {
    (tunnel.mode == TunnelMode::Route).then(|| number(&tunnel.name))
}

/// Ours are told by their names. The kernel driver's are `hw…s…`.
#[must_use]
pub fn is_interface_name(name: &str) -> bool {
    let number = name.strip_prefix(XFRM).or_else(|| name.strip_prefix(GRE));
    number.is_some_and(|n| n.len() == 8 && n.chars().all(|c| c.is_ascii_hexdigit()))
}

/// By the tunnel's name, so that it stays when other tunnels come and go. Never 0, which is no interface's.
fn number(name: &str) -> u32 {
    let hash = digest(&SHA256, name.as_bytes());
    let octets = hash.as_ref();
    u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]).max(1)
}
