//! Labs: a network described in a file, made of namespaces under one supervisor.
//!
//! ```no_run
//! use hawser_e2e::lab::{Lab, Task, Topology};
//! use hawser_e2e::wan::Impairment;
//!
//! let lab = Lab::up(&Topology::bundled("demo")?)?;
//! let agent = lab.spawn("hq", &Task::new("hawser-edge").arg("run").log("/tmp/hq.log"))?;
//! lab.impair("hq-isp-a", &Impairment::blackhole(true))?;
//! assert!(!lab.exec("hq", &["ping", "-c1", "-W1", "198.51.100.1"])?.status.success());
//! agent.kill();
//! # Ok::<(), hawser_e2e::lab::LabError>(())
//! ```
//!
//! The file system is the real one, save for `/proc`, `/sys` and an empty `/run`. Whatever ends the supervisor ends all
//! processes of the lab and removes its namespaces and links.

mod check;
mod error;
pub mod folder;
mod handle;
pub(crate) mod plan;
mod process;
pub(crate) mod start;
pub(crate) mod topology;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

pub use check::Fault;
pub use error::{LabError, Refusal};
pub use handle::Lab;
pub use process::{Output, Process, Sink, Task};
pub use topology::{
    End, Link, LinkKind, Masquerade, Node, NodeKind, Route, Topology, TopologyError,
};
pub use wire::{NodeStatus, ProcessStatus, Status};
