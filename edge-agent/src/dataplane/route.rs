//! From the table's answer to what a packet needs to leave: a key, a socket, an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;

use hawser_edge_core::id::SegmentId;
use hawser_esp::ip::FlowKey;

use super::copies::NumberBlock;
use super::counters::DropReason;
use super::path::{OutboundEntry, PathState};
use super::shared::{Shared, Sockets};
use super::table::{Resolved, Way};
use super::uplink::UplinkSocket;

/// Where a packet goes.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) path: Arc<PathState>,
    pub(super) outbound: Arc<OutboundEntry>,
    pub(super) remote: SocketAddr,
    pub(super) socket: Arc<UplinkSocket>,
}

impl Route {
    fn of(path: &Arc<PathState>, lane: usize, sockets: &Sockets) -> Result<Route, DropReason> {
        let outbound = path.outbound.load();
        let outbound = outbound.as_ref().ok_or(DropReason::NoSa)?.lane(lane).clone();
        let remote = path.remote.load().as_deref().copied().ok_or(DropReason::NoRemote)?;
        let socket = sockets.get(&(path.uplink, path.family)).ok_or(DropReason::UplinkDown)?;
        Ok(Route { path: path.clone(), outbound, remote, socket: socket.clone() })
    }

    /// What this one sends may stand in one send call with what the other one sends.
    pub(super) fn leads_where(&self, other: &Route) -> bool {
        Arc::ptr_eq(&self.path, &other.path)
            && Arc::ptr_eq(&self.outbound, &other.outbound)
            && Arc::ptr_eq(&self.socket, &other.socket)
            && self.remote == other.remote
    }
}

fn can_send(path: &PathState, sockets: &Sockets) -> bool {
    let socket = sockets.get(&(path.uplink, path.family));
    path.outbound.load().is_some()
        && path.remote.load().is_some()
        && socket.is_some_and(|socket| socket.is_open())
}

/// Where the packets of one read go: on one path, or each of them on two.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) first: Route,
    pub(super) second: Option<Route>,
    /// Of packets that go on two, also while only one can send.
    pub(super) numbers: Option<NumberBlock>,
    pub(super) inner_mtu_bytes: usize,
    /// Instead of the inner packet's own.
    pub(super) wan_dscp: Option<u8>,
}

impl Routes {
    /// Every way that each packet takes.
    pub(super) fn all(&self) -> impl Iterator<Item = &Route> {
        [&self.first].into_iter().chain(&self.second)
    }

    /// For `count` packets of a flow, which goes by this lane of whatever path.
    pub(super) fn find(
        shared: &Shared,
        (segment, lane): (SegmentId, usize),
        flow: &FlowKey,
        count: u32,
    ) -> Result<Routes, DropReason> {
        let (table, sockets) = (shared.table.load(), shared.sockets.load());
        let usable = |path: &PathState| can_send(path, &sockets);
        let Resolved { tunnel, way, wan_dscp } = table.resolve(segment, flow, usable)?;
        let inner_mtu_bytes = tunnel.inner_mtu_bytes;
        match way {
            Way::One(path) => {
                let first = Route::of(path, lane, &sockets)?;
                Ok(Routes { first, second: None, numbers: None, inner_mtu_bytes, wan_dscp })
            }
            Way::Copies { paths, class, numbers } => {
                let [a, b] = paths.map(|path| path.map(|path| Route::of(path, lane, &sockets)));
                let (first, second) = match (a, b) {
                    (Some(Ok(a)), b) => (a, b.and_then(Result::ok)),
                    (_, Some(Ok(b))) => (b, None),
                    (Some(Err(reason)), _) | (None, Some(Err(reason))) => return Err(reason),
                    (None, None) => return Err(DropReason::NoPath),
                };
                let numbers = Some(numbers.take(class, count));
                Ok(Routes { first, second, numbers, inner_mtu_bytes, wan_dscp })
            }
        }
    }
}
