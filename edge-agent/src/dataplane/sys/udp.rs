//! UDP sockets with segmentation (`UDP_SEGMENT`) and coalescing (`UDP_GRO`).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::{check, check_len, errors, set_option};
use crate::dataplane::Family;

pub(crate) const SOCKET_BUFFER_BYTES: libc::c_int = 8 << 20;

/// Datagrams (or runs of coalesced ones) per receive call.
const RECEIVE_BATCH: usize = 16;

/// The longest run of coalesced datagrams is below 64 KiB.
const RECEIVE_BYTES: usize = 1 << 16;

/// Calls that may fail for the error of another datagram, before the one whose error counts.
const PENDING_TRIES: usize = 2;

/// Octets of ancillary data for two c_ints; eight-octet aligned as `cmsghdr` wants.
const CONTROL_WORDS: usize = 8;

/// Opens a socket bound to the interface and to the port on all its addresses.
pub(crate) fn open(interface: &str, family: Family, port: u16) -> io::Result<OwnedFd> {
    let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    let fd = socket.as_raw_fd();
    // DF is always set: the inner MTU is ours to keep, and the kernel's idea of the path MTU is not asked (RFC 8899).
    let any: SocketAddr = match family {
        Family::V4 => {
            set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
            set_option(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
            (Ipv4Addr::UNSPECIFIED, port).into()
        }
        Family::V6 => {
            socket.set_only_v6(true)?;
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)?;
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
            (Ipv6Addr::UNSPECIFIED, port).into()
        }
    };
    // Best effort: without CAP_NET_ADMIN the ordinary limits hold, without GRO datagrams come one by one.
    let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, SOCKET_BUFFER_BYTES);
    let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SOCKET_BUFFER_BYTES);
    let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
    socket.bind(&any.into())?;
    let socket = socket.into();
    // What ICMP says is a hint, and can be done without.
    let _ = errors::enable(&socket, family);
    Ok(socket)
}

/// The local port of a socket of ours.
pub(in super::super) fn local_port(fd: &OwnedFd) -> io::Result<u16> {
    let address = socket2::SockRef::from(fd).local_addr()?;
    Ok(address.as_socket().map_or(0, |address| address.port()))
}

/// The kernel's number of an interface, which changes when it is made anew.
pub(in super::super) fn interface_index(interface: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(interface).ok()
}

/// Sends `payload`, cut by the kernel every `segment_bytes`, with this DSCP and ECN.
///
/// An ICMP error of an earlier datagram makes one call fail, which has sent nothing: it is made again.
pub(in super::super) fn send(
    fd: &OwnedFd,
    to: SocketAddr,
    payload: &[u8],
    segment_bytes: Option<u16>,
    tos: u8,
) -> io::Result<()> {
    for _ in 0..PENDING_TRIES {
        match send_once(fd, to, payload, segment_bytes, tos) {
            Err(error) if error.raw_os_error().is_some_and(may_be_of_another) => {}
            result => return result,
        }
    }
    send_once(fd, to, payload, segment_bytes, tos)
}

/// What ICMP's errors become (`icmp_err_convert` and `icmpv6_err_convert` of Linux). Some of it may be of this call too.
fn may_be_of_another(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EPROTO
            | libc::EACCES
            | libc::EMSGSIZE
    )
}

fn send_once(
    fd: &OwnedFd,
    to: SocketAddr,
    payload: &[u8],
    segment_bytes: Option<u16>,
    tos: u8,
) -> io::Result<()> {
    // RFC 791 and RFC 2460 have the octet in different places; so has the kernel.
    let class = if to.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_TOS)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
    };
    let to = SockAddr::from(to);
    let mut piece =
        libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    let mut control = Control { words: [0; CONTROL_WORDS], used_bytes: 0 };
    if let Some(segment_bytes) = segment_bytes {
        control.push((libc::SOL_UDP, libc::UDP_SEGMENT), segment_bytes);
    }
    // The socket's own default is zero.
    if tos != 0 {
        control.push(class, libc::c_int::from(tos));
    }
    // SAFETY: msghdr is plain data, for which zero is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    if control.used_bytes > 0 {
        message.msg_control = control.words.as_mut_ptr().cast();
        message.msg_controllen = control.used_bytes;
    }
    // SAFETY: every pointer in `message` is to a live local or to `payload`, and the kernel only reads them.
    check_len(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, 0) }).map(drop)
}

/// Ancillary data of one message: at most two values of eight octets.
struct Control {
    words: [u64; CONTROL_WORDS],
    used_bytes: usize,
}

