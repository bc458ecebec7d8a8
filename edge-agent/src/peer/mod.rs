//! The peer connection of each tunnel: QUIC on the fabric port, keys for every path.
//!
//! quinn runs over [`FabricSocket`], which knows each peer by one virtual address; [`PeerRoutes`] says where that is now.
//! One actor per peer keeps one connection to it, agrees on keys for every path of the tunnel, and asks the engine to
//! install them ([`PeerEvent`]). Which message and which SA come when is decided in `hawser_edge_core::keys`.

mod accept;
mod actor;
mod admission;
mod api;
mod close;
mod connection_id;
mod handle;
mod hello;
mod identity;
mod link;
mod long_header;
mod lru;
mod manager;
mod routes;
mod sender;
mod shared;
mod socket;
mod spi;
#[cfg(test)]
mod tests;
mod tls;
mod virtual_address;
mod wire;

pub use api::{
    CommandError, HelloFacts, InstallFailed, Installed, KeyFingerprint, PathKeying, PeerConfig,
    PeerEvent, PeerSettings, PeerTimers, RevokedSerials,
};
pub use handle::PeerHandle;
pub use identity::{Identity, IdentityError};
pub use manager::{StartError, start};
pub use routes::{MAX_COPIES, PeerRoutes, RealAddress};
pub use sender::{DataPlaneSender, FabricSender};
pub use shared::PeerCounters;
pub use socket::SocketCounters;
pub use tls::Revocations;
