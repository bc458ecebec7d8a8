//! Makes a generation true: host first (what guards), then sockets and table, then the host's ways in, then keys,
//! probes and selection. The host's part runs in a task of its own and reports back here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::config::{EdgeState, Fault, Path, Tunnel, Uplink};
use hawser_edge_core::departures::Departures;
use hawser_edge_core::generation::{ApplyReason, GenerationId};
use hawser_edge_core::history::{Names, PathName};
use hawser_edge_core::id::{EdgeId, TunnelId, UplinkId};
use hawser_edge_core::reconcile::Observed;
use hawser_esp::Suite;

use super::host_task::{HostHandle, chain};
use super::path::PathRuntime;
use super::selection::sla_classes;
use super::traces::ApplySpans;
use super::{Engine, Timer, clock, forwarding, waivers};
use crate::control::{Order, OrderReply, RevertOrder};
use crate::dataplane::{DataPlaneError, UplinkSpec};
use crate::peer::{HelloFacts, PathKeying, PeerConfig};
use hawser_edge_core::keys::{SpiPair, former_terms};

/// Keys that last less are asked for their use more often.
const SHORT_LIVED_BYTES: u64 = 1 << 30;

/// The host's part of an order is done.
pub(super) struct Done {
    id: Option<GenerationId>,
    edge: Arc<EdgeState>,
    reply: Option<OrderReply>,
    spans: ApplySpans,
    stage: Stage,
    result: Result<Observed, Vec<Fault>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Guards, rules and tables stand; the TUN does not exist yet.
    Guarded,
    /// The TUN's routes stand too.
    Complete,
}

impl Engine {
    pub(super) fn on_order(&mut self, order: Order) {
        // At boot an interface may come later: what is there is used meanwhile.
        let strict = order.reason == ApplyReason::Offered;
        if strict && let Some(faults) = waivers::expired(&order.state, clock::unix_ms()) {
            return refuse(Some(order.id), Some(order.reply), faults);
        }
        tracing::info!(generation = %order.id, reason = ?order.reason, "applying");
        let spans = ApplySpans::open(&self.spans, order.trace, order.id);
        self.former = order.former.or_else(|| self.generation.clone());
        self.start_apply(Some(order.id), order.state, Some(order.reply), strict, spans);
    }

    pub(super) fn on_revert(&mut self, order: RevertOrder) {
        self.former = order.former.or_else(|| self.generation.clone());
        match order.to {
            Some((id, state)) => {
                tracing::warn!(generation = %id, "going back");
                let spans = ApplySpans::open(&self.spans, None, id);
                self.start_apply(Some(id), state, Some(order.reply), false, spans);
            }
            None => {
                // Guards stay: the host goes on holding what it holds.
                self.tear_down();
                let _ = order.reply.send(Ok(()));
            }
        }
    }

    fn start_apply(
        &mut self,
        id: Option<GenerationId>,
        edge: Arc<EdgeState>,
        reply: Option<OrderReply>,
        strict: bool,
        spans: ApplySpans,
    ) {
        let (host, internal) = (self.host.clone(), self.internal.clone());
        self.applies_under_way += 1;
        let of_host = self.with_departing(&edge);
        tokio::spawn(async move {
            let result = guard(&host, &edge, of_host, strict).await;
            let stage = Stage::Guarded;
            let _ = internal.send(Done { id, edge, reply, spans, stage, result }).await;
        });
    }

