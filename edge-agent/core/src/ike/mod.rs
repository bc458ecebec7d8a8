//! Tunnels to gateways that are not Hawser: what charon (strongSwan) must hold, and the steps from what it holds to that.
//!
//! The shell observes, calls [`plan`], says every [`Step`] by VICI, and observes again. Connections and secrets of ours carry
//! [`PREFIX`]: what others loaded into the same charon is never touched. Secrets go by VICI only, never by a file.

mod connection;
mod plan;
mod sas;
#[cfg(test)]
mod tests;
mod version;
pub mod vici;

pub use connection::{Child, Connection, IkeVersion, Mode, Protocol, Selector, Start};
pub use plan::{Observed, Step, Wanted, plan};
pub use sas::{ChildSa, IkeSa, ike_sas};
pub use version::{Daemon, Lack, MIN_VERSION, lacks};

/// Before the names of all that is ours in charon.
pub const PREFIX: &str = "hawser-";
