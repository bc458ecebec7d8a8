//! Makes a NAT forget: one message to the kernel's connection tracking, so that no further program is needed.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::io;
use std::os::fd::AsRawFd;

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_DELETE` of `linux/netfilter/nfnetlink*.h`: without a flow, all of them.
const DELETE_FLOWS: u16 = 1 << 8 | 2;
/// A message's header, and that of netfilter's messages behind it.
const REQUEST_BYTES: u32 = 16 + 4;
/// Where an answer has its error number, negative.
const ERROR_AT: usize = 16;

/// In this network namespace.
pub(super) fn forget() -> io::Result<()> {
    let netfilter = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let mut request = Vec::new();
    request.extend_from_slice(&REQUEST_BYTES.to_ne_bytes());
    request.extend_from_slice(&DELETE_FLOWS.to_ne_bytes());
    request.extend_from_slice(&flags.to_ne_bytes());
    // Sequence number and port, then family and version 0, no resource.
    request.resize(REQUEST_BYTES as usize, 0);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netfilter.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(netfilter.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let error = answer[..length].get(ERROR_AT..ERROR_AT + 4).and_then(|word| word.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("the kernel's answer is too short")),
    }
}
