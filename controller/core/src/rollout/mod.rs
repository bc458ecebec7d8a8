//! Staged rollout of a revision: canaries first, then growing waves, the hubs one by one at the end.
//!
//! ```text
//!             all confirmed            in order for the soak time       last wave
//!  settling ────────────────► soaking ───────────────┬────────────────► awaiting-confirmation ──► done
//!     ▲                          │                   │ next wave             │ not confirmed in time
//!     └──────────────────────────┼───────────────────┘                       ▼
//!     └──── refused, lost, paths down, SLA lost ────────────────────► rolled-back
//! ```
//!
//! The machine is asked once in a while with what is seen of every edge then: it misses nothing that happened meanwhile,
//! and goes on from what was stored after a restart of the controller. Its clocks begin anew then, so that a controller
//! that was away blames nobody for it.

mod machine;
mod offer;
mod policy;
#[cfg(test)]
mod tests;

pub use machine::{Effect, Phase, Progress, Rollout, Sight, Standing};
pub use offer::{Offer, Offered, offer};
pub use policy::{Member, Policy, waves};
