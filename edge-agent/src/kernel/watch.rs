//! Hears what the kernel tells: associations and policies that go, sources that change, interfaces and addresses; and
//! looks at the whole now and then, for what it does not tell.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hawser_edge_core::id::PathId;
use hawser_edge_core::kernel::Direction;
use netlink_packet_xfrm::{UserMapping, XfrmMessage};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM};

use super::driver::lock;
use super::inner::Inner;
use super::netlink::subscribe;
use super::probes::Probes;
use super::ruleset;
use super::script::Loaded;
use super::xfrm::ip;
use crate::dataplane::{Event, UserspaceDataPlane};

/// `XFRMNLGRP_EXPIRE`, `_SA`, `_POLICY`, `_MAPPING` of `linux/xfrm.h`.
const XFRM_GROUPS: [u32; 4] = [2, 3, 4, 8];
/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_RULE`, `_IPV6_IFADDR`, `_IPV6_RULE`, `_NEXTHOP` of `linux/rtnetlink.h`. Not routes:
/// a host may learn a million of them.
const ROUTE_GROUPS: [u32; 6] = [1, 5, 8, 9, 19, 32];
/// Changes come in bursts, most of them our own.
const SETTLE: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_secs(10);
const WAIT_MS: u16 = 100;
/// One source of one path is told so often, at most.
const SOURCE_EVERY: Duration = Duration::from_millis(100);

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(
        inner: Arc<Mutex<Inner>>,
        events: Arc<UserspaceDataPlane>,
        probes: Arc<Probes>,
    ) -> io::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = Watcher {
            xfrm: subscribe(NETLINK_XFRM, &XFRM_GROUPS)?,
            route: subscribe(NETLINK_ROUTE, &ROUTE_GROUPS)?,
            rules: subscribe(NETLINK_NETFILTER, &[ruleset::GROUP])?,
            inner,
            events,
            probes,
            stop: stop.clone(),
            look_at: None,
            listed_at: None,
            told: Default::default(),
        };
        let thread =
            thread::Builder::new().name("kernel-watch".into()).spawn(move || watcher.run())?;
        Ok(Watch { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

struct Watcher {
    xfrm: Socket,
    route: Socket,
    /// nftables.
    rules: Socket,
    inner: Arc<Mutex<Inner>>,
    events: Arc<UserspaceDataPlane>,
    probes: Arc<Probes>,
    stop: Arc<AtomicBool>,
    /// Something changed: look then.
    look_at: Option<Instant>,
    /// When nft was started last to list our table.
    listed_at: Option<Instant>,
    /// When a source of a path was told last.
    told: std::collections::BTreeMap<PathId, Instant>,
}

impl Watcher {
    fn run(mut self) {
        let mut regular = Instant::now() + LOOK_EVERY;
        while !self.stop.load(Ordering::Relaxed) {
            let mut fds = [
                PollFd::new(self.xfrm.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.route.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.rules.as_fd(), PollFlags::POLLIN),
            ];
            if poll(&mut fds, PollTimeout::from(WAIT_MS)).is_err() {
                thread::sleep(Duration::from_millis(10));
            }
            self.hear_xfrm();
            self.hear_changes();
            self.end_trials();
            let now = Instant::now();
            if now >= regular || self.look_at.is_some_and(|at| now >= at) {
                regular = now + LOOK_EVERY;
                self.look();
            }
        }
    }

    fn hear_xfrm(&mut self) {
        while let Ok((datagram, _)) = self.xfrm.recv_from_full() {
            match NetlinkMessage::<XfrmMessage>::deserialize(&datagram).map(|m| m.payload) {
                Ok(NetlinkPayload::InnerMessage(XfrmMessage::Mapping(mapping))) => {
                    self.on_mapping(&mapping.map);
                }
                _ => self.note_change(),
            }
        }
    }

    fn hear_changes(&mut self) {
        while self.route.recv_from_full().is_ok() {
            self.note_change();
        }
        while self.rules.recv_from_full().is_ok() {
            self.note_change();
        }
    }

    fn note_change(&mut self) {
        self.look_at.get_or_insert_with(|| Instant::now() + SETTLE);
    }

    /// An authentic packet of the path came from elsewhere.
    fn on_mapping(&mut self, mapping: &UserMapping) {
        let Some((Direction::In, path)) = Direction::of_reqid(mapping.reqid) else { return };
        let from = SocketAddr::new(ip(&mapping.new_saddr, mapping.id.family), mapping.new_sport);
        self.probes.set_origin(path, from);
        let now = Instant::now();
        if self.told.get(&path).is_some_and(|last| now < *last + SOURCE_EVERY) {
            return;
        }
        self.told.insert(path, now);
        self.events.emit(Event::SourceSeen { path, from, newest: true });
    }

    /// An address that did not answer its challenge is not the path's.
    fn end_trials(&mut self) {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        let over: Vec<PathId> =
            inner.trials.iter().filter(|(_, trial)| trial.until <= now).map(|(p, _)| *p).collect();
        if over.is_empty() {
            return;
        }
        for path in over {
            let Some(trial) = inner.trials.remove(&path) else { continue };
            match trial.back_to {
                Some(remote) => drop(inner.remotes.insert(path, remote)),
                None => drop(inner.remotes.remove(&path)),
            }
        }
        inner.refresh_ends();
        let _ = inner.reconcile();
    }

    /// Our nftables table, if somebody changed it.
    fn changed_script(&mut self) -> Option<Loaded> {
        let loaded = lock(&self.inner).script.last().cloned()?;
        let generation = ruleset::generation().ok();
        if generation.is_some() && generation == loaded.generation {
            return None;
        }
        // What others do to their tables costs a process: not too often. The next regular look comes soon.
        let now = Instant::now();
        if self.listed_at.is_some_and(|at| now < at + LOOK_EVERY / 2) {
            return None;
        }
        self.listed_at = Some(now);
        // Not under the lock: probes would wait for it.
        if !loaded.is_still_listed() {
            return Some(loaded);
        }
        lock(&self.inner).script.confirm(&loaded, generation);
        None
    }

    fn look(&mut self) {
        self.look_at = None;
        let changed = self.changed_script();
        let mut inner = lock(&self.inner);
        if !inner.looked {
            return;
        }
        if changed.is_some_and(|changed| inner.script.last() == Some(&changed)) {
            inner.believed.script = None;
        }
        let lost = match inner.look() {
            Ok(lost) => lost,
            Err(error) => {
                tracing::warn!("{error}: {}", error.source);
                return;
            }
        };
        inner.drop_left_over();
        inner.refresh_ends();
        let failed = inner.reconcile().is_err();
        drop(inner);
        if failed {
            self.look_at = Some(Instant::now() + Duration::from_secs(1));
        }
        for path in lost {
            self.events.emit(Event::KeysLost { path });
        }
    }
}
