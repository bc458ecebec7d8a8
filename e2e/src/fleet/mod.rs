//! A fleet in a lab: the real controller, agents and command line, in the namespaces of a topology.
//!
//! ```no_run
//! use hawser_e2e::fleet::{Fleet, FleetSpec};
//! use std::time::Duration;
//!
//! let mut fleet = Fleet::up(FleetSpec::demo()?)?;
//! fleet.wait_all_up(Duration::from_secs(30))?;
//! let path = fleet.agent("b1-1")?.path_in_use("hq-1", "default")?;
//! println!("b1 sends to hq by {}", path.local_uplink);
//! # Ok::<(), hawser_e2e::fleet::FleetError>(())
//! ```

mod agent;
mod bring_up;
mod controller;
mod error;
mod flow;
mod folder;
mod gateway;
mod guard;
mod link;
mod local;
pub mod operator;
mod pki;
mod programs;
mod spec;
pub mod views;
pub mod wait;

pub use agent::Agent;
pub use bring_up::Fleet;
pub use controller::Controller;
pub use error::FleetError;
pub use flow::{Flow, MARKER, Progress};
pub use gateway::{
    GATEWAY_ADDRESS, GATEWAY_HOST, GATEWAY_KEY, GATEWAY_OTHER_ADDRESS, GATEWAY_SECRET, Gateway, Led,
};
pub use guard::{ClearText, Guards};
pub use operator::Operator;
pub use pki::Pki;
pub use programs::Programs;
pub use spec::{EdgePlace, FleetSpec};
