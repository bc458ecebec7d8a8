//! The edge's own answers: `hawser-edge status|paths|why`.

use std::time::Duration;

use hawser_edge_core::config::{EdgeState, TrafficClass, Tunnel};
use hawser_edge_core::id::PathId;
use hawser_edge_core::ike::links::FIRST_LINK_ID;
use hawser_edge_core::select::Explanation;
use hawser_edge_core::sla::{Reach, SlaState};
use hawser_edge_core::time::Micros;
use hawser_proto::agent::v1 as wire;

use super::path::{Leaving, PathRuntime};
use super::{Engine, clock};
use crate::control::local::{
    AdviceView, CandidateView, ControllerView, DEPARTING, DecisionView, GenerationsView, IkeView,
    LocalAnswer, LocalQuery, NextHopView, PathView, QueryKind, SelectionView, StatusView,
    TunnelView, UplinkView, WaitingView, WhyView,
};

/// As many decisions as an asker may want.
const MAX_LIMIT: u32 = 256;

impl Engine {
    pub(super) fn on_query(&mut self, query: LocalQuery) {
        let answer = match query.kind {
            QueryKind::Status => LocalAnswer::Status(self.status_view()),
            QueryKind::Paths => LocalAnswer::Paths(self.path_views()),
            QueryKind::Why { peer, traffic_class, limit } => {
                LocalAnswer::Why(self.why_view(peer.as_deref(), traffic_class.as_deref(), limit))
            }
        };
        // The asker may have gone away.
        let _ = query.reply.send(answer);
    }

    fn status_view(&self) -> StatusView {
        let link = self.control.link_status();
        let generations = self.control.generations();
        let text = |id: Option<hawser_edge_core::generation::GenerationId>| {
            id.map(|id| id.to_string()).unwrap_or_default()
        };
        let connected = link.connected.as_ref();
        StatusView {
            fleet: self.own.fleet.clone(),
            site: self.edge.as_ref().map(|e| e.site.clone()).unwrap_or_default(),
            edge: self.own.edge.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.clock.now().0 / 1_000_000,
            controller: ControllerView {
                connected: connected.is_some(),
                address: connected.map(|c| c.controller.clone()).unwrap_or_default(),
                uplink: connected.and_then(|c| c.uplink.clone()).unwrap_or_default(),
                last_error: link.last_error.clone(),
            },
            generations: GenerationsView {
                highest_seen: text(generations.highest_seen.as_ref().map(|s| s.id)),
                applied: text(generations.applied_id()),
                confirmed: text(generations.confirmed_id()),
                refused: generations.refused.iter().map(|(id, _)| id.to_string()).collect(),
            },
            uplinks: self.uplink_views(),
            ike_tunnels: self.ike_samples().iter().map(ike_view).collect(),
            tunnels: self.edge.as_deref().map(|e| self.tunnel_views(e)).unwrap_or_default(),
            counters: self.all_counters(&self.dataplane.counters()),
        }
    }

    fn uplink_views(&self) -> Vec<UplinkView> {
        let facts = self.uplink_facts();
        let edge = self.edge.as_deref();
        let configured = edge.map(|e| e.uplinks.values()).into_iter().flatten();
        configured
            .zip(facts)
            .map(|(uplink, fact)| UplinkView {
                name: uplink.name.clone(),
                interface: fact.interface,
                carrier: fact.carrier,
                addresses: fact.addresses,
                public_endpoints: fact.public_endpoints,
                mtu_bytes: fact.mtu_bytes,
                metered: uplink.metered,
            })
            .collect()
    }

