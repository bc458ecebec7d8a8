//! An uplink's socket of one address family: opening, reopening, sending.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hawser_edge_core::id::UplinkId;

use super::counters::DropReason;
use super::event::Event;
use super::ingress::KEEPALIVE;
use super::shared::Shared;
use super::spec::{Family, UplinkSpec};
use super::sys::wait::Stop;
use super::sys::{udp, wait};

/// How long one send may wait for a full socket.
const PATIENCE: Duration = Duration::from_millis(2);

/// After a send that waited no other waits for so many times as long: one full socket can't hold up what the same
/// thread sends elsewhere for more than a tenth of the time.
const IMPATIENCE_FACTOR: u32 = 9;

/// The kernel takes at most so many segments in one send (`UDP_MAX_SEGMENTS`, 64 before Linux 6.9).
pub(super) const MAX_SEGMENTS: usize = 64;

/// The non-ESP marker (RFC 3948 section 2.2).
pub(super) const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// The most that one send may carry: below the UDP length of both families.
pub(super) const MAX_SEND_BYTES: usize = 65_000;

#[derive(Debug)]
pub(super) struct UplinkSocket {
    pub(super) uplink: UplinkId,
    pub(super) family: Family,
    interface: String,
    port: u16,
    open: ArcSwapOption<OpenSocket>,
    pub(super) stop: Stop,
    /// Failure has been told, success not since.
    failed: AtomicBool,
    /// The kernel cuts sends into datagrams; off once it turned out that the device can't.
    pub(super) segmentation: AtomicBool,
    made: Instant,
    /// Microseconds after `made` until which no send waits.
    impatient_until_us: AtomicU64,
}

#[derive(Debug)]
pub(super) struct OpenSocket {
    pub(super) fd: OwnedFd,
    interface_index: u32,
}

impl UplinkSocket {
    pub(super) fn new(spec: &UplinkSpec, family: Family) -> io::Result<Self> {
        Ok(UplinkSocket {
            uplink: spec.id,
            family,
            interface: spec.interface.clone(),
            port: spec.port,
            open: ArcSwapOption::empty(),
            stop: Stop::new()?,
            failed: AtomicBool::new(false),
            segmentation: AtomicBool::new(true),
            made: Instant::now(),
            impatient_until_us: AtomicU64::new(0),
        })
    }

    /// It is what the spec wants of its family.
    pub(super) fn serves(&self, spec: &UplinkSpec) -> bool {
        let wanted = match self.family {
            Family::V4 => spec.v4,
            Family::V6 => spec.v6,
        };
        wanted && self.interface == spec.interface && self.port == spec.port
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load().is_some()
    }

    /// The open socket; opens it if it is not, and tells the engine how that went.
    pub(super) fn ensure_open(&self, shared: &Shared) -> Option<Arc<OpenSocket>> {
        if let Some(open) = self.open.load_full() {
            return Some(open);
        }
        match self.try_open(shared) {
            Ok((open, port)) => {
                self.open.store(Some(open.clone()));
                self.failed.store(false, Ordering::Relaxed);
                shared.emit(Event::UplinkReady { uplink: self.uplink, family: self.family, port });
                Some(open)
            }
            Err(error) => {
                self.report_failure(shared, &error.to_string());
                None
            }
        }
    }

