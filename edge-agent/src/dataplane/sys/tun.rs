//! A TUN device with segmentation offload, of one or more queues. It lives as long as their descriptors.

use std::ffi::CString;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{check, check_len, steering};
use crate::dataplane::DataPlaneError;

/// Best first. TSO needs CSUM; USO came with Linux 6.2.
const OFFLOADS: [libc::c_uint; 4] = [
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_USO4 | libc::TUN_F_USO6,
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6,
    libc::TUN_F_CSUM,
    0,
];

const BUSY_TRIES: usize = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(in super::super) struct Tun {
    /// At least one.
    queues: Vec<OwnedFd>,
    name: String,
    segments_udp: bool,
    failure_told: AtomicBool,
}

impl Tun {
    /// Makes the device in the caller's network namespace, with this MTU and so many queues, and brings it up. It has one
    /// queue where the kernel does not let us say which flow goes to which.
    pub(in super::super) fn create(
        name: &str,
        mtu_bytes: u16,
        queues: usize,
    ) -> Result<Tun, DataPlaneError> {
        Tun::offering(name, mtu_bytes, queues, &OFFLOADS)
    }

    /// One that gives and takes single packets, whole and with their checksums.
    pub(in super::super) fn create_plain(
        name: &str,
        mtu_bytes: u16,
    ) -> Result<Tun, DataPlaneError> {
        Tun::offering(name, mtu_bytes, 1, &[0])
    }

    fn offering(
        name: &str,
        mtu_bytes: u16,
        queues: usize,
        offloads: &[libc::c_uint],
    ) -> Result<Tun, DataPlaneError> {
        let fault = |operation| {
            move |source| DataPlaneError::Device { name: name.into(), operation, source }
        };
        let queues = open_queues(name, queues)?;
        // Of the device, whichever queue is asked.
        let offload =
            set_offload(queues[0].as_fd(), offloads).map_err(fault("setting its offloads"))?;
        // Else the kernel gives the device a link-local address and talks multicast into the overlay.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"), "1");
        let segments_udp = offload & libc::TUN_F_USO4 != 0;
        let failure_told = AtomicBool::new(false);
        let tun = Tun { queues, name: name.into(), segments_udp, failure_told };
        tun.set_mtu(mtu_bytes)?;
        tun.bring_up().map_err(fault("bringing it up"))?;
        Ok(tun)
    }

    pub(in super::super) fn set_mtu(&self, mtu_bytes: u16) -> Result<(), DataPlaneError> {
        let set = || {
            let mut request = Request::new(&self.name)?;
            request.0.ifr_ifru.ifru_mtu = libc::c_int::from(mtu_bytes);
            request.run(control_socket()?.as_fd(), libc::SIOCSIFMTU)
        };
        set().map_err(|source| DataPlaneError::Device {
            name: self.name.clone(),
            operation: "setting its MTU",
            source,
        })
    }

    fn bring_up(&self) -> io::Result<()> {
        let socket = control_socket()?;
        let mut request = Request::new(&self.name)?;
        request.run(socket.as_fd(), libc::SIOCGIFFLAGS)?;
        // SAFETY: SIOCGIFFLAGS filled this member of the union.
        let flags = unsafe { request.0.ifr_ifru.ifru_flags };
        request.0.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
        request.run(socket.as_fd(), libc::SIOCSIFFLAGS)
    }

    /// One packet with its `struct virtio_net_hdr` (10 octets) before it; `WouldBlock` when none waits.
    pub(in super::super) fn read(&self, queue: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.as_fd(queue).as_raw_fd();
        // SAFETY: the pointer and the length are those of one live mutable slice.
        let result = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
        check_len(result)
    }

    /// One packet with its virtio header, in pieces (at most 1024).
    pub(in super::super) fn write(&self, queue: usize, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let fd = self.as_fd(queue).as_raw_fd();
        // SAFETY: IoSlice has the layout of iovec; the slice and what it points to outlive the call.
        let result =
            unsafe { libc::writev(fd, pieces.as_ptr().cast(), pieces.len() as libc::c_int) };
        check_len(result).map(drop)
    }

