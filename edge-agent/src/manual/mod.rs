//! Tunnels under manual keys: the thread that keeps them as the generation wants them, in the kernel or in this process.
//!
//! What keys will do, what the kernel must hold, and the steps to it, are decided in `hawser_edge_core::manual`.

mod keeper;
mod kernel;
mod relays;
#[cfg(test)]
mod tests;
mod xfrm;

use std::path::Path;

use hawser_edge_core::config::ManualTunnel;
use hawser_edge_core::ike::Blocked;
use hawser_edge_core::manual::{Keys, Wanted, read};

pub use keeper::{ManualHandle, start};

use crate::ike::secrets;
use crate::kernel::Refusal;

/// What a tunnel carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
}

/// It is there, or why not.
type Outcome = Result<Traffic, Blocked>;

/// Takes out of the kernel everything of manual tunnels; how many things that were.
///
/// # Errors
/// Something is left.
pub fn clear() -> Result<usize, Refusal> {
    kernel::clear()
}

/// What the secrets of a tunnel hold.
///
/// # Errors
/// One is missing, or no key of this tunnel.
pub(crate) fn keys(state_dir: &Path, tunnel: &ManualTunnel) -> Result<Keys, Blocked> {
    let secret = |name: &str| {
        secrets::read(state_dir, name).map_err(|blocked| Blocked {
            code: match blocked.code {
                "IKE_SECRET_MISSING" => "MANUAL_KEY_MISSING",
                _ => "MANUAL_KEY_UNREADABLE",
            },
            ..blocked
        })
    };
    read(tunnel, &secret(&tunnel.inbound.name)?, &secret(&tunnel.outbound.name)?)
}

fn no_address(wanted: &Wanted) -> Blocked {
    let family = if wanted.tunnel.peer_address.is_ipv6() { "IPv6" } else { "IPv4" };
    Blocked {
        code: "MANUAL_NO_ADDRESS",
        message: format!("its uplink, {}, has no {family} address", wanted.interface),
        mend: "give the uplink an address of the peer's family, or name another uplink".to_owned(),
    }
}
