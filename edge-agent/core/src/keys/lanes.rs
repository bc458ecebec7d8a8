//! How many SAs a path has in each direction, so that several cores seal and open at once (the idea of RFC 9611).
//!
//! Lane k is the SA of the k-th SPI from the one that was agreed. All lanes of a path are keyed, replaced and removed
//! together.

use crate::id::Spi;

/// The most lanes of a path and direction.
pub const MAX_LANES: u8 = 8;

/// 1 to [`MAX_LANES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lanes(u8);

impl Lanes {
    /// A path of one SA, as every edge has that knows no lanes.
    pub const ONE: Lanes = Lanes(1);

    /// As near to `count` as can be.
    pub fn clamped(count: usize) -> Lanes {
        Lanes(count.clamp(1, usize::from(MAX_LANES)) as u8)
    }

    /// As a peer says it; from one that says nothing it is one.
    pub fn from_wire(count: u32) -> Lanes {
        Lanes::clamped(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// One is not said: an edge that has no more writes what it always wrote.
    pub fn to_wire(self) -> u32 {
        if self == Lanes::ONE { 0 } else { u32::from(self.0) }
    }

    /// How many.
    pub fn count(self) -> usize {
        usize::from(self.0)
    }

    /// Their numbers.
    pub fn all(self) -> impl Iterator<Item = u8> {
        0..self.0
    }

    /// `first` and those behind it are SPIs.
    pub fn fit(self, first: Spi) -> bool {
        first.0.checked_add(u32::from(self.0) - 1).is_some()
    }
}
