//! A fleet on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::config::{EdgeState, decode};
use hawser_edge_core::id::{EdgeId, TunnelId};
use hawser_edge_core::quality::Figures;
use hawser_edge_core::reach::{Output, Prefix, Reach};
use hawser_edge_core::sla::{Crossings, PathHealth, SlaState};
use hawser_edge_core::time::Micros;
use hawser_proto::peer::v1::Reachability;
use proptest::prelude::*;

use crate::{Allocations, allocate, compile, parse};

/// Numbers pick one of what there is.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Tunnel {
        tunnel: usize,
        up: bool,
    },
    Sla {
        tunnel: usize,
        bad: bool,
    },
    /// The session is lost and comes again; what was under way may still arrive.
    Session {
        tunnel: usize,
    },
    Restart {
        edge: usize,
    },
    Drain {
        edge: usize,
        on: bool,
    },
    Advice {
        at: usize,
        avoid: usize,
    },
}

pub struct Net {
    nodes: BTreeMap<EdgeId, Node>,
    tunnels: BTreeMap<TunnelId, Tunnel>,
    /// By time, then in order of their making.
    events: BTreeMap<(Micros, u64), Event>,
    made: u64,
    now: Micros,
    random: u64,
    /// Advertisements and decisions so far.
    pub said: u64,
}

struct Node {
    state: Arc<EdgeState>,
    reach: Reach,
    boot: u64,
    /// Tunnels as this end sees them.
    health: BTreeMap<TunnelId, SlaState>,
    /// The last advertisement to each peer: a new session begins with it.
    told: BTreeMap<EdgeId, Vec<Reachability>>,
}

struct Tunnel {
    ends: [EdgeId; 2],
    up: bool,
    bad: bool,
    session: u64,
    /// When the last message to each end arrives: one session keeps its order.
    arrives: BTreeMap<EdgeId, Micros>,
}

enum Event {
    /// An end notices how its tunnel does.
    Notice(TunnelId, EdgeId),
    Session(TunnelId, u64),
    Message {
        tunnel: TunnelId,
        session: u64,
        to: EdgeId,
        message: Reachability,
    },
}

type Check<'a> = &'a mut dyn FnMut(&Net) -> Result<(), TestCaseError>;

impl Net {
    /// Edges have the documents in turn: with several, generations differ.
    pub fn new(documents: &[String], seed: u64) -> Net {
        let mut numbers = Allocations::default();
        let mut configs = Vec::new();
        for document in documents {
            let fleet = parse(document.as_bytes()).unwrap_or_else(|f| panic!("{f:#?}\n{document}"));
            allocate(&fleet, &mut numbers).expect("numbers");
            configs.push(compile(&fleet, &numbers).expect("allocated"));
        }
        let mut net = Net {
            nodes: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            events: BTreeMap::new(),
            made: 0,
            now: Micros(0),
            random: seed,
            said: 0,
        };
        for (index, name) in configs[0].keys().enumerate() {
            let config = &configs[index % configs.len()][name];
            let state = Arc::new(decode(config).unwrap_or_else(|f| panic!("{f:#?}")));
            for tunnel in state.tunnels.values() {
                let ends = [state.edge_id, tunnel.peer_edge_id];
                let (up, bad, session, arrives) = (true, false, 0, BTreeMap::new());
                net.tunnels.entry(tunnel.id).or_insert(Tunnel { ends, up, bad, session, arrives });
            }
            net.nodes.insert(state.edge_id, Node::new(state, 0, Micros(0)));
        }
        let tunnels: Vec<TunnelId> = net.tunnels.keys().copied().collect();
        for tunnel in tunnels {
            net.notice(tunnel);
            net.renew_session(tunnel);
        }
        net.pump();
        net
    }

    pub fn now(&self) -> Micros {
        self.now
    }

