//! What the kernel gives and how it is set. Nothing is changed: what must be tried is tried in a namespace of its own.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::doctor::{DriverLack, Setting, Sockets, UplinkFacts};
use hawser_edge_core::reconcile::{self, Observed};
use nix::sys::socket::{setsockopt, sockopt};

use crate::dataplane::{Family, SOCKET_BUFFER_BYTES, open_socket};
use crate::host::Host;
use crate::kernel;

/// `None`: there is no right to try.
pub(super) fn driver_lacks() -> Option<Vec<DriverLack>> {
    let lacks = kernel::lacks();
    if lacks.iter().any(|lack| lack.code == kernel::UNTRIED) {
        return None;
    }
    let fact = |lack: kernel::Lack| DriverLack {
        what: lack.code.to_owned(),
        message: lack.message,
        mend: lack.mend.to_owned(),
    };
    Some(lacks.into_iter().map(fact).collect())
}

/// Opening it makes no device.
pub(super) fn tun_error() -> Option<String> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    opened.err().map(|error| error.to_string())
}

pub(super) async fn nft_error() -> Option<String> {
    Host::nft_usable().await.err().map(|error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

/// What a socket of the uplinks' kind gets here.
pub(super) fn sockets() -> Sockets {
    let wanted_buffer_bytes = SOCKET_BUFFER_BYTES as u64;
    let Ok(fd) = open_socket("lo", Family::V4, 0) else {
        return Sockets { wanted_buffer_bytes, ..Sockets::default() };
    };
    Sockets {
        segmentation: setsockopt(&fd, sockopt::UdpGsoSegment, &0).is_ok(),
        coalescing: setsockopt(&fd, sockopt::UdpGroSegment, &true).is_ok(),
        buffer_bytes: buffer_bytes(&fd),
        wanted_buffer_bytes,
    }
}

/// The smaller one. Linux tells twice what it was asked for (socket(7)).
fn buffer_bytes(fd: &OwnedFd) -> u64 {
    let socket = socket2::SockRef::from(fd);
    let sizes = [socket.recv_buffer_size(), socket.send_buffer_size()];
    sizes.into_iter().map(|size| size.unwrap_or_default() as u64 / 2).min().unwrap_or_default()
}

/// `None`: the kernel does not say.
pub(super) fn clock_is_synchronised() -> Option<bool> {
    // SAFETY: all zeros is a timex: it has integers only.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `timex` outlives the call; no mode is set, so that nothing is changed (adjtimex(2)).
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(timex.status & libc::STA_UNSYNC == 0)
}

/// What this edge needs otherwise than it is set, and its uplinks.
pub(super) async fn as_needed(edge: &EdgeState) -> (Vec<Setting>, Vec<UplinkFacts>) {
    let observed = match Host::open() {
        Ok(mut host) => host.observe(edge).await,
        Err(error) => Err(error),
    };
    let seen = observed.unwrap_or_default();
    (settings(edge, &seen), uplinks(edge, &seen))
}

fn settings(edge: &EdgeState, seen: &Observed) -> Vec<Setting> {
    let wanted = reconcile::desired(edge, seen).sysctls;
    let other = wanted.into_iter().filter_map(|(name, wanted)| {
        let is = seen.sysctls.get(&name).filter(|is| **is != wanted)?.clone();
        Some(Setting { writable: Host::may_set(&name), name, is, wanted })
    });
    other.collect()
}

fn uplinks(edge: &EdgeState, seen: &Observed) -> Vec<UplinkFacts> {
    let fact = |uplink: &hawser_edge_core::config::Uplink| {
        let link = seen.links.get(&uplink.interface);
        let addresses = link.map_or(&[][..], |link| &link.addresses);
        UplinkFacts {
            name: uplink.name.clone(),
            interface: uplink.interface.clone(),
            exists: link.is_some(),
            running: link.is_some_and(|link| link.running),
            addresses: addresses.iter().map(ipnet::IpNet::addr).collect(),
        }
    };
    edge.uplinks.values().map(fact).collect()
}
