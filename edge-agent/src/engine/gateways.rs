//! The links of tunnels with gateways that are not Hawser: probes out and in, and what is decided told to charon, to people
//! and to the next agent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::config::{EdgeState, IkeProbeKind, IkeTunnel};
use hawser_edge_core::id::UplinkId;
use hawser_edge_core::ike::links::{Asked, Link, LinkSettings, Links, are_watched, links};
use hawser_edge_core::ike::{State, lanes};
use hawser_edge_core::select::{Decision, DecisionContext};
use hawser_edge_core::time::Micros;
use hawser_proto::agent::v1 as wire;

use super::ike::lane;
use super::whole_tunnels::whole_tunnels;
use super::{Engine, Timer, clock};
use crate::ike::held;
use crate::ike::{Echo, ProbeSocket, ProbeSpec};

/// Answers that wait for the engine: a second of the fastest probes of a whole edge.
pub(super) const ECHOES: usize = 1_024;
/// A socket that can't be opened (no address yet, no interface) is not tried at each probe.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// A tunnel whose links are watched.
pub(super) struct Gateway {
    name: Arc<str>,
    pub(super) links: Links,
    sockets: BTreeMap<Asked, ProbeSocket>,
    not_before: Micros,
    pub(super) since_unix_ms: u64,
    pub(super) moves: u64,
}

impl Engine {
    /// At a new generation, and when an uplink's addresses change.
    pub(super) fn refresh_gateways(&mut self, edge: &EdgeState) {
        let now = self.clock.now();
        let mut old = std::mem::take(&mut self.gateways);
        for (slot, tunnel) in edge.ike_tunnels.iter().enumerate().filter(|(_, t)| are_watched(t)) {
            let settings = self.link_settings(edge, tunnel, slot);
            let gateway = match old.remove(&tunnel.name) {
                Some(mut kept) => {
                    kept.links.configure(settings, rand::random, now);
                    kept
                }
                None => self.new_gateway(settings, now),
            };
            self.gateways.insert(tunnel.name.clone(), gateway);
        }
        for uplink in edge.uplinks.values() {
            let up = self.has_carrier(uplink.id);
            for gateway in self.gateways.values_mut() {
                gateway.links.handle_carrier(uplink.id, up, now);
            }
        }
    }

    fn new_gateway(&self, settings: LinkSettings, now: Micros) -> Gateway {
        let name = settings.tunnel.name.clone();
        let mut links = Links::new(settings, rand::random, now);
        // What an agent before this one had: charon may have it still.
        let former = self.held_links.get(&name);
        if let Some(link) = former.and_then(|(uplink, remote)| links.find(uplink, *remote)) {
            links.start_on(link, now);
        }
        let former = self.held_links.get(&spare_key(&name));
        if let Some(link) = former.and_then(|(uplink, remote)| links.find(uplink, *remote)) {
            links.start_spare_on(link, now);
        }
        Gateway {
            name: name.into(),
            links,
            sockets: BTreeMap::new(),
            not_before: now,
            since_unix_ms: clock::unix_ms(),
            moves: 0,
        }
    }

    fn link_settings(&self, edge: &EdgeState, tunnel: &IkeTunnel, slot: usize) -> LinkSettings {
        let inside = tunnel.probe.and_then(|probe| probe.inside);
        let of_lans = edge.lans.iter().filter(|lan| lan.segment == tunnel.segment);
        let own = of_lans.filter_map(|lan| self.seen.links.get(&lan.device()));
        let own = own.flat_map(|link| link.addresses.iter().map(|prefix| prefix.addr()));
        let may = |address: &IpAddr| {
            inside.is_some_and(|inside| inside.is_ipv6() == address.is_ipv6())
                && tunnel.local_prefixes.iter().any(|prefix| prefix.contains(address))
        };
        LinkSettings {
            links: links(edge, tunnel, |uplink| self.gateway_sources(edge, uplink)),
            inside_from: own.into_iter().find(may),
            slot: slot as u32,
            tunnel: tunnel.clone(),
            unix_at_zero: self.clock.unix_at_start(),
        }
    }

    /// An uplink's addresses; link-local ones reach no gateway.
    pub(super) fn gateway_sources(&self, edge: &EdgeState, uplink: UplinkId) -> Vec<IpAddr> {
        let uplink = edge.uplinks.get(&uplink);
        let link = uplink.and_then(|uplink| self.seen.links.get(&uplink.interface));
        let addresses = link.map_or(&[][..], |link| link.addresses.as_slice());
        let far = |address: &IpAddr| match address {
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
            IpAddr::V4(_) => true,
        };
        addresses.iter().map(|prefix| prefix.addr()).filter(far).collect()
    }

    pub(super) fn on_echo(&mut self, echo: &Echo) {
        let received = self.clock.at(echo.received);
        let Some(gateway) = self.gateways.get_mut(&*echo.tunnel) else { return };
        // Others ask the same gateway: what is not ours is no news.
        if gateway.links.handle_reply(echo.asked, &echo.packet, received).is_ok() {
            self.drive_gateway(&echo.tunnel);
            self.rest_gateways();
        }
    }

