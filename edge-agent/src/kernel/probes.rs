//! Probes of the paths: inner packets of segment 0, through each path's own GRE interface by a packet socket, so they go
//! through the same association as its traffic. One thread receives for all paths.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::Bytes;
use hawser_edge_core::id::PathId;
use hawser_edge_core::kernel::PROBE_MTU_BYTES;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};

/// As long as the interfaces that carry them allow.
const PACKET_BYTES: usize = PROBE_MTU_BYTES as usize;
const EVENTS: usize = 64;
/// Packets of one path in a row before another one gets its turn.
const BATCH: usize = 32;
/// How often the thread looks whether it shall end, in ms.
const WAIT_MS: u16 = 200;

/// Takes a probe that came in: path, inner packet, when it was read, the outer source.
pub type Deliver = dyn Fn(PathId, Bytes, Instant, SocketAddr) + Send + Sync;

#[derive(Debug)]
struct Tap {
    fd: OwnedFd,
    interface: u32,
}

#[derive(Debug, Default)]
struct Taps {
    by_path: BTreeMap<PathId, Arc<Tap>>,
    /// Where each path's packets come from, as far as the kernel told.
    origins: BTreeMap<PathId, SocketAddr>,
}

/// Packet sockets of all paths. Dropping it ends the thread.
#[derive(Debug)]
pub struct Probes {
    epoll: Arc<Epoll>,
    taps: Arc<Mutex<Taps>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Came in for no path, or from nowhere known.
    unplaced: Arc<AtomicU64>,
}

impl Probes {
    /// # Errors
    /// The kernel refuses an epoll instance, or a thread.
    pub fn start(deliver: Box<Deliver>) -> io::Result<Probes> {
        let epoll = Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        let taps = Arc::new(Mutex::new(Taps::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let unplaced = Arc::new(AtomicU64::new(0));
        let receiver = Receiver {
            epoll: epoll.clone(),
            taps: taps.clone(),
            stop: stop.clone(),
            unplaced: unplaced.clone(),
            deliver,
        };
        let thread =
            thread::Builder::new().name("kernel-probes".into()).spawn(move || receiver.run())?;
        Ok(Probes { epoll, taps, stop, thread: Some(thread), unplaced })
    }

    /// Receives on that interface from now on.
    ///
    /// # Errors
    /// The kernel refuses a packet socket there.
    pub fn add(&self, path: PathId, interface: u32) -> io::Result<()> {
        let mut taps = lock(&self.taps);
        if taps.by_path.get(&path).is_some_and(|tap| tap.interface == interface) {
            return Ok(());
        }
        let tap = Arc::new(Tap { fd: open(interface)?, interface });
        let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(path.0));
        self.epoll.add(&tap.fd, event)?;
        // The old one leaves the epoll instance with its last descriptor.
        taps.by_path.insert(path, tap);
        Ok(())
    }

    /// How many came in for no path, or from nowhere known.
    pub fn unplaced(&self) -> u64 {
        self.unplaced.load(Ordering::Relaxed)
    }

    /// Keeps only those.
    pub fn retain(&self, wanted: impl Fn(PathId) -> bool) {
        let mut taps = lock(&self.taps);
        taps.by_path.retain(|path, _| wanted(*path));
        taps.origins.retain(|path, _| wanted(*path));
    }

    /// The kernel told where that path's packets come from.
    pub fn set_origin(&self, path: PathId, origin: SocketAddr) {
        lock(&self.taps).origins.insert(path, origin);
    }

    /// # Errors
    /// The path has no interface, or what the kernel said.
    pub fn send(&self, path: PathId, inner: &[u8]) -> io::Result<()> {
        let tap = lock(&self.taps).by_path.get(&path).cloned();
        let tap = tap.ok_or(io::ErrorKind::NetworkDown)?;
        // To where the socket is bound: an address would have to hold a link address as long as the interface's own, and
        // that of GRE over IPv6 is longer than `sockaddr_ll`.
        // SAFETY: the buffer lives through the call, and its length is told.
        let sent = unsafe {
            let (start, size) = (inner.as_ptr().cast(), inner.len());
            libc::send(tap.fd.as_raw_fd(), start, size, libc::MSG_DONTWAIT)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

struct Receiver {
    epoll: Arc<Epoll>,
    taps: Arc<Mutex<Taps>>,
    stop: Arc<AtomicBool>,
    unplaced: Arc<AtomicU64>,
    deliver: Box<Deliver>,
}

impl Receiver {
    fn run(self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut buffer = [0; PACKET_BYTES];
        while !self.stop.load(Ordering::Relaxed) {
            let count = match self.epoll.wait(&mut events, EpollTimeout::from(WAIT_MS)) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => {
                    thread::sleep(std::time::Duration::from_millis(10));
                    continue;
                }
            };
            for event in &events[..count] {
                self.drain(PathId(event.data() as u32), &mut buffer);
            }
        }
    }

    fn drain(&self, path: PathId, buffer: &mut [u8]) {
        let (tap, origin) = {
            let taps = lock(&self.taps);
            (taps.by_path.get(&path).cloned(), taps.origins.get(&path).copied())
        };
        let Some(tap) = tap else { return };
        for _ in 0..BATCH {
            // SAFETY: the buffer lives through the call, and its length is told.
            let length = unsafe {
                let (start, size) = (buffer.as_mut_ptr().cast(), buffer.len());
                libc::recv(tap.fd.as_raw_fd(), start, size, libc::MSG_DONTWAIT | libc::MSG_TRUNC)
            };
            // An interface that goes down makes one call fail; else there is nothing left.
            let Ok(length) = usize::try_from(length) else { return };
            let received = Instant::now();
            match (buffer.get(..length), origin) {
                (Some(packet), Some(origin)) => {
                    (self.deliver)(path, Bytes::copy_from_slice(packet), received, origin);
                }
                _ => drop(self.unplaced.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }
}

fn lock(taps: &Mutex<Taps>) -> MutexGuard<'_, Taps> {
    taps.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(interface: u32) -> io::Result<OwnedFd> {
    // Bound to no protocol until it is bound to the interface: else it would hear all of the host's for a moment.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    let at = link_address(interface);
    // SAFETY: the address lives through the call, and its length is told.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const at).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(socket.into()) }
}

/// Inner IPv6 packets on that interface.
fn link_address(interface: u32) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain data, for which zero is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IPV6 as u16).to_be();
    address.sll_ifindex = interface as i32;
    address
}
