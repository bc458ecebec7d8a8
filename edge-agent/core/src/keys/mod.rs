//! Fabric keys: what two edges derive from their peer connection, and how they agree when each key is used.
//!
//! `schedule` is the arithmetic, `agreement` the state machine of one path, `pairing` the choice between two connections
//! of one pair of edges, `lanes` the SAs that share a path, `rekey` the limits. The shell moves the messages and calls the TLS exporter.

mod agreement;
mod former;
mod inbound;
mod lanes;
mod message;
mod pairing;
mod rekey;
mod schedule;
#[cfg(test)]
mod tests;

pub use agreement::{
    ANSWER_TIMEOUT, Agreement, ConnectionNo, EPOCH_INTERVAL, Effect, Ignored, MAX_RETRY, Role,
    SaTerms, SpiPair, Terms,
};
pub use former::former_terms;
/// How an SA's packets are protected, as the intent, `KeyOffer` and the key schedule name it.
pub use hawser_esp::Suite as KeySuite;
pub use inbound::{DRAIN, MAX_INBOUND};
pub use lanes::{Lanes, MAX_LANES};
pub use message::KeyMessage;
pub use pairing::{Candidate, Verdict, judge};
pub use rekey::{RekeyLimits, SaUsage, UsageVerdict};
pub use schedule::{
    EXPORTER_BYTES, EXPORTER_LABEL, MAX_FURTHER_SECRET_BYTES, NONCE_BYTES, Nonce, SaContext,
    ScheduleError, derive,
};