    fn tunnel_views(&self, edge: &EdgeState) -> Vec<TunnelView> {
        let up = |tunnel| {
            let paths = self.paths.values().filter(|p| p.tunnel == tunnel);
            let paths = paths.filter(|p| !self.departures.has_path(p.config.id));
            paths.filter(|p| p.reach == Reach::Up).count() as u32
        };
        let stay = |tunnel: &Tunnel| {
            tunnel.paths.keys().filter(|id| !self.departures.has_path(**id)).count() as u32
        };
        edge.tunnels
            .values()
            .filter(|tunnel| {
                self.generation.as_ref().is_some_and(|g| g.tunnels.contains_key(&tunnel.id))
            })
            .map(|tunnel| TunnelView {
                tunnel_id: tunnel.id.0,
                peer_site: tunnel.peer_site.clone(),
                peer_edge: tunnel.peer_edge.clone(),
                paths: stay(tunnel),
                paths_up: up(tunnel.id),
                peer_connected: self.peers_up.contains(&tunnel.peer_edge_id),
            })
            .collect()
    }

    fn path_views(&self) -> Vec<PathView> {
        let Some(edge) = self.edge.clone() else { return Vec::new() };
        let (counters, mtus) = (self.dataplane.counters(), self.mtus(&edge));
        let now = self.clock.now();
        let mut views = Vec::new();
        for (tunnel, path) in edge.paths() {
            let Some(runtime) = self.paths.get(&path.id) else { continue };
            let figures = runtime.monitor.quality(now).figures;
            let traffic = counters.paths.get(&path.id).copied().unwrap_or_default();
            let remote = tunnel.peer_uplinks.get(&path.remote_uplink);
            views.push(PathView {
                path_id: path.id.0,
                peer_site: tunnel.peer_site.clone(),
                peer_edge: tunnel.peer_edge.clone(),
                local_uplink: self.uplink_name(path.local_uplink),
                remote_uplink: remote.map(|u| u.name.clone()).unwrap_or_default(),
                state: match runtime.leaving {
                    Some(Leaving::Here) => DEPARTING.to_owned(),
                    _ => reach_text(runtime.reach).to_owned(),
                },
                rtt_us: figures.rtt_us,
                jitter_us: figures.jitter_us,
                loss_tx_ppm: figures.loss_tx_ppm,
                loss_rx_ppm: figures.loss_rx_ppm,
                tx_bytes: traffic.tx_bytes,
                rx_bytes: traffic.rx_bytes,
                inner_mtu_bytes: u32::from(self.inner_mtu(&edge, &mtus, path.id)),
                rekeys: runtime.keyings.saturating_sub(1),
                remote_endpoint: runtime.remote.map(|r| r.to_string()).unwrap_or_default(),
                selected_for: self.selected_for(path.id),
                meets_sla_for: meets_sla_for(&edge, runtime),
            });
        }
        for sample in self.ike_samples() {
            views.extend(sample.links.iter().map(|link| link_view(&sample, link)));
        }
        views
    }

    fn why_view(&self, peer: Option<&str>, class: Option<&str>, limit: u32) -> WhyView {
        let Some(edge) = self.edge.clone() else { return WhyView::default() };
        let now = self.clock.now();
        let mut selections = Vec::new();
        for ((tunnel, _), selection) in &self.selections {
            let Some(tunnel) = edge.tunnels.get(tunnel) else { continue };
            let name = &selection.selector.policy().class_name;
            let wanted = peer.is_none_or(|p| p == tunnel.peer_edge || p == tunnel.peer_site)
                && class.is_none_or(|c| c == name);
            if !wanted {
                continue;
            }
            let explanation = selection.selector.explain(now);
            let chosen = explanation.candidates.iter().find(|c| c.chosen);
            let waiting = explanation.held.iter().map(|held| WaitingView {
                path: self.path_name(held.path),
                left_s: seconds(held.remaining),
                because: held.because.clone(),
            });
            selections.push(SelectionView {
                peer_edge: tunnel.peer_edge.clone(),
                traffic_class: name.clone(),
                path: explanation.selected.map(|p| self.path_name(p)).unwrap_or_default(),
                meets_sla: chosen.is_some_and(|c| c.state == SlaState::Meets),
                since_unix_ms: selection.since_unix_ms,
                waiting: waiting.collect(),
                moves_left: explanation.tokens_left,
                next_move_s: seconds(explanation.next_token_in),
                dwell_left_s: seconds(explanation.dwell_left),
                because: explanation.summary,
            });
        }
        for (name, gateway) in &self.gateways {
            if class.is_none_or(str::is_empty) && peer.is_none_or(|peer| peer == name) {
                let explanation = gateway.links.explain(now);
                selections.push(gateway_selection(name, gateway.since_unix_ms, explanation));
            }
        }
        let site_of = |edge_name: &str| {
            let tunnel = edge.tunnels.values().find(|t| t.peer_edge == edge_name);
            tunnel.map(|t| t.peer_site.clone()).unwrap_or_default()
        };
        let decisions = self
            .decisions
            .iter()
            .rev()
            .filter(|d| {
                let about = [&d.peer_edge, &d.from_next_hop, &d.to_next_hop];
                peer.is_none_or(|p| about.iter().any(|edge| p == *edge || p == site_of(edge)))
            })
            .filter(|d| class.is_none_or(|c| c == d.traffic_class))
            .take(limit.clamp(1, MAX_LIMIT) as usize)
            .map(|d| self.decision_view(d))
            .collect();
        let next_hops = match class {
            None => self.next_hop_views(&edge, peer),
            // They are the same for every class.
            Some(_) => Vec::new(),
        };
        WhyView { selections, next_hops, decisions, advice: self.advice_view(now) }
    }