    /// Everything up to a time; `check` looks at each state in between.
    pub fn run_until(&mut self, end: Micros, check: Check<'_>) -> Result<(), TestCaseError> {
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let timer = self.nodes.values().filter_map(|node| node.reach.next_deadline()).min();
            let Some(next) = event.into_iter().chain(timer).min().filter(|at| *at <= end) else {
                self.now = self.now.max(end);
                return Ok(());
            };
            self.now = self.now.max(next);
            while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
                if let Some((_, event)) = self.events.pop_first() {
                    self.happen(event);
                    self.pump();
                    check(self)?;
                }
            }
            self.pump();
            check(self)?;
        }
    }

    pub fn inflict(&mut self, fault: Fault) {
        let tunnel = |net: &Net, n: usize| net.tunnels.keys().nth(n % net.tunnels.len()).copied();
        let edge = |net: &Net, n: usize| net.nodes.keys().nth(n % net.nodes.len()).copied();
        match fault {
            Fault::Tunnel { tunnel: n, up } => {
                let Some(id) = tunnel(self, n) else { return };
                self.tunnels.entry(id).and_modify(|t| t.up = up);
                self.notice(id);
                if up {
                    self.renew_session(id);
                }
            }
            Fault::Sla { tunnel: n, bad } => {
                let Some(id) = tunnel(self, n) else { return };
                self.tunnels.entry(id).and_modify(|t| t.bad = bad);
                self.notice(id);
            }
            Fault::Session { tunnel: n } => {
                if let Some(id) = tunnel(self, n) {
                    self.renew_session(id);
                }
            }
            Fault::Restart { edge: n } => {
                let Some(id) = edge(self, n) else { return };
                if let Some(node) = self.nodes.get_mut(&id) {
                    *node = Node::new(node.state.clone(), node.boot + 1, self.now);
                }
                let own = self.tunnels.iter().filter(|(_, t)| t.ends.contains(&id));
                let own: Vec<TunnelId> = own.map(|(id, _)| *id).collect();
                for tunnel in own {
                    self.notice(tunnel);
                    self.renew_session(tunnel);
                }
            }
            Fault::Drain { edge: n, on } => {
                let Some(id) = edge(self, n) else { return };
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.state = Arc::new(EdgeState { drained: on, ..(*node.state).clone() });
                    node.reach.set_generation(&node.state, self.now);
                }
            }
            Fault::Advice { at, avoid } => {
                let (Some(at), Some(avoid)) = (edge(self, at), edge(self, avoid)) else { return };
                let until = self.now + Duration::from_secs(60);
                if let Some(node) = self.nodes.get_mut(&at) {
                    node.reach.handle_advice([avoid].into(), until, "busy".to_owned(), self.now);
                }
            }
        }
        self.pump();
    }

    /// Whatever of its next hops each edge uses: for no prefix do they form a cycle.
    pub fn has_no_cycle(net: &Net) -> Result<(), TestCaseError> {
        for prefix in net.prefixes() {
            // Edges that lead nowhere but to the origin are taken away until none is left.
            let mut left: BTreeMap<EdgeId, Vec<EdgeId>> = BTreeMap::new();
            for (id, node) in &net.nodes {
                let hops = node.reach.next_hops(&prefix);
                left.insert(*id, hops.iter().map(|t| net.other(*t, *id)).collect());
            }
            loop {
                let ends: Vec<EdgeId> = left
                    .iter()
                    .filter(|(_, hops)| hops.iter().all(|hop| !left.contains_key(hop)))
                    .map(|(id, _)| *id)
                    .collect();
                if ends.is_empty() {
                    break;
                }
                ends.iter().for_each(|id| drop(left.remove(id)));
            }
            prop_assert!(left.is_empty(), "{prefix:?} goes round at {:?}: {left:?}", net.now);
        }
        Ok(())
    }

    /// A packet from anywhere to anywhere ends, at an origin or not.
    pub fn walks_end(&self) -> Result<(), TestCaseError> {
        for prefix in self.prefixes() {
            for from in self.nodes.keys() {
                prop_assert!(self.walk(*from, &prefix).is_some(), "{from} to {prefix:?} loops");
            }
        }
        Ok(())
    }

    pub fn reaches_what_can_be_reached(&self) -> Result<(), TestCaseError> {
        for prefix in self.prefixes() {
            for from in self.nodes.keys() {
                let (can, does) = (self.can_reach(*from, &prefix), self.walk(*from, &prefix));
                prop_assert_eq!(does, Some(can), "{} to {:?}", from, prefix);
            }
        }
        Ok(())
    }

    /// Whether a packet gets there, by what each edge believes. None: it goes round.
    fn walk(&self, from: EdgeId, prefix: &Prefix) -> Option<bool> {
        let (mut at, mut met) = (from, BTreeSet::new());
        loop {
            let node = &self.nodes[&at];
            if node.originates(prefix) {
                return Some(true);
            }
            if !met.insert(at) {
                return None;
            }
            let hops = node.reach.next_hops(prefix);
            let usable = |t: &&TunnelId| node.health.get(*t).is_some_and(|h| *h < SlaState::Down);
            let Some(tunnel) = hops.iter().find(usable) else { return Some(false) };
            if !self.tunnels[tunnel].up {
                return Some(false);
            }
            at = self.other(*tunnel, at);
        }
    }

    /// By the generations' next hops and the tunnels that are up.
    fn can_reach(&self, from: EdgeId, prefix: &Prefix) -> bool {
        let node = &self.nodes[&from];
        let route = node.state.routes.iter().find(|r| (r.segment, r.prefix) == *prefix);
        let hops = route.map(|route| route.next_hops.as_slice()).unwrap_or_default();
        let mut up = hops.iter().filter(|tunnel| self.tunnels[tunnel].up);
        node.originates(prefix) || up.any(|t| self.can_reach(self.other(*t, from), prefix))
    }

    fn prefixes(&self) -> BTreeSet<Prefix> {
        let routes = self.nodes.values().flat_map(|node| &node.state.routes);
        routes.map(|route| (route.segment, route.prefix)).collect()
    }

    fn other(&self, tunnel: TunnelId, end: EdgeId) -> EdgeId {
        let [a, b] = self.tunnels[&tunnel].ends;
        if a == end { b } else { a }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Notice(tunnel, edge) => {
                let t = &self.tunnels[&tunnel];
                let state = match (t.up, t.bad) {
                    (false, _) => SlaState::Down,
                    (true, true) => SlaState::Violates,
                    (true, false) => SlaState::Meets,
                };
                let Some(node) = self.nodes.get_mut(&edge) else { return };
                node.health.insert(tunnel, state);
                let (crossed, figures) = (Crossings::default(), Figures::default());
                let health = PathHealth { state, connecting: false, crossed, figures };
                node.reach.handle_tunnel(tunnel, &health);
            }
            Event::Session(tunnel, session) => {
                let t = &self.tunnels[&tunnel];
                if t.session != session || !t.up {
                    return;
                }
                let [a, b] = t.ends;
                for (me, peer) in [(a, b), (b, a)] {
                    let boot = self.nodes[&peer].boot.to_string();
                    if let Some(node) = self.nodes.get_mut(&me) {
                        node.reach.handle_session(peer, &boot);
                    }
                }
                for (me, peer) in [(a, b), (b, a)] {
                    let again = self.nodes[&me].told.get(&peer).cloned().unwrap_or_default();
                    self.send(tunnel, peer, again);
                }
            }
            Event::Message { tunnel, session, to, message } => {
                let t = &self.tunnels[&tunnel];
                let from = self.other(tunnel, to);
                let late = t.session != session;
                // A datagram of a session that is gone can't arrive once the new one has begun.
                if !t.up || (late && self.random() & 1 == 0) {
                    return;
                }
                let now = self.now;
                if let Some(node) = self.nodes.get_mut(&to) {
                    node.reach.handle_message(from, &message, now);
                }
            }
        }
    }

    /// Lets every machine say what it has to say.
    fn pump(&mut self) {
        let ids: Vec<EdgeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let now = self.now;
            while let Some(output) = self.nodes.get_mut(&id).and_then(|n| n.reach.poll(now)) {
                match output {
                    Output::Advertise { edge, messages } => {
                        self.said += 1;
                        if let Some(node) = self.nodes.get_mut(&id) {
                            node.told.insert(edge, messages.clone());
                        }
                        let between = |t: &Tunnel| t.ends.contains(&id) && t.ends.contains(&edge);
                        let tunnel =
                            self.tunnels.iter().find(|(_, t)| between(t)).map(|(id, _)| *id);
                        if let Some(tunnel) = tunnel {
                            self.send(tunnel, edge, messages);
                        }
                    }
                    Output::Decision(_) => self.said += 1,
                    Output::Event(_) => {}
                }
            }
        }
    }

    fn send(&mut self, tunnel: TunnelId, to: EdgeId, messages: Vec<Reachability>) {
        for message in messages {
            let delay = self.delay(5, 200);
            let now = self.now;
            let Some(t) = self.tunnels.get_mut(&tunnel) else { return };
            let at = (now + delay).max(t.arrives.get(&to).copied().unwrap_or_default());
            t.arrives.insert(to, at);
            let session = t.session;
            self.schedule(at, Event::Message { tunnel, session, to, message });
        }
    }

    fn notice(&mut self, tunnel: TunnelId) {
        for edge in self.tunnels[&tunnel].ends {
            let at = self.now + self.delay(0, 900);
            self.schedule(at, Event::Notice(tunnel, edge));
        }
    }

    fn renew_session(&mut self, tunnel: TunnelId) {
        let at = self.now + self.delay(20, 2_000);
        let Some(t) = self.tunnels.get_mut(&tunnel) else { return };
        t.session += 1;
        t.arrives.clear();
        let session = t.session;
        self.schedule(at, Event::Session(tunnel, session));
    }

    fn schedule(&mut self, at: Micros, event: Event) {
        self.made += 1;
        self.events.insert((at, self.made), event);
    }

    fn delay(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.random() % (most_ms - least_ms))
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Node {
    fn new(state: Arc<EdgeState>, boot: u64, now: Micros) -> Node {
        let mut reach = Reach::new(now);
        reach.set_generation(&state, now);
        Node { state, reach, boot, health: BTreeMap::new(), told: BTreeMap::new() }
    }

    fn originates(&self, prefix: &Prefix) -> bool {
        self.state.lans.iter().any(|l| l.segment == prefix.0 && l.prefixes.contains(&prefix.1))
    }
}
