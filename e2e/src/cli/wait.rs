//! Waiting for Ctrl-C, or for the lab to end on its own.

use crate::lab::folder;
use nix::sys::signal::{SigSet, Signal};
use std::path::Path;

fn ends() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

pub(crate) fn block_signals() {
    // Fails only for bad arguments, and these are constants.
    let _ = ends().thread_block();
}

/// True for a signal, false when the lab ended by itself.
pub(super) fn signal_or_end(state: &Path) -> bool {
    while folder::is_alive(state) {
        if signal_within_ms(300) {
            return true;
        }
    }
    false
}

/// Takes one of the blocked signals, if it comes in time.
pub(crate) fn signal_within_ms(ms: u32) -> bool {
    let set = ends();
    let limit = libc::timespec {
        tv_sec: libc::time_t::from(ms / 1_000),
        tv_nsec: libc::c_long::from(ms % 1_000) * 1_000_000,
    };
    // SAFETY: set and limit outlive the call; no signal details are asked for.
    unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const limit) > 0 }
}