    pub(super) fn gateway_carrier(&mut self, uplink: UplinkId, up: bool) {
        let now = self.clock.now();
        for gateway in self.gateways.values_mut() {
            gateway.links.handle_carrier(uplink, up, now);
        }
        self.drive_gateways();
    }

    /// All that is due, of all of them.
    pub(super) fn drive_gateways(&mut self) {
        let names: Vec<Arc<str>> = self.gateways.values().map(|g| g.name.clone()).collect();
        for name in names {
            self.drive_gateway(&name);
        }
        self.rest_gateways();
    }

    fn rest_gateways(&mut self) {
        // Never in the past, whatever is late.
        let now = self.clock.now();
        let soonest = now + Duration::from_millis(1);
        let deadlines = self.gateways.values_mut().map(|gateway| gateway.links.next_deadline(now));
        let next = deadlines.min().map(|at| at.max(soonest));
        self.timers.set(Timer::Gateways, next.filter(|at| *at < Micros(u64::MAX)));
    }

    fn drive_gateway(&mut self, name: &str) {
        let now = self.clock.now();
        let samples = self.ike.samples();
        let Some(gateway) = self.gateways.get_mut(name) else { return };
        gateway.hear_charon(&samples, now);
        let place =
            |links: &Links| (links.is_settled(), links.held().cloned(), links.spare().cloned());
        let (was, mut decisions) = (place(&gateway.links), Vec::new());
        while let Some(decision) = gateway.links.poll(now) {
            gateway.since_unix_ms = clock::unix_ms();
            gateway.moves += u64::from(decision.from.is_some() && decision.to.is_some());
            decisions.push(decision);
        }
        let moved = place(&gateway.links) != was;
        let mut unsent = 0;
        while let Some((asked, packet)) = gateway.links.poll_transmit(now) {
            unsent += u64::from(!gateway.send(asked, &packet, &self.echoes, now));
        }
        if unsent > 0 {
            self.count("ike_probe_unsent");
        }
        if moved {
            self.remember_links();
            self.lead_routes();
            self.tell_charon();
        }
        for decision in &decisions {
            self.record_link(name, decision);
        }
    }

    fn record_link(&mut self, name: &str, decision: &Decision) {
        let record = decision.to_proto(&DecisionContext {
            sequence: 0,
            unix_ms: clock::unix_ms(),
            edge: &self.own.edge,
            peer_edge: name,
            boot_id: self.control.boot_id(),
        });
        self.told.moved(decision.tunnel, decision.class);
        self.report_soon = true;
        self.keep_decision(record);
    }

    fn remember_links(&mut self) {
        let held = self.gateways.iter().flat_map(|(name, gateway)| {
            let links =
                [(name.clone(), gateway.links.held()), (spare_key(name), gateway.links.spare())];
            let named = |(key, link): (String, Option<&Link>)| {
                let link = link?;
                Some((key, (link.uplink_name.clone(), link.remote)))
            };
            links.into_iter().filter_map(named).collect::<Vec<_>>()
        });
        self.held_links = held.collect();
        let (state_dir, held) = (self.state_dir.clone(), self.held_links.clone());
        // A disk takes its time, and probes must not wait for it.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = held::write(&state_dir, &held) {
                tracing::warn!("{}", super::chain(&error));
            }
        });
    }

    /// The kernel's routes to what is beyond a warm tunnel, to the link that it has now.
    fn lead_routes(&self) {
        let Some(edge) = self.edge.clone() else { return };
        if !edge.ike_tunnels.iter().any(|tunnel| tunnel.warm) {
            return;
        }
        let (host, edge) = (self.host.clone(), self.as_taken(&edge));
        tokio::spawn(async move {
            for fault in host.hold(edge).await.err().unwrap_or_default() {
                tracing::warn!(code = fault.code, "{}", fault.message);
            }
        });
    }

    /// A generation for the host: with the links that routes of warm tunnels lead to.
    pub(super) fn as_taken(&self, edge: &Arc<EdgeState>) -> Arc<EdgeState> {
        let mut edge = edge.clone();
        if edge.ike_tunnels.iter().any(|tunnel| tunnel.warm) {
            let changed = Arc::make_mut(&mut edge);
            for tunnel in changed.ike_tunnels.iter_mut().filter(|tunnel| tunnel.warm) {
                let Some((uplink, remote)) = self.held_links.get(&tunnel.name) else { continue };
                let of_name = changed.uplinks.values().find(|known| known.name == *uplink);
                let fits = |lane: &IkeTunnel| {
                    of_name.is_some_and(|uplink| lane.uplinks.contains(&uplink.id))
                        && lane.peer_addresses.contains(remote)
                };
                tunnel.taken = lanes(tunnel).iter().position(fits).unwrap_or_default();
            }
        }
        edge
    }

    /// All tunnels with devices that are not Hawser, however they are keyed: as charon tells of them, with what is known of
    /// their links.
    pub(super) fn ike_samples(&self) -> Vec<wire::IkeSample> {
        let now = self.clock.now();
        let taken = |name: &str| self.gateways.get(name).and_then(Gateway::taken);
        let mut samples = whole_tunnels(&self.ike.samples(), taken);
        for sample in &mut samples {
            let Some(gateway) = self.gateways.get(&sample.name) else { continue };
            sample.moves = gateway.moves;
            sample.links = gateway.links.views(now).iter().map(link_on_wire).collect();
        }
        samples.extend(self.manual.samples().iter().cloned());
        samples
    }
}

