//! One edge among its neighbours. Whole fleets are simulated in `controller/core/src/tests/reachability`, with what the
//! controller compiles.

mod adverts;
mod choices;
mod words;

use std::time::Duration;

use hawser_proto::config::v1 as config;
use hawser_proto::peer::v1 as wire;

use super::{NextHopDecision, Output, Prefix, Reach};
use crate::config::{EdgeState, decode};
use crate::id::{EdgeId, SegmentId, TunnelId};
use crate::quality::Figures;
use crate::sla::{Crossed, Crossings, Limit, PathHealth, SlaState};
use crate::time::Micros;

/// This edge.
const ME: u32 = 1;
/// Two hubs, the first preferred, and a branch behind them.
const HUB: EdgeId = EdgeId(11);
const BACKUP: EdgeId = EdgeId(12);
const BRANCH: u32 = 21;
const VIA_HUB: TunnelId = TunnelId(111);
const VIA_BACKUP: TunnelId = TunnelId(112);

const OWN: &str = "10.1.0.0/24";
const FAR: &str = "10.21.0.0/24";
const FAR_TOO: &str = "10.22.0.0/24";

fn prefix(text: &str) -> Prefix {
    (SegmentId(1), text.parse().expect("a prefix"))
}

/// A generation: both hubs are next hops of what is far.
fn generation() -> config::EdgeConfig {
    let tunnel = |id: TunnelId, peer: EdgeId, name: &str| config::Tunnel {
        id: id.0,
        peer_edge: name.to_owned(),
        peer_edge_id: peer.0,
        profile: Some(config::TunnelProfile {
            suite: "aes-128-gcm".to_owned(),
            replay_window_packets: 64,
            rekey_after_s: 3_600,
            probe_interval_ms: 100,
            probe_idle_interval_ms: 500,
            ..Default::default()
        }),
        ..Default::default()
    };
    let route = |prefix: &str| config::Route {
        segment_id: 1,
        prefix: prefix.to_owned(),
        next_hop_edge_ids: vec![HUB.0, BACKUP.0],
    };
    config::EdgeConfig {
        edge_id: ME,
        fabric_port: 4510,
        segments: vec![config::Segment { id: 1, name: "main".to_owned() }],
        lans: vec![config::Lan {
            interface: "lan0".to_owned(),
            segment_id: 1,
            prefixes: vec![OWN.to_owned()],
            vlan: 0,
        }],
        tunnels: vec![tunnel(VIA_HUB, HUB, "hub"), tunnel(VIA_BACKUP, BACKUP, "backup")],
        routes: vec![route(FAR), route(FAR_TOO)],
        traffic_classes: vec![config::TrafficClass {
            id: 1,
            name: "default".to_owned(),
            failback_hold_ms: 10_000,
            dwell_ms: 1_000,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn state(config: &config::EdgeConfig) -> EdgeState {
    decode(config).expect("a good generation")
}

fn health(state: SlaState) -> PathHealth {
    let mut crossed = Crossings::default();
    if state == SlaState::Violates {
        crossed.insert(Crossed {
            limit: Limit::LossTx,
            value: 50_000,
            allowed: 10_000,
            confidence_ppm: 0,
        });
    }
    PathHealth { state, connecting: false, crossed, figures: Figures::default() }
}

fn reachable(text: &str, via: &[u32]) -> wire::ReachablePrefix {
    wire::ReachablePrefix {
        segment_id: 1,
        prefix: text.to_owned(),
        via_edge_ids: via.to_vec(),
        violates: false,
    }
}

/// The machine, and what came out of it.
struct Bench {
    reach: Reach,
    now: Micros,
    sequence: u64,
    decisions: Vec<NextHopDecision>,
    told: Vec<(Micros, EdgeId, Vec<wire::Reachability>)>,
    events: Vec<&'static str>,
}

impl Bench {
    /// Both tunnels are up, and nobody has said anything yet.
    fn new(config: &config::EdgeConfig) -> Bench {
        let mut bench = Bench {
            reach: Reach::new(Micros(0)),
            now: Micros(0),
            sequence: 0,
            decisions: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
        };
        bench.reach.set_generation(&state(config), Micros(0));
        bench.tunnel(VIA_HUB, SlaState::Meets);
        bench.tunnel(VIA_BACKUP, SlaState::Meets);
        // Beyond the grace of the start.
        bench.pass(60_000);
        bench
    }

    fn pump(&mut self) {
        while let Some(output) = self.reach.poll(self.now) {
            match output {
                Output::Advertise { edge, messages } => self.told.push((self.now, edge, messages)),
                Output::Decision(decision) => self.decisions.push(*decision),
                Output::Event(event) => self.events.push(event.code),
            }
        }
    }

    /// Time passes, with every deadline kept.
    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        self.pump();
        while let Some(at) = self.reach.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.pump();
        }
        self.now = end;
        self.pump();
    }

    fn tunnel(&mut self, tunnel: TunnelId, state: SlaState) {
        self.reach.handle_tunnel(tunnel, &health(state));
        self.pump();
    }

    /// A whole advertisement.
    fn says(&mut self, edge: EdgeId, drained: bool, prefixes: Vec<wire::ReachablePrefix>) {
        self.sequence += 1;
        let message =
            wire::Reachability { sequence: self.sequence, drained, prefixes, ..Default::default() };
        self.reach.handle_message(edge, &message, self.now);
        self.pump();
    }

    /// Both far prefixes, straight from the branch.
    fn says_all(&mut self, edge: EdgeId, drained: bool) {
        let straight = |text| reachable(text, &[BRANCH, edge.0]);
        self.says(edge, drained, vec![straight(FAR), straight(FAR_TOO)]);
    }

    fn next_hops(&self, text: &str) -> Vec<TunnelId> {
        self.reach.next_hops(&prefix(text))
    }

    fn count(&self, counter: &str) -> u64 {
        self.reach.counters().get(counter).copied().unwrap_or(0)
    }

    /// What was told to a neighbour last: prefixes with their ways.
    fn last_told(&self, edge: EdgeId) -> Vec<(String, Vec<u32>)> {
        let last = self.told.iter().rev().find(|(_, to, _)| *to == edge);
        let prefixes =
            last.into_iter().flat_map(|(_, _, messages)| messages).flat_map(|m| &m.prefixes);
        prefixes.map(|p| (p.prefix.clone(), p.via_edge_ids.clone())).collect()
    }
}
