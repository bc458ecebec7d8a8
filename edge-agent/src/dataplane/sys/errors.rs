//! A socket's error queue: what ICMP says of datagrams that were sent (ip(7), `IP_RECVERR`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{SockAddr, SockAddrStorage};

use super::{check_len, set_option};
use crate::dataplane::Family;

/// Octets of ancillary data: the error, the offender's address, and room to spare; eight-octet aligned as `cmsghdr` wants.
const CONTROL_WORDS: usize = 24;

/// Origins (`linux/errqueue.h`).
const ORIGIN_LOCAL: u8 = 1;
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Origin {
    /// This host.
    Local,
    /// RFC 792.
    Icmp,
    /// RFC 4443.
    Icmp6,
}

/// An error of a datagram that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct QueuedError {
    /// Where to.
    pub(in super::super) to: SocketAddr,
    pub(in super::super) errno: i32,
    pub(in super::super) origin: Origin,
    /// ICMP's type and code; 0 of a local error.
    pub(in super::super) kind: u8,
    pub(in super::super) code: u8,
    /// The MTU, of an error that says "too long".
    pub(in super::super) info: u32,
}

/// Has the kernel queue errors from now on. From then on each also fails one call of the socket: see
/// [`send`](super::udp::send).
pub(super) fn enable(fd: &OwnedFd, family: Family) -> io::Result<()> {
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    set_option(fd.as_raw_fd(), level, name, 1)
}

/// Takes one error off the queue; `WouldBlock` when it is empty. `None`: one that says nothing to us.
pub(in super::super) fn take(fd: &OwnedFd) -> io::Result<Option<QueuedError>> {
    let mut name = SockAddrStorage::zeroed();
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: msghdr is plain data, for which zero is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // The datagram itself is not wanted: without room for it, it is cut off.
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = name.size_of();
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: every pointer in `message` is to a live local, and the lengths told are theirs.
    check_len(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) })?;
    let Some(error) = extended_error(&message) else { return Ok(None) };
    // SAFETY: the kernel filled the name with `msg_namelen` octets.
    let to = unsafe { SockAddr::new(name, message.msg_namelen) };
    let origin = match error.ee_origin {
        ORIGIN_LOCAL => Origin::Local,
        ORIGIN_ICMP => Origin::Icmp,
        ORIGIN_ICMP6 => Origin::Icmp6,
        _ => return Ok(None),
    };
    Ok(to.as_socket().map(|to| QueuedError {
        to,
        errno: error.ee_errno as i32,
        origin,
        kind: error.ee_type,
        code: error.ee_code,
        info: error.ee_info,
    }))
}

fn extended_error(message: &libc::msghdr) -> Option<libc::sock_extended_err> {
    // SAFETY: `message` is one that recvmsg filled: its control buffer is alive and msg_controllen octets of it are
    // valid, which is what the CMSG macros walk. An entry of these types holds a whole sock_extended_err.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(message);
        while !control.is_null() {
            let kind = ((*control).cmsg_level, (*control).cmsg_type);
            if kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
                || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            {
                let error = libc::CMSG_DATA(control).cast::<libc::sock_extended_err>();
                return Some(error.read_unaligned());
            }
            control = libc::CMSG_NXTHDR(message, control);
        }
    }
    None
}
