//! Words for states, the same wherever people or programs read them.

use crate::agent::v1::IkeState;

/// Links of tunnels with gateways have numbers like paths, from this one on: those of paths have 24 bits.
pub const FIRST_IKE_LINK_ID: u32 = 1 << 24;

impl IkeState {
    /// In lower case.
    pub fn word(self) -> &'static str {
        match self {
            IkeState::Unspecified => "unknown",
            IkeState::Blocked => "blocked",
            IkeState::Waiting => "waiting",
            IkeState::Connecting => "connecting",
            IkeState::Authenticated => "authenticated",
            IkeState::Up => "up",
        }
    }
}
