//! What the threads and the engine's calls share. Readers never lock.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hawser_edge_core::id::{SegmentId, Spi, UplinkId};
use hawser_edge_core::keys::Lanes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::counters::{DropReason, Drops};
use super::event::{Event, EventReceivers, FabricDatagram};
use super::path::InboundEntry;
use super::spec::Family;
use super::sys::tun::Tun;
use super::sys::udp;
use super::table::Table;
use super::uplink::UplinkSocket;

/// Probes come at tens a second and path; this holds a burst of some seconds.
const EVENT_CAPACITY: usize = 4_096;
/// About a megabyte of QUIC.
const DATAGRAM_CAPACITY: usize = 1_024;

/// Opens the uplinks' sockets: bound to the interface, and to the port on all its addresses.
pub(crate) trait OpenSockets: std::fmt::Debug + Send + Sync {
    fn open(&self, interface: &str, family: Family, port: u16) -> io::Result<OwnedFd>;
}

/// Sockets that end with this process.
#[derive(Debug)]
struct Own;

impl OpenSockets for Own {
    fn open(&self, interface: &str, family: Family, port: u16) -> io::Result<OwnedFd> {
        udp::open(interface, family, port)
    }
}

pub(super) type InboundSas = BTreeMap<Spi, Arc<InboundEntry>>;
pub(super) type Sockets = BTreeMap<(UplinkId, Family), Arc<UplinkSocket>>;
pub(super) type Tuns = BTreeMap<SegmentId, Arc<Tun>>;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) table: ArcSwap<Table>,
    pub(super) inbound: ArcSwap<InboundSas>,
    pub(super) sockets: ArcSwap<Sockets>,
    pub(super) tuns: ArcSwap<Tuns>,
    pub(super) drops: Drops,
    pub(super) sockets_from: Box<dyn OpenSockets>,
    /// Threads of a TUN device, and of a socket.
    pub(super) lanes: Lanes,
    events: mpsc::Sender<Event>,
    datagrams: mpsc::Sender<FabricDatagram>,
    started: Instant,
}

impl Shared {
    pub(super) fn new(lanes: Lanes) -> (Self, EventReceivers) {
        Self::with_sockets(Box::new(Own), lanes)
    }

    pub(super) fn with_sockets(
        sockets_from: Box<dyn OpenSockets>,
        lanes: Lanes,
    ) -> (Self, EventReceivers) {
        let (events, events_end) = mpsc::channel(EVENT_CAPACITY);
        let (datagrams, datagrams_end) = mpsc::channel(DATAGRAM_CAPACITY);
        let shared = Shared {
            table: ArcSwap::default(),
            inbound: ArcSwap::default(),
            sockets: ArcSwap::default(),
            tuns: ArcSwap::default(),
            drops: Drops::new(),
            sockets_from,
            lanes,
            events,
            datagrams,
            started: Instant::now(),
        };
        (shared, EventReceivers { events: events_end, datagrams: datagrams_end })
    }

    pub(super) fn emit(&self, event: Event) {
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            self.drops.add(DropReason::EventsFull, 1);
        }
    }

    pub(super) fn emit_datagram(&self, datagram: FabricDatagram) {
        if let Err(TrySendError::Full(_)) = self.datagrams.try_send(datagram) {
            self.drops.add(DropReason::DatagramsFull, 1);
        }
    }

    /// Since the start, at `now`.
    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

/// One form of an address, so that equal endpoints compare equal: no flow label, and a scope only where it means
/// something (RFC 4007 section 6).
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => {
            let scope = if v6.ip().is_unicast_link_local() { v6.scope_id() } else { 0 };
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
        }
    }
}