    pub(super) fn on_done(&mut self, done: Done) {
        let Done { id, edge, reply, spans, stage, result } = done;
        let seen = match result {
            Ok(seen) => seen,
            Err(faults) => {
                self.applies_under_way -= 1;
                spans.refused(&faults);
                return refuse(id, reply, faults);
            }
        };
        match stage {
            Stage::Guarded => {
                self.on_observed(seen);
                let spans = spans.planned(&self.spans);
                if let Err(fault) = self.enact(edge.clone()) {
                    self.applies_under_way -= 1;
                    let faults = vec![fault];
                    spans.refused(&faults);
                    return refuse(id, reply, faults);
                }
                let (host, internal) = (self.host.clone(), self.internal.clone());
                let of_host = self.as_taken(self.edge.as_ref().unwrap_or(&edge));
                tokio::spawn(async move {
                    let result = host.hold(of_host).await;
                    let stage = Stage::Complete;
                    let _ = internal.send(Done { id, edge, reply, spans, stage, result }).await;
                });
            }
            Stage::Complete => {
                self.applies_under_way -= 1;
                self.on_observed(seen);
                self.report_local_facts();
                self.report_soon = true;
                spans.applied();
                if let Some(id) = id {
                    tracing::info!(generation = %id, "applied");
                }
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(()));
                }
            }
        }
    }

    /// Everything but the host's kernel. On a fault the old table stays.
    fn enact(&mut self, generation: Arc<EdgeState>) -> Result<(), Fault> {
        let (departures, at_once) = self.after(&generation);
        let before = self.departures.clone();
        let former = self.former.as_ref();
        self.former_terms =
            former.map(|former| former_terms(former, &generation)).unwrap_or_default();
        self.enact_with(generation, departures)?;
        self.tell_waivers();
        self.tell_departing(&before, &at_once);
        Ok(())
    }

    /// The same with what departs beside the generation.
    pub(super) fn enact_with(
        &mut self,
        generation: Arc<EdgeState>,
        departures: Departures,
    ) -> Result<(), Fault> {
        let edge = Arc::new(departures.overlay(&generation));
        self.open_uplinks(&edge).map_err(|e| dataplane_fault("uplinks", &e))?;
        self.reach_generation(&generation);
        let table = self.table(&edge);
        if let Err(error) = self.dataplane.apply(table) {
            if let Some(old) = self.generation.clone() {
                self.reach_generation(&old);
            }
            return Err(dataplane_fault("tunnels", &error));
        }
        self.adopted.extend(self.dataplane.adopted().into_iter().map(|a| (a.path, a)));
        self.close_uplinks(&edge);
        (self.generation, self.departures) = (Some(generation.clone()), departures);
        self.timers.set(Timer::Departures, self.departures.next_deadline());
        self.edge = Some(edge.clone());
        let suites = edge.tunnels.values().map(|tunnel| tunnel.profile.suite);
        self.short_lived_keys =
            suites.filter_map(Suite::byte_limit).any(|bytes| bytes < SHORT_LIVED_BYTES);
        self.refresh_paths(&edge);
        self.refresh_pmtus();
        self.configure_pacer(&edge);
        self.refresh_all_endpoints();
        self.refresh_hello();
        let peers: Vec<PeerConfig> = edge.tunnels.values().map(|t| self.peer_config(t)).collect();
        self.peers.configure(&edge, peers.into_iter());
        self.refresh_selectors(&edge);
        self.history.names(names(&edge));
        self.refresh_carrier(&edge);
        self.refresh_lans(&edge);
        self.refresh_ike(&edge);
        self.refresh_manual(&edge);
        // Reports cost more than probes: not over an uplink that is paid by volume, while there is another.
        let mut uplinks: Vec<&Uplink> = generation.uplinks.values().collect();
        uplinks.sort_by_key(|uplink| (uplink.usage, uplink.id));
        self.control.set_uplinks(uplinks.iter().map(|u| u.interface.clone()).collect());
        let left: BTreeSet<TunnelId> = self.departing_tunnels().collect();
        self.tell_peers(&left);
        let leave = left.iter().filter_map(|id| Some(edge.tunnels.get(id)?.peer_edge_id));
        leave.for_each(|peer| self.refresh_best(peer));
        Ok(())
    }

    /// Selectors take carrier to be there until told otherwise.
    fn refresh_carrier(&mut self, edge: &EdgeState) {
        let now = self.clock.now();
        for uplink in edge.uplinks.values() {
            let up = self.seen.links.get(&uplink.interface).is_some_and(|l| l.running);
            for selection in self.selections.values_mut() {
                selection.selector.handle_carrier(uplink.id, up, now);
            }
        }
    }

    fn open_uplinks(&mut self, edge: &EdgeState) -> Result<(), DataPlaneError> {
        // Two sockets can't have one interface and port: what an interface was before goes first.
        let other = |spec: &UplinkSpec| {
            let stays = edge.uplinks.get(&spec.id).is_some_and(|u| u.interface == spec.interface);
            !stays && edge.uplinks.values().any(|u| u.interface == spec.interface)
        };
        let taken: Vec<UplinkId> =
            self.uplinks.values().filter(|spec| other(spec)).map(|spec| spec.id).collect();
        for id in taken {
            self.dataplane.remove_uplink(id);
            self.uplinks.remove(&id);
        }
        for spec in forwarding::uplinks(edge) {
            if self.uplinks.get(&spec.id) != Some(&spec) {
                self.dataplane.add_uplink(spec.clone())?;
                self.uplinks.insert(spec.id, spec);
            }
        }
        Ok(())
    }

    fn close_uplinks(&mut self, edge: &EdgeState) {
        let gone: Vec<UplinkId> =
            self.uplinks.keys().filter(|id| !edge.uplinks.contains_key(id)).copied().collect();
        for id in gone {
            self.dataplane.remove_uplink(id);
            self.uplinks.remove(&id);
        }
    }

    fn refresh_paths(&mut self, edge: &EdgeState) {
        let now = self.clock.now();
        let mut old = std::mem::take(&mut self.paths);
        for (tunnel, path) in edge.paths() {
            let runtime = match old.remove(&path.id) {
                Some(mut kept) if kept.config == *path && kept.tunnel == tunnel.id => {
                    kept.monitor.set_classes(sla_classes(edge));
                    kept.monitor.set_down_after(tunnel.profile.down_after_probes);
                    kept
                }
                _ => {
                    let adopted = self.adopted.get(&path.id);
                    let classes = sla_classes(edge);
                    PathRuntime::new(*path, tunnel, edge.edge_id, classes, adopted, &self.clock)
                }
            };
            self.paths.insert(path.id, runtime);
            self.timers.set(Timer::Path(path.id), Some(now));
        }
        for id in old.into_keys() {
            self.timers.set(Timer::Path(id), None);
            self.timers.set(Timer::Pmtu(id), None);
        }
        let peers: BTreeSet<EdgeId> = edge.tunnels.values().map(|t| t.peer_edge_id).collect();
        self.pairings.retain(|peer, _| peers.contains(peer));
        self.refresh_leaving();
        peers.into_iter().for_each(|peer| self.feed_leaving(peer));
    }

    /// MTUs or the order of next hops changed: the same table with the new ones. It is swapped whole, and a packet sees
    /// the one or the other.
    pub(super) fn refresh_table(&mut self) {
        let Some(edge) = self.edge.clone() else { return };
        let table = self.table(&edge);
        if let Err(error) = self.dataplane.apply(table) {
            tracing::warn!(
                code = error.code(),
                "the changed table is not in force: {}",
                chain(&error)
            );
        }
    }

    /// Ours as the kernel has them, our peers' as they say.
    pub(super) fn mtus(&self, edge: &EdgeState) -> BTreeMap<UplinkId, u32> {
        let mut mtus = self.peer_mtus.clone();
        mtus.extend(edge.uplinks.values().filter_map(|uplink| {
            self.seen.links.get(&uplink.interface).map(|link| (uplink.id, link.mtu_bytes))
        }));
        mtus
    }

    /// A new look at the kernel: carrier, addresses and MTUs may have changed.
    pub(super) fn on_observed(&mut self, mut seen: Observed) {
        // The look began some time ago: what the kernel said meanwhile is newer.
        for (interface, &up) in self.carriers.borrow().iter() {
            if let Some(link) = seen.links.get_mut(interface) {
                link.running = up;
            }
        }
        let old = std::mem::replace(&mut self.seen, seen);
        let Some(edge) = self.edge.clone() else { return };
        let mut changed = false;
        for uplink in edge.uplinks.values() {
            let (was, is) =
                (old.links.get(&uplink.interface), self.seen.links.get(&uplink.interface));
            let running =
                |link: Option<&hawser_edge_core::reconcile::Link>| link.is_some_and(|l| l.running);
            let (was_up, up) = (running(was), running(is));
            changed |= was != is;
            if was_up != up {
                self.on_carrier(uplink.id, up);
            }
        }
        self.refresh_lans(&edge);
        if changed {
            self.refresh_ike(&edge);
            self.refresh_manual(&edge);
            self.refresh_pmtus();
            self.refresh_table();
            self.refresh_hello();
            self.report_local_facts();
        }
    }

    fn refresh_hello(&mut self) {
        let Some(edge) = self.edge.clone() else { return };
        let mut facts = HelloFacts::default();
        for uplink in edge.uplinks.values() {
            let Some(link) = self.seen.links.get(&uplink.interface) else { continue };
            facts.uplink_mtu_bytes.insert(uplink.id, link.mtu_bytes);
            let endpoints = super::endpoints::own_endpoints(&edge, &link.addresses);
            facts.endpoints.insert(uplink.id, endpoints);
        }
        self.peers.set_hello(facts);
    }

    fn peer_config(&self, tunnel: &Tunnel) -> PeerConfig {
        let profile = &tunnel.profile;
        let keying = PathKeying {
            suite: profile.suite,
            esn: profile.esn,
            replay_window_packets: profile.replay_window_packets,
            rekey_after_bytes: profile.rekey_after_bytes,
        };
        let paths = || tunnel.paths.keys().copied();
        let kept = paths().filter_map(|id| self.adopted.get(&id));
        PeerConfig {
            edge: tunnel.peer_edge_id,
            edge_name: tunnel.peer_edge.clone(),
            tunnel: tunnel.id,
            rekey_after: Duration::from_secs(u64::from(profile.rekey_after_s)),
            known_key: None,
            paths: paths().map(|id| (id, keying)).collect(),
            kept: kept.map(|a| (a.path, SpiPair { ours: a.inbound, theirs: a.outbound })).collect(),
            former: paths().filter_map(|id| Some((id, *self.former_terms.get(&id)?))).collect(),
            departing: paths().filter(|id| self.departures.has_path(*id)).collect(),
        }
    }

    fn tear_down(&mut self) {
        self.peers.forget_all();
        self.gateways.clear();
        self.ike.hold(Vec::new());
        self.manual.hold(Vec::new());
        // The way back to the controller must not be pinned to what is torn down.
        self.control.set_uplinks(Vec::new());
        for id in std::mem::take(&mut self.uplinks).into_keys() {
            self.dataplane.remove_uplink(id);
        }
        if let Err(error) = self.dataplane.apply(Default::default()) {
            tracing::warn!(code = error.code(), "the table was not emptied: {}", chain(&error));
        }
        self.paths.clear();
        self.selections.clear();
        self.told_peers.clear();
        self.reach.clear(self.clock.now());
        self.pacer = Default::default();
        self.timers = Default::default();
        (self.edge, self.generation) = (None, None);
        self.departures = Default::default();
        self.former_terms.clear();
        self.pairings.clear();
    }
}

