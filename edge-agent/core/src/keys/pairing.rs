//! Which of two connections of one pair of edges keys the paths.
//!
//! Both ends must come to the same answer from what they see, in whatever order connections are established at each.

use crate::id::EdgeId;

/// What is known of an established connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The edge that opened it.
    pub opener: EdgeId,
    /// Of the peer, from its hello.
    pub peer_boot: String,
}

/// What becomes of a connection that was just established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It keys from now on; the current one goes once it has.
    Replace,
    /// The current one goes on; the new one keys nothing and goes.
    Standby,
}

/// Compares a new connection with the current one.
///
/// - The peer's agent has restarted since: the current one is dead, whoever opened it.
/// - The same edge opened both: it has its reasons (a timed rekey, or it lost the first one).
/// - Each edge opened one, at the same time: the one opened by the lower edge ID wins.
pub fn judge(current: &Candidate, new: &Candidate) -> Verdict {
    let restarted = current.peer_boot != new.peer_boot;
    if restarted || new.opener <= current.opener { Verdict::Replace } else { Verdict::Standby }
}
