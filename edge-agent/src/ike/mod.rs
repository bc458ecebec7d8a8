//! charon (strongSwan) by VICI: connections, keys and security associations with gateways that are not Hawser.
//!
//! What it must hold, and the steps to it, are decided in `hawser_edge_core::ike`; here they are said to it.

mod charon;
mod client;
mod ledger;
mod listen;
pub mod secrets;
mod supervise;
mod task;
#[cfg(test)]
mod tests;

pub use charon::{Charon, StepReport};
pub use client::{ClientError, ViciClient};
pub use supervise::CharonOptions;
pub use task::{IkeHandle, Wanted, start};