    fn next_hop_views(&self, edge: &EdgeState, peer: Option<&str>) -> Vec<NextHopView> {
        let is_peer = |name: &str| {
            let tunnel = edge.tunnels.values().find(|t| t.peer_edge == name);
            peer.is_none_or(|p| p == name || tunnel.is_some_and(|t| t.peer_site == p))
        };
        let unix_ms = clock::unix_ms();
        let explained = self.reach.explain(self.clock.now()).into_iter();
        explained
            .filter(|e| peer.is_none() || e.candidates.iter().any(|c| is_peer(&c.name)))
            .map(|e| NextHopView {
                segment: edge.segments.get(&e.segment).cloned().unwrap_or_default(),
                prefixes: e.prefixes.iter().map(ToString::to_string).collect(),
                next_hop: e.next_hop.unwrap_or_default(),
                meets_sla: e.meets,
                since_unix_ms: unix_ms.saturating_sub(e.since.as_millis() as u64),
                because: e.summary,
            })
            .collect()
    }

    fn advice_view(&self, now: Micros) -> Option<AdviceView> {
        let until = self.advice.until(now)?;
        let paths = self.advice.of_paths(now).map(|advice| advice.avoid).unwrap_or_default();
        let edges = self.advice.edges(now).into_iter().flatten();
        Some(AdviceView {
            id: self.advice.id().to_owned(),
            reason: self.advice.reason().to_owned(),
            avoid_paths: paths.into_iter().map(|path| self.path_name(path)).collect(),
            avoid_edges: edges.map(|edge| self.edge_name(*edge)).collect(),
            left_s: seconds(until.since(now)),
        })
    }

    fn decision_view(&self, decision: &wire::Decision) -> DecisionView {
        let name = |id: u32| match decision.candidates.iter().find(|c| c.path_id == id) {
            _ if id == 0 => String::new(),
            // The generation knows paths only.
            Some(link) if id >= FIRST_LINK_ID => link.name.clone(),
            _ => self.path_name(PathId(id)),
        };
        DecisionView {
            sequence: decision.sequence,
            unix_ms: decision.unix_ms,
            peer_edge: decision.peer_edge.clone(),
            traffic_class: decision.traffic_class.clone(),
            from_path: name(decision.from_path_id),
            to_path: name(decision.to_path_id),
            cause: decision.cause.clone(),
            summary: decision.summary.clone(),
            candidates: decision.candidates.iter().map(candidate_view).collect(),
            prefixes: decision.prefixes.clone(),
            from_next_hop: decision.from_next_hop.clone(),
            to_next_hop: decision.to_next_hop.clone(),
            advice_id: decision.advice_id.clone(),
            trace_id: decision.trace_id.clone(),
        }
    }
}

