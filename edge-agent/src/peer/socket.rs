//! quinn's socket: every uplink at once, every peer by its virtual address.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;

use super::connection_id::IssuedIds;
use super::routes::PeerRoutes;
use super::sender::FabricSender;
use super::virtual_address::VirtualPeer;
use crate::dataplane::FabricDatagram;

/// What the socket has done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketCounters {
    /// Datagrams handed to an uplink, copies counted.
    pub sent: u64,
    /// Datagrams given to quinn.
    pub received: u64,
    /// Not sent: no real address is known.
    pub dropped_no_route: u64,
    /// Not sent: the uplink refused (no route, too long, gone). Lost like any datagram: quinn sends again.
    pub dropped_refused: u64,
    /// Not received: longer than quinn's buffer.
    pub dropped_too_long: u64,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
    no_route: AtomicU64,
    refused: AtomicU64,
    too_long: AtomicU64,
}

/// See the module.
pub(super) struct FabricSocket {
    sender: Arc<dyn FabricSender>,
    datagrams: Mutex<mpsc::Receiver<FabricDatagram>>,
    routes: Arc<PeerRoutes>,
    ids: IssuedIds,
    fabric_port: u16,
    /// The last send found its socket full.
    blocked: AtomicBool,
    counts: Counts,
}

impl FabricSocket {
    /// Sends through `sender`, receives what arrives in `datagrams`.
    pub(super) fn new(
        sender: Arc<dyn FabricSender>,
        datagrams: mpsc::Receiver<FabricDatagram>,
        routes: Arc<PeerRoutes>,
        ids: IssuedIds,
        fabric_port: u16,
    ) -> Self {
        FabricSocket {
            sender,
            datagrams: Mutex::new(datagrams),
            routes,
            ids,
            fabric_port,
            blocked: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// A reading.
    pub(super) fn counters(&self) -> SocketCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SocketCounters {
            sent: read(&self.counts.sent),
            received: read(&self.counts.received),
            dropped_no_route: read(&self.counts.no_route),
            dropped_refused: read(&self.counts.refused),
            dropped_too_long: read(&self.counts.too_long),
        }
    }

    fn send_one(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        // Looked up for each datagram: quinn makes a connection's poller once, its peer moves.
        let destinations = match VirtualPeer::from_address(to) {
            Some(peer) => self.routes.destinations(peer, datagram),
            None => Vec::new(),
        };
        if destinations.is_empty() {
            add(&self.counts.no_route);
            return Ok(());
        }
        let (mut sent, mut full) = (false, false);
        for (uplink, address) in destinations {
            match self.sender.send(uplink, address, datagram) {
                Ok(()) => {
                    sent = true;
                    add(&self.counts.sent);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => full = true,
                // Any other error would end the connection; what is unreachable now is not for ever.
                Err(_) => add(&self.counts.refused),
            }
        }
        if full && !sent {
            self.blocked.store(true, Ordering::Release);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    /// Fills one of quinn's buffers. `None`: it did not fit.
    fn take(&self, datagram: &FabricDatagram, into: &mut [u8]) -> Option<RecvMeta> {
        let payload = &datagram.payload;
        let Some(buffer) = into.get_mut(..payload.len()) else {
            add(&self.counts.too_long);
            return None;
        };
        buffer.copy_from_slice(payload);
        let from = (datagram.uplink, datagram.from);
        let peer = self.routes.classify(from, payload, |id| self.ids.issued(id));
        add(&self.counts.received);
        Some(RecvMeta {
            addr: peer.address(self.fabric_port),
            len: payload.len(),
            stride: payload.len(),
            ecn: None,
            // The virtual addresses have no local end: quinn must not ask for one when it answers.
            dst_ip: None,
        })
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl fmt::Debug for FabricSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FabricSocket").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for FabricSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller { socket: self, wait: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        transmit
            .contents
            .chunks(segment)
            .try_for_each(|datagram| self.send_one(transmit.destination, datagram))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut datagrams = self.datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        let room = bufs.len().min(meta.len());
        let mut filled = 0;
        while filled < room {
            let datagram = match datagrams.poll_recv(cx) {
                Poll::Ready(Some(datagram)) => datagram,
                // An error would end the endpoint: a closed channel is one that nothing comes from.
                Poll::Ready(None) | Poll::Pending if filled == 0 => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            };
            if let Some(taken) = self.take(&datagram, &mut bufs[filled]) {
                meta[filled] = taken;
                filled += 1;
            }
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv6Addr::UNSPECIFIED, self.fabric_port).into())
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

struct Poller {
    socket: Arc<FabricSocket>,
    wait: Option<Wait>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.socket.blocked.load(Ordering::Acquire) {
            self.wait = None;
            return Poll::Ready(Ok(()));
        }
        let socket = self.socket.clone();
        let wait = self.wait.get_or_insert_with(|| socket.sender.writable());
        ready!(wait.as_mut().poll(cx));
        self.wait = None;
        self.socket.blocked.store(false, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}
