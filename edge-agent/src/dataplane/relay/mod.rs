//! A manual tunnel in this process: a TUN device, a raw socket, and a thread for each way between them. Apart from the
//! fabric's engine, so that it costs the fabric nothing; for devices that speak no IKE, which are not fast.

mod packets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hawser_edge_core::ike::Blocked;
use hawser_edge_core::manual::{Keys, Wanted};
use socket2::{Domain, Protocol, Socket, Type};

use super::sys::tun::Tun;
use super::sys::wait::Stop;
use crate::manual::Traffic;
use packets::{HEADROOM, Inbound, Outbound, TAILROOM};

/// The largest IP packet, and room around it.
const BUFFER_BYTES: usize = HEADROOM + 65_536 + TAILROOM;
/// `struct virtio_net_hdr`, all zero: the device has no offloads.
const VIRTIO_BYTES: usize = 10;
/// Waiting ends earlier, when there is something.
const WAIT: Duration = Duration::from_secs(10);

/// Both ways; they end with it.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    tun: Tun,
    socket: Socket,
    name: String,
    stop: Stop,
    failed: AtomicBool,
    sent: Count,
    received: Count,
    /// By reason; reasons come from code, so the table is bounded.
    drops: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct Count {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    fn add(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Relay {
    /// Makes the device and the socket, in the caller's network namespace.
    pub fn start(wanted: &Wanted, keys: &Keys) -> Result<Relay, Blocked> {
        let refused = |code, message: String| Blocked {
            code,
            message,
            mend: "run the agent as root, or with CAP_NET_ADMIN and CAP_NET_RAW".to_owned(),
        };
        let unusable = |message| refused("MANUAL_KEY_UNUSABLE", message);
        let Some(local) = wanted.local else {
            return Err(refused("MANUAL_NO_ADDRESS", "no local address".to_owned()));
        };
        let outbound = Outbound::new(wanted, local, keys, rand::random()).map_err(unusable)?;
        let inbound = Inbound::new(wanted, local, keys).map_err(unusable)?;
        let tunnel = &wanted.tunnel;
        let mtu = tunnel.inner_mtu_bytes(wanted.outer_mtu_bytes).min(u32::from(u16::MAX)) as u16;
        let tun = Tun::create_plain(&tunnel.link_name(), mtu);
        let tun = tun.map_err(|error| refused("MANUAL_DEVICE", crate::engine::chain(&error)))?;
        let raw = |error: io::Error| refused("MANUAL_SOCKET", format!("no raw socket: {error}"));
        let socket = open_socket(wanted, local).map_err(raw)?;
        let shared = Arc::new(Shared {
            tun,
            socket,
            name: tunnel.name.clone(),
            stop: Stop::new().map_err(raw)?,
            failed: AtomicBool::new(false),
            sent: Count::default(),
            received: Count::default(),
            drops: Mutex::default(),
        });
        let mut relay = Relay { shared: shared.clone(), threads: Vec::new() };
        let spawn = |way: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(format!("manual-{way}")).spawn(run).map_err(raw)
        };
        let out = shared.clone();
        relay.threads.push(spawn("out", Box::new(move || out.run_out(outbound)))?);
        relay.threads.push(spawn("in", Box::new(move || shared.run_in(&inbound)))?);
        Ok(relay)
    }

    /// False: a way has failed, and it must be made anew.
    pub fn runs(&self) -> bool {
        !self.shared.failed.load(Ordering::Acquire)
    }

    pub fn traffic(&self) -> Traffic {
        let (tx_packets, tx_bytes) = self.shared.sent.read();
        let (rx_packets, rx_bytes) = self.shared.received.read();
        Traffic { tx_packets, tx_bytes, rx_packets, rx_bytes }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.tell();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let drops = self.shared.drops.lock().unwrap_or_else(PoisonError::into_inner);
        if !drops.is_empty() {
            tracing::info!(tunnel = self.shared.name, "a manual tunnel has dropped {drops:?}");
        }
    }
}

/// Of the tunnel's protocol, for its own packets: from the peer, by the uplink, to this address.
fn open_socket(wanted: &Wanted, local: IpAddr) -> io::Result<Socket> {
    let domain = if local.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let protocol = Protocol::from(i32::from(wanted.tunnel.protocol.number()));
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(wanted.interface.as_bytes()))?;
    // Headers are ours: AH covers them.
    if local.is_ipv6() {
        socket.set_header_included_v6(true)?;
    } else {
        socket.set_header_included_v4(true)?;
    }
    socket.bind(&SocketAddr::new(local, 0).into())?;
    socket.connect(&SocketAddr::new(wanted.tunnel.peer_address, 0).into())?;
    Ok(socket)
}

