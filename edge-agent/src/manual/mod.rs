//! Tunnels under manual keys: the thread that keeps them as the generation wants them, in the kernel or in this process.
//!
//! What keys will do, what the kernel must hold, and the steps to it, are decided in `hawser_edge_core::manual`.

mod keeper;
mod kernel;
mod relays;
#[cfg(test)]
mod tests;
mod xfrm;

use hawser_edge_core::ike::Blocked;
use hawser_edge_core::manual::Wanted;

pub use keeper::{ManualHandle, start};

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

fn no_address(wanted: &Wanted) -> Blocked {
    let family = if wanted.tunnel.peer_address.is_ipv6() { "IPv6" } else { "IPv4" };
    Blocked {
        code: "MANUAL_NO_ADDRESS",
        message: format!("its uplink, {}, has no {family} address", wanted.interface),
        mend: "give the uplink an address of the peer's family, or name another uplink".to_owned(),
    }
}
