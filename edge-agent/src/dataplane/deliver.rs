//! To a LAN: what a peer may send is clamped, coalesced and written to its segment's TUN device.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::net::IpAddr;

use hawser_edge_core::id::{PathId, SegmentId};
use hawser_esp::coalesce::{CoalesceConfig, Coalescer};
use hawser_esp::gre::Protocol;
use hawser_esp::ip::{Packet, clamp_mss, proto};
use hawser_esp::offload::VnetHdr;

use super::counters::DropReason;
use super::shared::{Shared, Tuns};
use super::sys::tun::Tun;
use super::table::Table;

/// What one batch of received packets is seen against.
pub(super) struct View<'a> {
    pub(super) shared: &'a Shared,
    pub(super) table: &'a Table,
    pub(super) tuns: &'a Tuns,
}

/// One thread's way to the TUN devices.
pub(super) struct Delivery {
    /// Of every device.
    queue: usize,
    coalescers: BTreeMap<SegmentId, Coalescer>,
    admitted: Option<Admitted>,
}

/// The last answer of the table, which most packets of a batch share.
#[derive(Debug, Clone, Copy)]
struct Admitted {
    path: PathId,
    segment: SegmentId,
    source: IpAddr,
    inner_mtu_bytes: usize,
}

impl Delivery {
    pub(super) fn new(queue: usize) -> Self {
        Delivery { queue, coalescers: BTreeMap::new(), admitted: None }
    }

    /// Takes one authenticated packet. It is written at the next [`flush`](Self::flush) at the latest.
    pub(super) fn take(
        &mut self,
        view: &View<'_>,
        path: PathId,
        segment: SegmentId,
        protocol: Protocol,
        inner: &mut [u8],
    ) -> Result<(), DropReason> {
        let packet = Packet::parse(inner).map_err(|_| DropReason::BadInner)?;
        if packet.is_ipv6() != (protocol == Protocol::Ipv6) {
            return Err(DropReason::BadInner);
        }
        let is_tcp = packet.proto() == proto::TCP;
        let inner_mtu_bytes = self.admit(view, path, segment, packet.src())?;
        if is_tcp {
            clamp_mss(inner, inner_mtu_bytes);
        }
        let tun = view.tuns.get(&segment).ok_or(DropReason::UnknownSegment)?;
        let coalescer = self.coalescers.entry(segment).or_insert_with(|| {
            Coalescer::new(CoalesceConfig { udp: tun.segments_udp(), ..CoalesceConfig::default() })
        });
        let queue = self.queue;
        coalescer.push(inner, &mut |header, packet| write(view, (tun, queue), header, packet));
        Ok(())
    }

    /// Writes what is held back for coalescing.
    pub(super) fn flush(&mut self, view: &View<'_>) {
        self.admitted = None;
        let queue = self.queue;
        self.coalescers.retain(|segment, coalescer| {
            let Some(tun) = view.tuns.get(segment) else { return false };
            coalescer.flush(&mut |header, packet| write(view, (tun, queue), header, packet));
            true
        });
    }

    fn admit(
        &mut self,
        view: &View<'_>,
        path: PathId,
        segment: SegmentId,
        source: IpAddr,
    ) -> Result<usize, DropReason> {
        if let Some(last) = self.admitted
            && (last.path, last.segment, last.source) == (path, segment, source)
        {
            return Ok(last.inner_mtu_bytes);
        }
        let inner_mtu_bytes = view.table.admits(path, segment, source)?.inner_mtu_bytes;
        self.admitted = Some(Admitted { path, segment, source, inner_mtu_bytes });
        Ok(inner_mtu_bytes)
    }
}

fn write(view: &View<'_>, (tun, queue): (&Tun, usize), header: &VnetHdr, packet: &[u8]) {
    if tun.write(queue, &[IoSlice::new(&header.encode()), IoSlice::new(packet)]).is_err() {
        view.shared.drops.add(DropReason::TunWrite, 1);
    }
}