impl Gateway {
    /// What charon says of each association.
    fn hear_charon(&mut self, samples: &[wire::IkeSample], now: Micros) {
        let find = |name: &str| samples.iter().find(|sample| sample.name == name);
        if !self.links.settings().tunnel.warm {
            self.links.handle_ike(state(find(&self.name), self.links.held()), now);
            return;
        }
        let settings = self.links.settings().clone();
        for link in &settings.links {
            let Some(lane) = lane(&settings.tunnel, link) else { continue };
            if let Some(id) = self.links.find(&link.uplink_name, link.remote) {
                self.links.handle_lane(id, state(find(&lane.name), Some(link)), now);
            }
        }
    }

    /// By its name in charon.
    fn taken(&self) -> Option<String> {
        Some(lane(&self.links.settings().tunnel, self.links.held()?)?.name)
    }

    /// False: it did not leave this host.
    fn send(
        &mut self,
        asked: Asked,
        packet: &[u8],
        echoes: &tokio::sync::mpsc::Sender<Echo>,
        now: Micros,
    ) -> bool {
        let Some(spec) = self.spec(asked) else { return false };
        let fits = self.sockets.get(&asked).is_some_and(|socket| *socket.spec() == spec);
        if !fits {
            self.sockets.remove(&asked);
            if now < self.not_before {
                return false;
            }
            match ProbeSocket::open(spec, self.name.clone(), asked, echoes.clone()) {
                Ok(socket) => _ = self.sockets.insert(asked, socket),
                Err(error) => {
                    tracing::debug!(tunnel = &*self.name, "no socket for probes: {error}");
                    self.not_before = now + OPEN_AGAIN;
                    return false;
                }
            }
        }
        self.sockets.get(&asked).is_some_and(|socket| socket.send(packet).is_ok())
    }

    fn spec(&self, asked: Asked) -> Option<ProbeSpec> {
        let settings = self.links.settings();
        let probe = settings.tunnel.probe;
        match asked {
            Asked::Inside => Some(ProbeSpec {
                interface: None,
                local: settings.inside_from?,
                remote: probe?.inside?,
                port: None,
            }),
            Asked::Gateway(id) => {
                let link = self.links.link(id)?;
                Some(ProbeSpec {
                    interface: Some(link.interface.clone()),
                    local: link.local?,
                    remote: link.remote,
                    port: match probe.map(|probe| probe.kind) {
                        Some(IkeProbeKind::Stamp { port }) => Some(port),
                        _ => None,
                    },
                })
            }
        }
    }
}

/// Beside the tunnel's own name, which has no dot.
fn spare_key(name: &str) -> String {
    format!("{name}.spare")
}

/// What charon says of this very link: what it says of the one before is over.
fn state(sample: Option<&wire::IkeSample>, held: Option<&Link>) -> State {
    let (Some(sample), Some(link)) = (sample, held) else { return State::Connecting };
    let is = |text: &str, address: Option<IpAddr>| text.parse().ok() == address;
    let same =
        is(&sample.remote_address, Some(link.remote)) && is(&sample.local_address, link.local);
    match sample.state() {
        wire::IkeState::Blocked => State::Blocked,
        wire::IkeState::Waiting => State::Waiting,
        wire::IkeState::Up if same => State::Up,
        wire::IkeState::Authenticated if same => State::Authenticated,
        _ => State::Connecting,
    }
}

fn link_on_wire(view: &hawser_edge_core::ike::links::LinkView) -> wire::IkeLink {
    use hawser_edge_core::sla::SlaState;
    let health = &view.health;
    let state = match health.state {
        _ if health.connecting => wire::PathState::Connecting,
        SlaState::Meets | SlaState::Violates => wire::PathState::Up,
        SlaState::Recovering | SlaState::Down => wire::PathState::Down,
    };
    let figures = &health.figures;
    wire::IkeLink {
        link_id: view.path.0,
        uplink: view.link.uplink_name.clone(),
        local_address: view.link.local.map(|address| address.to_string()).unwrap_or_default(),
        remote_address: view.link.remote.to_string(),
        state: state.into(),
        chosen: view.chosen,
        rtt_us: figures.rtt_us,
        jitter_us: figures.jitter_us,
        loss_ppm: figures.loss_tx_ppm.max(figures.loss_rx_ppm),
        limits_crossed: health.crossed.iter().map(|crossed| crossed.to_string()).collect(),
        refused_because: view.refused_because.clone(),
    }
}
