//! The kernel driver of the data plane: XFRM, GRE interfaces, next hops, routes, rules and nftables by netlink; the
//! kernel forwards, also while no agent runs.
//!
//! What the kernel must hold, and the steps to it, are decided in `hawser_edge_core::kernel`; why it has this shape is in
//! `docs/decisions/0012-kernel-driver.md`.

pub(crate) mod algorithms;
mod capability;
mod clear;
mod driver;
mod ends;
pub mod holder;
mod inner;
pub(crate) mod netlink;
mod next_hop;
mod probes;
mod readings;
pub(crate) mod route;
mod ruleset;
mod script;
mod sockets;
mod sysctl;
mod watch;
pub(crate) mod xfrm;

pub use capability::{Lack, UNTRIED, lacks, suites};
pub use clear::{ClearError, clear};
pub use driver::KernelDataPlane;
pub use netlink::Refusal;
pub use ruleset::generation as ruleset_generation;
