//! Which generation this edge applies, keeps and refuses (DESIGN section 8).
//!
//! ```text
//!            offer                    outcome ok                exchange on a newer connection
//!  settled ─────────► applying ───────────────► provisional ──────────────────────────────► settled
//!     ▲                  │ faults                    │ 90 s without one, or another kernel boot
//!     └── enforcing ◄────┴───────────────────────────┘
//! ```
//!
//! `highest_seen` alone never falls within an epoch. What could not be applied is never applied
//! again. Every [`Effect`] is performed in the order given, and [`Effect::Persist`] is durable
//! before the next one starts: a crash between any two leaves a state that [`Generations::resume`]
//! can go on from.

mod machine;
mod state;
#[cfg(test)]
mod tests;

pub use machine::{
    ApplyReason, Effect, EpochProof, Generations, MAX_ATTEMPTS, NotOffered, Offer, RETRY_FIRST,
    RETRY_MAX, UNCONFIRMED_AFTER,
};
pub use state::{
    Attempt, BootId, Digest, Generation, GenerationId, GenerationState, IllegalState, MAX_REFUSED,
    Provisional, Refused, RefusedKind, Seen,
};