impl Control {
    fn push<T>(&mut self, (level, kind): (libc::c_int, libc::c_int), value: T) {
        const { assert!(size_of::<T>() <= 8) };
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, length) = unsafe {
            let size = size_of::<T>() as libc::c_uint;
            (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize)
        };
        assert!(self.used_bytes + space <= size_of_val(&self.words), "room for two values");
        // SAFETY: the entry begins within `words` at a multiple of eight octets (CMSG_SPACE rounds up), and header and
        // value end within it, as was just checked.
        unsafe {
            let entry = self.words.as_mut_ptr().cast::<u8>().add(self.used_bytes);
            let header = entry.cast::<libc::cmsghdr>();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = length;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.used_bytes += space;
    }
}

/// Buffers for one thread's receive calls.
pub(in super::super) struct Receiver {
    octets: Vec<u8>,
    names: Vec<SockAddrStorage>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    pieces: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// A datagram, or a run of coalesced ones of the same source.
pub(in super::super) struct Received<'a> {
    pub(in super::super) from: SocketAddr,
    pub(in super::super) octets: &'a mut [u8],
    /// Every datagram but the last of the run is this long.
    pub(in super::super) stride_bytes: usize,
    /// DSCP and ECN of the outer header: of all datagrams of the run, for others are not coalesced.
    pub(in super::super) tos: u8,
    /// It was longer than the buffer.
    pub(in super::super) truncated: bool,
}

impl Receiver {
    pub(in super::super) fn new() -> Self {
        let piece = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: mmsghdr is plain data, for which zero is a valid value.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        Receiver {
            octets: vec![0; RECEIVE_BATCH * RECEIVE_BYTES],
            names: (0..RECEIVE_BATCH).map(|_| SockAddrStorage::zeroed()).collect(),
            controls: vec![[0; CONTROL_WORDS]; RECEIVE_BATCH],
            pieces: vec![piece; RECEIVE_BATCH],
            headers: vec![header; RECEIVE_BATCH],
        }
    }

    /// Receives what waits, at most a batch; `WouldBlock` when nothing does. Returns how many [`messages`](Self::messages) has.
    pub(in super::super) fn receive(&mut self, fd: &OwnedFd) -> io::Result<usize> {
        let buffers = self.octets.chunks_exact_mut(RECEIVE_BYTES);
        for (index, buffer) in buffers.enumerate() {
            self.pieces[index] =
                libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: RECEIVE_BYTES };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = self.names[index].size_of();
            header.msg_iov = &raw mut self.pieces[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; CONTROL_WORDS]>();
            header.msg_flags = 0;
        }
        // SAFETY: every header points into vectors that `self` owns and that aren't touched during the call; the
        // lengths told are theirs.
        let result = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                RECEIVE_BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        check(result).map(|count| count as usize)
    }

    /// What the last call received; addresses of no family of ours are skipped.
    pub(in super::super) fn messages(
        &mut self,
        count: usize,
    ) -> impl Iterator<Item = Received<'_>> {
        let buffers = self.octets.chunks_exact_mut(RECEIVE_BYTES);
        let received = self.headers.iter().zip(&self.names).zip(buffers).take(count);
        received.filter_map(|((header, name), buffer)| {
            let length = (header.msg_len as usize).min(RECEIVE_BYTES);
            // SAFETY: the kernel filled this name with `msg_namelen` octets; the storage is plain data to copy.
            let from = unsafe { SockAddr::new(std::ptr::read(name), header.msg_hdr.msg_namelen) };
            let told = Told::of(&header.msg_hdr);
            Some(Received {
                from: from.as_socket()?,
                octets: &mut buffer[..length],
                stride_bytes: told.stride_bytes.unwrap_or(length),
                tos: told.tos,
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            })
        })
    }

    /// More may wait than `count`, which the last call gave.
    pub(in super::super) fn is_full(&self, count: usize) -> bool {
        count == RECEIVE_BATCH
    }
}

/// What the kernel told of a datagram.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// The length of the datagrams of a coalesced run.
    stride_bytes: Option<usize>,
    tos: u8,
}

impl Told {
    fn of(header: &libc::msghdr) -> Told {
        let mut told = Told::default();
        // SAFETY: `header` is one that recvmmsg filled: its control buffer is alive and msg_controllen octets of it are
        // valid, which is what the CMSG macros walk. Entries of these types hold what is read: ip(7), ipv6(7), udp(7).
        unsafe {
            let mut control = libc::CMSG_FIRSTHDR(header);
            while !control.is_null() {
                let data = libc::CMSG_DATA(control);
                match ((*control).cmsg_level, (*control).cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let stride = usize::try_from(data.cast::<libc::c_int>().read_unaligned());
                        told.stride_bytes = stride.ok().filter(|&stride| stride > 0);
                    }
                    (libc::IPPROTO_IP, libc::IP_TOS) => told.tos = data.read(),
                    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                        told.tos = data.cast::<libc::c_int>().read_unaligned() as u8;
                    }
                    _ => {}
                }
                control = libc::CMSG_NXTHDR(header, control);
            }
        }
        told
    }
}
