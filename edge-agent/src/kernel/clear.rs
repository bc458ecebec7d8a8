//! Takes out of the kernel everything that the driver put there.

use std::io;
use std::sync::Arc;

use hawser_edge_core::kernel::{KernelState, SCRIPT_TABLE, plan};

use super::inner::Inner;
use super::netlink::Refusal;
use super::probes::Probes;
use super::script::Script;

/// What is left.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    #[error("no netlink socket, or no thread")]
    Open(#[source] io::Error),
    #[error("the kernel refused a step")]
    Refused(#[source] Refusal),
}

/// How many things that were. Every step is tried; the first failure is told.
///
/// # Errors
/// The kernel can't be looked at, or something is left.
pub fn clear() -> Result<usize, ClearError> {
    let probes = Probes::start(Box::new(|_, _, _, _| {})).map_err(ClearError::Open)?;
    let mut inner = match Inner::open(Arc::new(probes)) {
        Ok(inner) => inner,
        // A kernel without XFRM never had this driver.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(0),
        Err(error) => return Err(ClearError::Open(error)),
    };
    inner.look().map_err(ClearError::Refused)?;
    let steps = plan(&KernelState::default(), &inner.believed);
    let count = steps.len();
    let done = inner.carry_out_all(steps);
    // Made first, so that one that is not there is no error.
    let script = format!("table inet {SCRIPT_TABLE} {{}}\ndelete table inet {SCRIPT_TABLE}\n");
    let table = Script::default().load_other(&script);
    done.map_err(|failed| ClearError::Refused(failed.error))?;
    table.map_err(ClearError::Refused)?;
    Ok(count)
}
