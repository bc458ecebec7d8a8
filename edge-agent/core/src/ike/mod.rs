//! Tunnels to gateways that are not Hawser: what charon (strongSwan) must hold, and the steps from what it holds to that.
//!
//! The shell observes, calls [`plan`], says every [`Step`] by VICI, and observes again. Connections and secrets of ours carry
//! [`PREFIX`]: what others loaded into the same charon is never touched. Secrets go by VICI only, never by a file.

mod connection;
mod desired;
pub(crate) mod interface;
mod lane;
pub mod links;
mod monitor;
mod plan;
mod proposal;
mod sas;
#[cfg(test)]
mod tests;
mod version;
pub mod vici;

pub use connection::{
    Child, Connection, IkeVersion, Mode, Proof, Protocol, Selector, Start, TunnelMode,
};
pub use desired::connection;
pub use interface::{InterfaceKind, if_id, interface_name, interface_names, is_interface_name};
pub use lane::{lanes, tunnel_of};
pub use monitor::{Attempt, Blocked, Change, Monitor, Sample, State, Traffic, Watched};
pub use plan::{Credential, Observed, Step, Wanted, plan};
pub use proposal::{esp_proposal, ike_proposal};
pub use sas::{ChildSa, IkeSa, ike_sas};
pub use version::{Daemon, KeyKind, Lack, MIN_VERSION, lacks, lacks_for_group, lacks_for_key};

#[cfg(test)]
pub(crate) use tests::test_tunnel;

/// Before the names of all that is ours in charon.
pub const PREFIX: &str = "hawser-";
