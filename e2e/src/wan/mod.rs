//! What a wide-area link does to frames.
//!
//! [`model::Direction`] is the pure core: time and frame length in, fate out. [`emulator`] is the shell: two TAP devices
//! a link, one thread, one queue ordered by time.

mod burst;
pub(crate) mod counters;
pub(crate) mod emulator;
mod impairment;
pub mod model;
pub(crate) mod tap;
pub mod trace;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Drops};
pub use emulator::DirectionStatus;
pub use impairment::{Dir, Impairment, ImpairmentFault, JitterShape, Settings, TraceEnd};
