//! The kernel lab: scenarios inside a full Linux kernel that runs as an ordinary process (Debian's kernel in QEMU), for
//! what the kernel of this machine may not have: ESP, GRE, netem, and the tables of one machine to flush.
//!
//! The root file system is the host's, read only, so the programs are those that were just built. Each scenario has a
//! kernel of its own. Its processors are emulated: right for behaviour, wrong for throughput.
//!
//! - [`boot`]: starts a kernel, waits, and lets nothing live on.
//! - [`scenarios`]: what runs inside.
//! - [`report`]: what comes back.

pub mod boot;
mod inside;
pub mod report;
pub mod scenarios;

pub use inside::run as run_inside;
pub use report::{Outcome, run_all};

/// Why the lab itself failed, not a scenario.
#[derive(Debug, thiserror::Error)]
pub enum KernelLabError {
    #[error("{program} is missing; run: apt-get install --no-install-recommends {package}")]
    Missing { program: &'static str, package: &'static str },
    #[error("there is no kernel in {}; run: tools/kernel target/kernel", at.display())]
    NoKernel { at: std::path::PathBuf },
    #[error("the kernel lab needs root")]
    NotRoot,
    #[error("there is no scenario `{name}`; there are: {}", known.join(", "))]
    NoScenario { name: String, known: Vec<&'static str> },
    #[error("{what}")]
    Io {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Lab(#[from] crate::lab::LabError),
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> KernelLabError {
    move |source| KernelLabError::Io { what, source }
}
