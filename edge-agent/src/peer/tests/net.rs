//! Uplinks of a test: real UDP sockets on loopback, which add and take the non-ESP marker as the data plane does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hawser_edge_core::id::UplinkId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::dataplane::FabricDatagram;
use crate::peer::FabricSender;

const MARKER: [u8; 4] = [0; 4];

struct Uplink {
    socket: Arc<tokio::net::UdpSocket>,
    address: SocketAddr,
    reader: JoinHandle<()>,
}

/// The uplinks of one node.
pub(super) struct Net {
    uplinks: Mutex<BTreeMap<UplinkId, Uplink>>,
    datagrams: mpsc::Sender<FabricDatagram>,
    /// Sends that fail with `WouldBlock` from now on.
    pub(super) full_for: AtomicU64,
    /// What is sent to these is lost.
    pub(super) unreachable: Mutex<BTreeSet<SocketAddr>>,
}

impl Net {
    pub(super) fn new() -> (Arc<Net>, mpsc::Receiver<FabricDatagram>) {
        let (datagrams, receiver) = mpsc::channel(1024);
        let net = Net {
            uplinks: Mutex::default(),
            datagrams,
            full_for: AtomicU64::new(0),
            unreachable: Mutex::default(),
        };
        (Arc::new(net), receiver)
    }

    /// Opens, or opens anew with another port.
    pub(super) fn open(&self, uplink: u32) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let socket = Arc::new(tokio::net::UdpSocket::from_std(socket).unwrap());
        let reader = tokio::spawn(read(UplinkId(uplink), socket.clone(), self.datagrams.clone()));
        let new = Uplink { socket, address, reader };
        if let Some(old) = self.uplinks.lock().unwrap().insert(UplinkId(uplink), new) {
            old.reader.abort();
        }
        address
    }

    /// The uplink is dead: nothing in, nothing out.
    pub(super) fn kill(&self, uplink: u32) {
        if let Some(old) = self.uplinks.lock().unwrap().remove(&UplinkId(uplink)) {
            old.reader.abort();
        }
    }

    pub(super) fn address(&self, uplink: u32) -> SocketAddr {
        self.uplinks.lock().unwrap()[&UplinkId(uplink)].address
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.uplinks.lock().unwrap().values().for_each(|uplink| uplink.reader.abort());
    }
}

impl FabricSender for Net {
    fn send(&self, uplink: UplinkId, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let less = |n: u64| n.checked_sub(1);
        if self.full_for.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let uplinks = self.uplinks.lock().unwrap();
        let Some(uplink) = uplinks.get(&uplink) else {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        };
        if self.unreachable.lock().unwrap().contains(&to) {
            return Ok(());
        }
        uplink.socket.try_send_to(&[&MARKER, payload].concat(), to).map(|_| ())
    }
}

async fn read(
    uplink: UplinkId,
    socket: Arc<tokio::net::UdpSocket>,
    datagrams: mpsc::Sender<FabricDatagram>,
) {
    let mut buffer = vec![0; 2048];
    loop {
        // Errors are those that ICMP brought: loopback has them when the other socket is closed.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(payload) = buffer[..length].strip_prefix(&MARKER) {
            let payload = Bytes::copy_from_slice(payload);
            let _ = datagrams.try_send(FabricDatagram { uplink, from, payload });
        }
    }
}