    /// It takes UDP super-packets (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    pub(in super::super) fn segments_udp(&self) -> bool {
        self.segments_udp
    }

    /// How many there are.
    pub(in super::super) fn queues(&self) -> usize {
        self.queues.len()
    }

    /// Any number is that of a queue: they are counted round.
    pub(in super::super) fn as_fd(&self, queue: usize) -> BorrowedFd<'_> {
        self.queues[queue % self.queues.len()].as_fd()
    }

    /// True once: all queues of a device fail at the same time.
    pub(in super::super) fn first_to_fail(&self) -> bool {
        !self.failure_told.swap(true, Ordering::Relaxed)
    }
}

/// One queue as ever, or several among which a flow keeps to its own.
fn open_queues(name: &str, count: usize) -> Result<Vec<OwnedFd>, DataPlaneError> {
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if count > 1 {
        // Several queues would join a device that is not ours yet; the first one must make it.
        let several = flags | libc::IFF_MULTI_QUEUE;
        let mut queues = vec![open_queue(name, several | libc::IFF_TUN_EXCL)?];
        for _ in 1..count {
            queues.push(open_queue(name, several)?);
        }
        match steering::pin_flows(queues[0].as_fd()) {
            Ok(()) => return Ok(queues),
            Err(error) => tracing::warn!(
                device = name,
                "one queue instead of {count}: the kernel takes no steering program ({error}); \
                 give the agent CAP_BPF"
            ),
        }
    }
    Ok(vec![open_queue(name, flags)?])
}

fn open_queue(name: &str, flags: libc::c_int) -> Result<OwnedFd, DataPlaneError> {
    let fault =
        |operation| move |source| DataPlaneError::Device { name: name.into(), operation, source };
    let fd = open_clone_device().map_err(fault("opening /dev/net/tun"))?;
    let mut request = Request::new(name).map_err(fault("naming it"))?;
    request.0.ifr_ifru.ifru_flags = flags as libc::c_short;
    attach(&mut request, fd.as_fd()).map_err(fault("making it (TUNSETIFF)"))?;
    Ok(fd)
}

fn open_clone_device() -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: the path is a C string literal.
    let fd = check(unsafe { libc::open(c"/dev/net/tun".as_ptr(), flags) })?;
    // SAFETY: open returned a descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A device of that name that was just closed stays for a moment while a process that is being started holds a copy of
/// its descriptor.
fn attach(request: &mut Request, fd: BorrowedFd<'_>) -> io::Result<()> {
    for _ in 0..BUSY_TRIES {
        match request.run(fd, libc::TUNSETIFF) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    request.run(fd, libc::TUNSETIFF)
}

/// Gives what the kernel took.
fn set_offload(fd: BorrowedFd<'_>, offloads: &[libc::c_uint]) -> io::Result<libc::c_uint> {
    let mut refusal = None;
    for &offload in offloads {
        // SAFETY: TUNSETOFFLOAD takes its argument by value.
        let result = unsafe {
            libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offload))
        };
        match check(result) {
            Ok(_) => return Ok(offload),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

fn control_socket() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM, None)
        .or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM, None))
}

/// `struct ifreq` with its name set.
struct Request(libc::ifreq);

impl Request {
    fn new(name: &str) -> io::Result<Request> {
        let name = CString::new(name)?;
        let octets = name.as_bytes_with_nul();
        if octets.len() > libc::IFNAMSIZ {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: ifreq is plain octets, for which zero is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(octets) {
            *to = *from as libc::c_char;
        }
        Ok(Request(request))
    }

    fn run(&mut self, fd: BorrowedFd<'_>, operation: libc::Ioctl) -> io::Result<()> {
        // SAFETY: every operation used here takes a pointer to an ifreq and keeps it no longer than the call.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), operation, &raw mut self.0) }).map(drop)
    }
}
