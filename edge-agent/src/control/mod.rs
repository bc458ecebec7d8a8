//! The link to the controller: identity, enrolment, the ledger of generations, the stream.
//!
//! [`ControlEvent`]s come out, a [`ControlHandle`] goes in. The agent works without any controller:
//! what was confirmed last comes from the ledger at start, what is to be told waits in the outbox.

mod api;
mod files;
mod identity;
pub mod local;
mod outbox;

use std::time::Duration;

pub use api::{
    CONTROL_EVENTS, Connected, ControlEvent, ControlHandle, LinkStatus, Order, OrderReply,
    RevertOrder,
};
pub use files::FileError;
pub use identity::{CONTROLLER_NAME, EdgeKey, Identity, IdentityError, edge_name};
pub use outbox::{MAX_DECISIONS, MAX_EVENTS};

/// The engine's time to answer an order; afterwards it counts as failed.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(60);
