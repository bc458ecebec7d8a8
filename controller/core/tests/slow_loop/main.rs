//! The slow loop and the agents' own loop together: fleets of 200 sites on a virtual clock, with the real cores of both.
//!
//! Nothing here is drawn from a clock or a generator of the host: a scenario is its seed.

mod fleet;
mod harm;
mod quiet;
mod random;
mod site;
mod troubles;
mod world;