/// Finds what the generation misses before anything is touched, then lets the guards stand, of what departs beside it too.
async fn guard(
    host: &HostHandle,
    generation: &Arc<EdgeState>,
    edge: Arc<EdgeState>,
    strict: bool,
) -> Result<Observed, Vec<Fault>> {
    if strict {
        host.check(generation.clone()).await?;
    }
    // At boot a driver may bring an interface late: the host task tries again by itself.
    let mut pause = Duration::from_millis(200);
    loop {
        match host.hold(edge.clone()).await {
            Err(faults) if !strict && pause < Duration::from_secs(10) => {
                tracing::warn!(code = faults[0].code, "{}; tried again", faults[0].message);
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
}

fn refuse(id: Option<GenerationId>, reply: Option<OrderReply>, faults: Vec<Fault>) {
    for fault in &faults {
        tracing::warn!(
            generation = id.map(|id| id.to_string()),
            code = fault.code,
            path = fault.path,
            mend = fault.mend,
            "{}",
            fault.message
        );
    }
    if let Some(reply) = reply {
        let _ = reply.send(Err(faults));
    }
}

fn dataplane_fault(path: &str, error: &DataPlaneError) -> Fault {
    Fault {
        code: "DATA_PLANE",
        path: path.to_owned(),
        message: chain(error),
        mend: "the agent needs /dev/net/tun, CAP_NET_ADMIN, and the fabric port free".to_owned(),
    }
}

/// What the paths of the history are called.
fn names(edge: &EdgeState) -> Names {
    let name = |(tunnel, path): (&Tunnel, &Path)| PathName {
        path: path.id,
        tunnel: tunnel.id,
        peer_edge: tunnel.peer_edge.clone(),
        peer_site: tunnel.peer_site.clone(),
        local_uplink: edge
            .uplinks
            .get(&path.local_uplink)
            .map(|u| u.name.clone())
            .unwrap_or_default(),
        remote_uplink: tunnel
            .peer_uplinks
            .get(&path.remote_uplink)
            .map(|u| u.name.clone())
            .unwrap_or_default(),
        ipv6: path.ipv6,
    };
    let paths = edge.paths().map(name).collect();
    Names { edge: edge.edge.clone(), site: edge.site.clone(), paths }
}
