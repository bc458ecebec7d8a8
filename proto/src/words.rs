//! Words for states, the same wherever people or programs read them.

use crate::agent::v1::IkeState;

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