/// The classes for which the path would be a good choice, whether or not it is the best one.
fn meets_sla_for(edge: &EdgeState, path: &PathRuntime) -> Vec<String> {
    let meets = |class: &&TrafficClass| {
        path.monitor.health(&class.sla_class, class.symmetric).state == SlaState::Meets
    };
    edge.traffic_classes.iter().filter(meets).map(|class| class.name.clone()).collect()
}

/// Up to the next whole one: "0 s left" would be over.
fn seconds(left: Duration) -> u64 {
    left.as_millis().div_ceil(1_000) as u64
}

fn candidate_view(candidate: &wire::Candidate) -> CandidateView {
    let state = state_text(candidate.state());
    CandidateView {
        path: match candidate.next_hop.as_str() {
            "" => candidate.name.clone(),
            hop => hop.to_owned(),
        },
        state: state.to_owned(),
        chosen: candidate.chosen,
        refused_because: candidate.refused_because.clone(),
        rtt_us: candidate.rtt_us,
        jitter_us: candidate.jitter_us,
        loss_tx_ppm: candidate.loss_tx_ppm,
        loss_rx_ppm: candidate.loss_rx_ppm,
        limits_crossed: candidate.limits_crossed.clone(),
    }
}

/// A link among the paths.
fn link_view(sample: &wire::IkeSample, link: &wire::IkeLink) -> PathView {
    let carries = link.chosen && sample.state() == wire::IkeState::Up;
    let counted = |bytes: u64| if link.chosen { bytes } else { 0 };
    PathView {
        path_id: link.link_id,
        peer_edge: sample.name.clone(),
        local_uplink: link.uplink.clone(),
        remote_uplink: link.remote_address.clone(),
        state: state_text(link.state()).to_owned(),
        rtt_us: link.rtt_us,
        jitter_us: link.jitter_us,
        loss_tx_ppm: link.loss_ppm,
        loss_rx_ppm: link.loss_ppm,
        tx_bytes: counted(sample.tx_bytes),
        rx_bytes: counted(sample.rx_bytes),
        selected_for: if carries { vec!["all".to_owned()] } else { Vec::new() },
        ..PathView::default()
    }
}

fn gateway_selection(name: &str, since_unix_ms: u64, explanation: Explanation) -> SelectionView {
    let chosen = explanation.candidates.iter().find(|c| c.chosen);
    let named = |path| {
        let found = explanation.candidates.iter().find(|c| c.path == path);
        found.map(|c| c.name.clone()).unwrap_or_default()
    };
    let waiting = explanation.held.iter().map(|held| WaitingView {
        path: named(held.path),
        left_s: seconds(held.remaining),
        because: held.because.clone(),
    });
    SelectionView {
        peer_edge: name.to_owned(),
        traffic_class: "all".to_owned(),
        path: chosen.map(|c| c.name.clone()).unwrap_or_default(),
        meets_sla: chosen.is_some_and(|c| c.state == SlaState::Meets),
        since_unix_ms,
        waiting: waiting.collect(),
        moves_left: explanation.tokens_left,
        next_move_s: seconds(explanation.next_token_in),
        dwell_left_s: seconds(explanation.dwell_left),
        because: explanation.summary.clone(),
    }
}

fn ike_view(sample: &wire::IkeSample) -> IkeView {
    IkeView {
        name: sample.name.clone(),
        state: sample.state().word().to_owned(),
        reason: sample.reason.clone(),
        local_address: sample.local_address.clone(),
        remote_address: sample.remote_address.clone(),
        tx_bytes: sample.tx_bytes,
        rx_bytes: sample.rx_bytes,
        rekeys: sample.rekeys,
        retries: sample.retries,
        since_unix_ms: sample.since_unix_ms,
    }
}

fn state_text(state: wire::PathState) -> &'static str {
    match state {
        wire::PathState::Up => "up",
        wire::PathState::Down => "down",
        wire::PathState::Connecting | wire::PathState::Unspecified => "connecting",
    }
}

fn reach_text(reach: Reach) -> &'static str {
    match reach {
        Reach::Connecting => "connecting",
        Reach::Up => "up",
        Reach::Down => "down",
    }
}
