//! Fabric keys: what two edges derive from their peer connection, and how they agree when each key is used.
//!
//! `schedule` is the arithmetic, `agreement` the state machine of one path, `pairing` the choice between two connections
//! of one pair of edges, `rekey` the limits. The shell moves the messages and calls the TLS exporter.

mod rekey;
mod suite;

pub use rekey::{RekeyLimits, SaUsage, UsageVerdict};
pub use suite::KeySuite;
