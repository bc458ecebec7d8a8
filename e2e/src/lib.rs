//! The lab: a network of namespaces, links with emulated faults, and the instruments that measure what gets through.
//!
//! - [`lab`]: describe a network in a file, bring it up under one supervisor, run programs in it.
//! - [`wan`]: what a wide-area link does to frames, as a pure model and as a thin shell around TAP devices.
//! - [`watch`]: count frames with a marker on any interface.
//! - [`stream`]: a constant-rate stream and the gaps that its receiver saw.
//! - [`watchdog`]: how long this machine failed to run a thread that was due.
//! - [`fleet`]: the real controller, agents and command line in a lab, and what a test does to them.
//! - [`demo`]: the main job as an operator sees it.
//! - [`bench`]: how fast, and how calm, link selection is.
//! - [`telemetry`]: dashboards, rules and pushes against a real Prometheus and a real receiver.
//! - [`console`]: the console in a real browser.
//! - [`kernel`]: the kernel lab: scenarios inside a full Linux kernel that is an ordinary process.
//! - [`report`]: figures, goals, and the files they are written to.
//!
//! Linux only, and root only. See `hawser-lab --help` for use by hand.

pub mod bench;
pub mod cli;
pub mod clock;
pub mod console;
pub mod demo;
pub mod fleet;
pub(crate) mod instrument;
pub mod kernel;
pub mod lab;
pub mod report;
pub(crate) mod screen;
pub mod stream;
pub(crate) mod supervisor;
pub mod telemetry;
pub mod wan;
pub mod watch;
pub mod watchdog;
