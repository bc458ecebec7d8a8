//! The peer connection of each tunnel: QUIC on the fabric port, keys for every path.
//!
//! quinn runs over [`FabricSocket`], which knows each peer by one virtual address; [`PeerRoutes`] says where that is now.
//! One actor per peer keeps one connection to it, agrees on keys for every path of the tunnel, and asks the engine to
//! install them ([`PeerEvent`]). Which message and which SA come when is decided in `hawser_edge_core::keys`.

mod api;
mod handle;
mod identity;
mod long_header;
mod lru;
mod routes;
mod sender;
mod tls;
mod virtual_address;

pub use api::{
    CommandError, HelloFacts, InstallFailed, Installed, KeyFingerprint, PathKeying, PeerConfig,
    PeerEvent, PeerSettings, PeerTimers, RevokedSerials,
};
pub use handle::PeerHandle;
pub use identity::{Identity, IdentityError};
pub use routes::{MAX_COPIES, PeerRoutes, RealAddress};
pub use sender::{DataPlaneSender, FabricSender};
pub use tls::Revocations;
