//! Which generation an agent is offered: the same rules in the controller's session and in the simulation.

/// What is known when an edge could be offered its desired generation. `Id` is a generation's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered<Id> {
    pub desired: Id,
    pub applied: Option<Id>,
    pub highest_seen: Option<Id>,
    /// It was sent on this stream already.
    pub sent: bool,
    /// The agent rejected it.
    pub rejected: bool,
    /// The agent applied it, and took it back for want of a confirmation.
    pub unconfirmed: bool,
    /// It is part of a rollout that runs.
    pub staged: bool,
    /// This very process sent it: it was there all the time, and had it worked, it would have been confirmed.
    pub pushed: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    Nothing,
    Push,
    /// The same configuration under a number that was not seen yet.
    Rename {
        /// Not if it was renamed so before.
        once: bool,
    },
}

/// A generation that was rejected is not offered again. One that was not confirmed is, as often as the controller was
/// away meanwhile; if it was there, once more, and not at all while the generation is on trial in a rollout.
pub fn offer<Id: Ord + Copy>(at: Offered<Id>) -> Offer {
    let refused = at.rejected || at.unconfirmed;
    if at.applied == Some(at.desired) || at.sent && !refused || at.rejected {
        return Offer::Nothing;
    }
    if at.unconfirmed {
        return match (at.pushed, at.staged) {
            (false, _) => Offer::Rename { once: false },
            (true, false) => Offer::Rename { once: true },
            (true, true) => Offer::Nothing,
        };
    }
    if at.highest_seen.is_some_and(|seen| at.desired < seen) {
        return Offer::Rename { once: false };
    }
    Offer::Push
}
