//! TAP devices: one end of an emulated link, as a file descriptor of whole Ethernet frames.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETCARRIER: libc::c_ulong = 0x4004_54e2;

/// Creates a TAP device in the calling thread's network namespace. It lives as long as the descriptor, which works from
/// any namespace.
pub(crate) fn create(name: &str) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    // SAFETY: ifreq is plain old data; all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open and `request` is an ifreq that outlives the call.
    let rc = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &raw mut request) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(file.into()) }
}

/// Gives the device a carrier, or takes it away.
pub(crate) fn set_carrier(tap: BorrowedFd<'_>, up: bool) -> io::Result<()> {
    let value = libc::c_int::from(up);
    // SAFETY: the descriptor is open and `value` is an int that outlives the call.
    let rc = unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETCARRIER as _, &raw const value) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
