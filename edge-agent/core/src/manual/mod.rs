//! Tunnels with devices that are not Hawser, under keys that people have put at both ends: whether the keys will do, what the
//! kernel must hold for them, and the steps from what it holds to that.
//!
//! RFC 4301 section 4.5.1. A sequence number may come twice under a manual key, so there is no anti-replay and no ESN, and
//! only suites whose IVs do not come of it (RFC 8221 section 4).

mod keys;
mod plan;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hawser_esp::{Integrity, Suite};

pub use keys::{Keys, read};
#[cfg(test)]
pub(crate) use tests::test_tunnel;

pub use plan::{Direction, Held, Link, Policy, State, StateId, Step, Way, desired, plan};

use crate::config::ManualTunnel;

/// Before the names of our interfaces; then the inbound SPI.
pub(crate) const LINK_PREFIX: &str = "hwm";
/// Octets that GRE without a key adds.
pub const GRE_BYTES: u32 = 4;
/// No IPv6 link may have a shorter one, and every path on the way takes it.
pub const MIN_MTU_BYTES: u32 = 1280;
/// The largest packet that TUN devices and raw sockets take.
const MAX_MTU_BYTES: u32 = 65_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Esp,
    /// Of the suite the HMAC alone.
    Ah,
}

impl Protocol {
    /// Of the IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Protocol::Esp => 50,
            Protocol::Ah => 51,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Tunnel,
    /// GRE without a key, in transport mode.
    Gre,
}

/// One direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    pub spi: u32,
    /// Of the secret at this edge.
    pub name: String,
}

impl ManualTunnel {
    /// The device of it, where it has one: GRE of the kernel, or a TUN of this agent.
    #[must_use]
    pub fn link_name(&self) -> String {
        format!("{LINK_PREFIX}{:08x}", self.inbound.spi)
    }

    /// Octets of one direction's key.
    #[must_use]
    pub fn key_len(&self) -> usize {
        match self.protocol {
            Protocol::Esp => self.suite().key_material_len(),
            Protocol::Ah => self.integrity().key_len(),
        }
    }

    #[must_use]
    pub fn suite(&self) -> Suite {
        self.profile.suite
    }

    /// What authenticates; a suite without one is refused when the generation is read.
    #[must_use]
    pub fn integrity(&self) -> Integrity {
        self.suite().integrity().unwrap_or(Integrity::HmacSha256)
    }

    /// How long a packet inside may be, where the link outside takes so much.
    #[must_use]
    pub fn inner_mtu_bytes(&self, outer_bytes: u32) -> u32 {
        let ipv6 = self.peer_address.is_ipv6();
        let ip = if ipv6 { 40 } else { 20 };
        let protection = match self.protocol {
            Protocol::Ah => hawser_esp::ah::ah_len(self.integrity(), ipv6) as u32,
            // Header, IV, ICV, the trailer, and as much padding as there may be.
            Protocol::Esp => {
                let layout = self.suite().layout();
                (8 + layout.iv_len + layout.icv_len + 2 + layout.alignment - 1) as u32
            }
        };
        let gre = if self.mode == Mode::Gre { GRE_BYTES } else { 0 };
        outer_bytes.saturating_sub(ip + protection + gre).clamp(MIN_MTU_BYTES, MAX_MTU_BYTES)
    }
}

/// Whether an interface of that name is one of ours.
#[must_use]
pub fn is_link_name(name: &str) -> bool {
    let digits = |spi: &str| spi.len() == 8 && u32::from_str_radix(spi, 16).is_ok();
    name.strip_prefix(LINK_PREFIX).is_some_and(digits)
}

/// A tunnel, with the address that its uplink has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub tunnel: ManualTunnel,
    /// `None`: the uplink has none of the peer's family.
    pub local: Option<IpAddr>,
    /// The uplink's.
    pub interface: String,
    pub outer_mtu_bytes: u32,
}
