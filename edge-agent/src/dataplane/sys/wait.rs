//! Waiting for a descriptor, or to be told to stop.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Tells one thread to stop, and wakes it.
#[derive(Debug)]
pub(in super::super) struct Stop {
    told: AtomicBool,
    wake: EventFd,
}

impl Stop {
    pub(in super::super) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Stop { told: AtomicBool::new(false), wake: EventFd::from_flags(flags)? })
    }

    pub(in super::super) fn tell(&self) {
        self.told.store(true, Ordering::Release);
        // Non-blocking and never near its limit: a failure can only mean that it is awake already.
        let _ = self.wake.write(1);
    }

    pub(in super::super) fn told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Waits until `fd` is readable; false on a timeout, or when told to stop.
    pub(in super::super) fn readable(
        &self,
        fd: Option<BorrowedFd<'_>>,
        timeout: Duration,
    ) -> io::Result<bool> {
        self.ready(fd, timeout).map(|ready| ready != Ready::Nothing)
    }

    /// The same, telling errors apart that wait in a socket's queue.
    pub(in super::super) fn ready(
        &self,
        fd: Option<BorrowedFd<'_>>,
        timeout: Duration,
    ) -> io::Result<Ready> {
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // A negative descriptor is skipped by poll(2).
        let mut entries =
            [entry(self.wake.as_fd().as_raw_fd()), entry(fd.map_or(-1, |fd| fd.as_raw_fd()))];
        poll(&mut entries, timeout)?;
        Ok(match entries[1].revents {
            _ if self.told() => Ready::Nothing,
            0 => Ready::Nothing,
            events if events & libc::POLLERR != 0 => Ready::Errors,
            _ => Ready::Data,
        })
    }
}

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Ready {
    Nothing,
    Data,
    /// Errors, and maybe data too.
    Errors,
}

/// Waits until `fd` takes more; false on a timeout.
pub(in super::super) fn writable(fd: &OwnedFd, timeout: Duration) -> io::Result<bool> {
    let mut entries = [libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
    poll(&mut entries, timeout)?;
    Ok(entries[0].revents & libc::POLLOUT != 0)
}

fn poll(entries: &mut [libc::pollfd], timeout: Duration) -> io::Result<()> {
    let timeout_ms = timeout.as_millis().min(60_000) as libc::c_int;
    // SAFETY: the pointer and the count are those of one live slice of pollfd.
    let result =
        unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout_ms) };
    match super::check(result) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other.map(drop),
    }
}
