//! The link to the controller: identity, enrolment, the ledger of generations, the stream.
//!
//! [`ControlEvent`]s come out of [`start`], a [`ControlHandle`] goes in. The agent works without any
//! controller: what was confirmed last comes from the ledger at start, what is to be told waits in
//! the outbox.

mod api;
mod backoff;
mod clock;
pub(crate) mod dial;
mod enrol;
mod events;
mod facts;
pub(crate) mod files;
mod identity;
pub(crate) mod ledger;
mod link;
pub mod local;
mod outbox;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use api::{
    CONTROL_EVENTS, Connected, ControlEvent, ControlHandle, LinkStatus, Order, OrderReply,
    RevertOrder,
};
pub use clock::Calendar;
pub use dial::DialError;
pub use enrol::{EnrolError, EnrolOptions, enrol};
pub use files::FileError;
pub use identity::{CONTROLLER_NAME, EdgeKey, Identity, IdentityError, edge_name};
pub(crate) use link::ended_on_disk;
pub use link::{Abilities, Control, StartError, start};
pub use outbox::{MAX_DECISIONS, MAX_EVENTS};

/// The engine's time to answer an order; afterwards it counts as failed.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(60);