impl Shared {
    /// From the device to the peer.
    fn run_out(&self, mut outbound: Outbound) {
        let mut buffer = vec![0; BUFFER_BYTES];
        // Told also where packets never cease, so that it never waits.
        while !self.stop.told() {
            match self.tun.read(0, &mut buffer[HEADROOM - VIRTIO_BYTES..BUFFER_BYTES - TAILROOM]) {
                Ok(length) if length > VIRTIO_BYTES => {
                    let inner = HEADROOM..HEADROOM + length - VIRTIO_BYTES;
                    let bytes = inner.len();
                    match outbound.protect(&mut buffer, inner, rand::random) {
                        Ok(packet) => match self.socket.send(&buffer[packet]) {
                            Ok(_) => self.sent.add(bytes),
                            Err(error) => self.drop_for(not_sent(&error)),
                        },
                        Err(reason) => self.drop_for(reason),
                    }
                }
                Ok(_) => self.drop_for("too_short"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(self.tun.as_fd(0)) {
                        return;
                    }
                }
                Err(error) => return self.fail("its device", &error),
            }
        }
    }

    /// From the peer to the device.
    fn run_in(&self, inbound: &Inbound) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let before = inbound.header_bytes();
        while !self.stop.told() {
            match io::Read::read(&mut &self.socket, &mut buffer[before..]) {
                Ok(length) => match inbound.open(&mut buffer[..before + length]) {
                    Ok(inner) => {
                        let bytes = inner.len();
                        let pieces =
                            [IoSlice::new(&[0; VIRTIO_BYTES]), IoSlice::new(&buffer[inner])];
                        match self.tun.write(0, &pieces) {
                            Ok(()) => self.received.add(bytes),
                            Err(_) => self.drop_for("device_full"),
                        }
                    }
                    Err(reason) => self.drop_for(reason),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(self.socket.as_fd()) {
                        return;
                    }
                }
                // What ICMP told of something sent: anybody can say it.
                Err(error) if is_icmp(&error) => self.drop_for("icmp_error"),
                Err(error) => return self.fail("its socket", &error),
            }
        }
    }

    /// False: it is time to end.
    fn wait(&self, fd: std::os::fd::BorrowedFd<'_>) -> bool {
        loop {
            match self.stop.readable(Some(fd), WAIT) {
                _ if self.stop.told() => return false,
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    self.fail("poll", &error);
                    return false;
                }
            }
        }
    }

    fn drop_for(&self, reason: &'static str) {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        *drops.entry(reason).or_default() += 1;
    }

    fn fail(&self, what: &str, error: &io::Error) {
        tracing::warn!(tunnel = self.name, "{what} failed: {error}; it is made anew");
        self.failed.store(true, Ordering::Release);
        self.stop.tell();
    }
}

fn is_icmp(error: &io::Error) -> bool {
    let errno = error.raw_os_error().unwrap_or(0);
    [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ENOPROTOOPT, libc::EPROTO]
        .contains(&errno)
        || [libc::EMSGSIZE, libc::EACCES, libc::EOPNOTSUPP, libc::EHOSTDOWN].contains(&errno)
}

fn not_sent(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => "too_long",
        Some(libc::ENOBUFS | libc::EAGAIN) => "socket_full",
        _ => "not_sent",
    }
}
