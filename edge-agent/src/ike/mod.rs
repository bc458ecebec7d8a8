//! charon (strongSwan) by VICI: connections, keys and security associations with gateways that are not Hawser.
//!
//! What it must hold, and the steps to it, are decided in `hawser_edge_core::ike`; here they are said to it.

pub mod certificates;
mod charon;
mod client;
pub mod held;
mod ledger;
mod listen;
mod probe_socket;
pub mod secrets;
mod supervise;
mod task;
#[cfg(test)]
mod tests;

pub use charon::{Charon, StepReport};
pub use client::{ClientError, ViciClient};
pub use probe_socket::{Echo, ProbeSocket, ProbeSpec};
pub use supervise::CharonOptions;
pub use task::{IkeHandle, Wanted, start};