    fn try_open(&self, shared: &Shared) -> io::Result<(Arc<OpenSocket>, u16)> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the interface does not exist");
        let interface_index = udp::interface_index(&self.interface).ok_or_else(gone)?;
        let fd = shared.sockets_from.open(&self.interface, self.family, self.port)?;
        let port = udp::local_port(&fd)?;
        Ok((Arc::new(OpenSocket { fd, interface_index }), port))
    }

    /// A bound socket is deaf for good once its interface is gone, also if one of the same name comes.
    pub(super) fn close_if_interface_changed(&self, shared: &Shared) {
        let Some(open) = self.open.load_full() else { return };
        if udp::interface_index(&self.interface) != Some(open.interface_index) {
            self.open.store(None);
            self.report_failure(shared, "the interface went away");
        }
    }

    fn report_failure(&self, shared: &Shared, reason: &str) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            let (uplink, family) = (self.uplink, self.family);
            shared.emit(Event::UplinkFailed { uplink, family, reason: reason.into() });
        }
    }

    /// Sends datagrams of `stride_bytes` under one DSCP and ECN, the last of which may be shorter: at most [`MAX_SEGMENTS`] and
    /// [`MAX_SEND_BYTES`]. An error tells how many were not sent, and why.
    pub(super) fn send(
        &self,
        to: SocketAddr,
        datagrams: &[u8],
        stride_bytes: usize,
        tos: u8,
    ) -> Result<(), SendFault> {
        let count = datagrams.len().div_ceil(stride_bytes.max(1)) as u64;
        let Some(open) = &*self.open.load() else {
            return Err(SendFault::new(DropReason::UplinkDown, count, libc::ENETDOWN));
        };
        if count <= 1 {
            return self
                .send_patiently(&open.fd, to, datagrams, None, tos)
                .map_err(|error| SendFault::from_io(&error, 1));
        }
        let halted = match self.try_segmented(&open.fd, to, datagrams, stride_bytes, tos) {
            Segmented::Sent => return Ok(()),
            Segmented::Failed(error) => return Err(SendFault::from_io(&error, count)),
            Segmented::Refused => true,
            Segmented::Off => false,
        };
        self.send_singly(&open.fd, to, datagrams, stride_bytes, tos)?;
        if halted {
            // What the kernel refused in one piece it took one by one: the device can't segment.
            self.segmentation.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn try_segmented(
        &self,
        fd: &OwnedFd,
        to: SocketAddr,
        datagrams: &[u8],
        stride_bytes: usize,
        tos: u8,
    ) -> Segmented {
        let Ok(segment_bytes) = u16::try_from(stride_bytes) else { return Segmented::Off };
        if !self.segmentation.load(Ordering::Relaxed) {
            return Segmented::Off;
        }
        match self.send_patiently(fd, to, datagrams, Some(segment_bytes), tos) {
            Ok(()) => Segmented::Sent,
            Err(error) if is_refusal(&error) => Segmented::Refused,
            Err(error) => Segmented::Failed(error),
        }
    }

    fn send_singly(
        &self,
        fd: &OwnedFd,
        to: SocketAddr,
        datagrams: &[u8],
        stride_bytes: usize,
        tos: u8,
    ) -> Result<(), SendFault> {
        let mut fault: Option<SendFault> = None;
        for datagram in datagrams.chunks(stride_bytes) {
            if let Err(error) = self.send_patiently(fd, to, datagram, None, tos) {
                let packets = fault.as_ref().map_or(0, |fault| fault.packets) + 1;
                fault = Some(SendFault::from_io(&error, packets));
            }
        }
        fault.map_or(Ok(()), Err)
    }

    fn send_patiently(
        &self,
        fd: &OwnedFd,
        to: SocketAddr,
        datagrams: &[u8],
        segment_bytes: Option<u16>,
        tos: u8,
    ) -> io::Result<()> {
        let full =
            |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS));
        match udp::send(fd, to, datagrams, segment_bytes, tos) {
            Err(error) if full(&error) && self.is_patient() => {
                let begun = Instant::now();
                if error.raw_os_error() == Some(libc::EAGAIN) {
                    wait::writable(fd, PATIENCE)?;
                } else {
                    // Nothing tells when the device's queue has room again.
                    std::thread::sleep(PATIENCE / 4);
                }
                self.lose_patience(begun.elapsed() * IMPATIENCE_FACTOR);
                udp::send(fd, to, datagrams, segment_bytes, tos)
            }
            other => other,
        }
    }

    fn is_patient(&self) -> bool {
        self.made.elapsed().as_micros() as u64 >= self.impatient_until_us.load(Ordering::Relaxed)
    }

    fn lose_patience(&self, time: Duration) {
        let until_us = (self.made.elapsed() + time).as_micros() as u64;
        self.impatient_until_us.store(until_us, Ordering::Relaxed);
    }

    /// Sends datagrams of a peer connection behind the marker; never waits.
    pub(super) fn send_marked(
        &self,
        to: SocketAddr,
        payload: &[u8],
        segment_bytes: Option<usize>,
    ) -> io::Result<()> {
        let open = self.open.load();
        let Some(open) = &*open else { return Err(io::ErrorKind::NetworkDown.into()) };
        let piece_bytes = segment_bytes.unwrap_or(payload.len()).max(1);
        let stride_bytes = piece_bytes + NON_ESP_MARKER.len();
        let pieces_per_send = (MAX_SEND_BYTES / stride_bytes).clamp(1, MAX_SEGMENTS);
        for pieces in payload.chunks(piece_bytes * pieces_per_send) {
            let mut marked = Vec::with_capacity(stride_bytes * pieces_per_send);
            for piece in pieces.chunks(piece_bytes) {
                marked.extend_from_slice(&NON_ESP_MARKER);
                marked.extend_from_slice(piece);
            }
            self.send_at_once(&open.fd, to, &marked, stride_bytes)?;
        }
        Ok(())
    }

    /// Never waits.
    pub(super) fn send_keepalive(&self, to: SocketAddr) -> io::Result<()> {
        let open = self.open.load();
        let Some(open) = &*open else { return Err(io::ErrorKind::NetworkDown.into()) };
        udp::send(&open.fd, to, &KEEPALIVE, None, 0)
    }

    fn send_at_once(
        &self,
        fd: &OwnedFd,
        to: SocketAddr,
        datagrams: &[u8],
        stride_bytes: usize,
    ) -> io::Result<()> {
        if let Ok(segment_bytes) = u16::try_from(stride_bytes)
            && datagrams.len() > stride_bytes
            && self.segmentation.load(Ordering::Relaxed)
        {
            match udp::send(fd, to, datagrams, Some(segment_bytes), 0) {
                Err(error) if is_refusal(&error) => {}
                sent => return sent,
            }
        }
        datagrams.chunks(stride_bytes).try_for_each(|datagram| udp::send(fd, to, datagram, None, 0))
    }
}

/// EIO: the device has no checksum offload. EINVAL, EMSGSIZE: no `UDP_SEGMENT`, or segments above the device's MTU.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

enum Segmented {
    Sent,
    /// The kernel can't do it, this time or ever.
    Refused,
    /// Not tried.
    Off,
    Failed(io::Error),
}

/// Packets that were not sent.
#[derive(Debug)]
pub(super) struct SendFault {
    pub(super) reason: DropReason,
    pub(super) packets: u64,
    pub(super) errno: i32,
}

impl SendFault {
    fn new(reason: DropReason, packets: u64, errno: i32) -> Self {
        SendFault { reason, packets, errno }
    }

    fn from_io(error: &io::Error, packets: u64) -> Self {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let full = matches!(errno, libc::EAGAIN | libc::ENOBUFS);
        let reason = if full { DropReason::SocketFull } else { DropReason::SendFailed };
        SendFault::new(reason, packets, errno)
    }
}
