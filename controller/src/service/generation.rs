//! A generation's name, ordered.

use hawser_proto::config::v1::GenerationId;
use serde::{Deserialize, Serialize};

/// The number rises strictly per edge. Agents take a higher epoch only with the CA's signature, so
/// this controller stays in the first one; after a restore it steps over every number that may have
/// been given before.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Generation {
    pub epoch: u64,
    pub number: u64,
}

impl Generation {
    /// The first ever given.
    pub const FIRST: Self = Self { epoch: 1, number: 1 };

    /// The next one above this one and above `other`; `None` when numbers are used up.
    pub fn next(self, other: Self) -> Option<Self> {
        let newest = self.max(other);
        let number = newest.number.checked_add(1)?;
        Some(Self { epoch: newest.epoch.max(1), number })
    }
}

impl From<Generation> for GenerationId {
    fn from(id: Generation) -> Self {
        Self { epoch: id.epoch, number: id.number }
    }
}

impl From<&GenerationId> for Generation {
    fn from(id: &GenerationId) -> Self {
        Self { epoch: id.epoch, number: id.number }
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_generation_is_above_both() {
        let at = |epoch, number| Generation { epoch, number };
        for (own, other, next) in [
            (at(0, 0), at(0, 0), Some(Generation::FIRST)),
            (at(1, 4), at(1, 4), Some(at(1, 5))),
            (at(1, 4), at(1, 9), Some(at(1, 10))),
            (at(1, 4), at(3, 2), Some(at(3, 3))),
            (at(1, 4), at(1, u64::MAX), None),
        ] {
            assert_eq!(own.next(other), next, "{own} {other}");
        }
    }
}
