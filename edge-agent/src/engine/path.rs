//! One path at run time: its probes, its verdicts, its endpoint.

use std::net::SocketAddr;

use hawser_edge_core::config;
use hawser_edge_core::endpoint::EndpointTracker;
use hawser_edge_core::id::{EdgeId, TunnelId};
use hawser_edge_core::keys::SaTerms;
use hawser_edge_core::pmtu::Pmtu;
use hawser_edge_core::probe::{Cadence, Intervals, ProbeConfig, ProbeSession};
use hawser_edge_core::sla::{PathMonitor, Reach, SlaClass};
use hawser_edge_core::time::Micros;
use hawser_esp::Suite;

use super::clock::Clock;
use super::gaps::Gaps;
use super::peer_word::PeerWord;
use crate::dataplane::AdoptedPath;

/// Which end's generation has a path no more, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    Here,
    There,
}

impl Leaving {
    /// For people.
    pub fn why(self) -> &'static str {
        match self {
            Leaving::Here => "the configuration has it no more",
            Leaving::There => "the peer's configuration does not have it",
        }
    }
}

/// A path of the generation in force, or one that departs.
pub struct PathRuntime {
    pub config: config::Path,
    probes: ProbeConfig,
    pub tunnel: TunnelId,
    pub peer: EdgeId,
    pub session: ProbeSession,
    pub monitor: PathMonitor,
    pub tracker: EndpointTracker,
    /// What traffic tells of the way here, as far as it may be told.
    pub gaps: Gaps,
    /// What the peer says of its own end.
    pub peer_word: PeerWord,
    /// Where its packets go, as the data plane was told.
    pub remote: Option<SocketAddr>,
    /// Where it may be, by what others say.
    pub candidates: Vec<SocketAddr>,
    /// When the first probe that was answered had been sent.
    pub answered_since: Option<Micros>,
    /// It has an outbound SA.
    pub keyed: bool,
    /// The suite of that SA.
    pub sealing: Option<Suite>,
    /// The terms of that SA.
    pub terms: Option<SaTerms>,
    /// When it got the first one.
    pub keyed_at: Option<Micros>,
    /// When the present outbound SA was installed.
    pub sa_since: Option<Micros>,
    /// Nothing is sent on it.
    pub silent: bool,
    /// Not both ends have it.
    pub leaving: Option<Leaving>,
    /// Neither end has it: what is under way arrives, nothing is asked any more.
    pub drained: bool,
    /// This end needs it, though it rests otherwise.
    pub wanted: bool,
    /// Losses in a row, as the pacer last heard of it.
    pub losing: bool,
    /// How long packets may be on it; `None` until its links are known.
    pub pmtu: Option<Pmtu>,
    /// How often it got fresh keys.
    pub keyings: u64,
    /// As last reported in an event.
    pub reach: Reach,
}

impl PathRuntime {
    /// A path that nothing is known of yet, but what a former run left working.
    pub fn new(
        config: config::Path,
        tunnel: &config::Tunnel,
        local: EdgeId,
        classes: Vec<SlaClass>,
        adopted: Option<&AdoptedPath>,
        clock: &Clock,
    ) -> PathRuntime {
        let now = clock.now();
        let remote = adopted.map(|adopted| adopted.remote);
        let probes = ProbeConfig {
            path: config.id,
            local,
            peer: tunnel.peer_edge_id,
            intervals: intervals(tunnel),
            cadence: Cadence::Used,
            seed: rand::random(),
            unix_at_zero: clock.unix_at_start(),
            least_bytes: 0,
        };
        let session = ProbeSession::new(probes.clone(), now);
        let mut monitor = PathMonitor::new(config.id, classes, now);
        monitor.set_down_after(tunnel.profile.down_after_probes);
        PathRuntime {
            config,
            probes,
            tunnel: tunnel.id,
            peer: tunnel.peer_edge_id,
            session,
            monitor,
            tracker: EndpointTracker::new(remote, now),
            gaps: Gaps::default(),
            peer_word: PeerWord::default(),
            remote,
            candidates: Vec::new(),
            answered_since: None,
            keyed: adopted.is_some(),
            keyed_at: adopted.map(|_| now),
            sa_since: None,
            sealing: None,
            terms: None,
            silent: false,
            leaving: None,
            drained: false,
            wanted: false,
            losing: false,
            pmtu: None,
            keyings: 0,
            reach: Reach::Connecting,
        }
    }

    /// Probes are sent on it.
    pub fn is_probed(&self) -> bool {
        self.keyed && !self.silent && !self.drained
    }

    /// It has what a packet needs to leave by it.
    pub fn is_available(&self) -> bool {
        self.keyed && self.remote.is_some() && !self.peer_word.is_dead()
    }

    /// From now on nothing is sent on it, and nothing is known of it.
    pub fn fall_silent(&mut self, clock: &Clock) {
        self.forget(clock);
        self.silent = true;
    }

    /// The device at the other end is the peer no more: neither its keys nor what was measured are worth anything.
    pub fn lose_peer(&mut self, clock: &Clock) {
        self.forget(clock);
        self.keyed = false;
        self.sa_since = None;
    }

    fn forget(&mut self, clock: &Clock) {
        let now = clock.now();
        self.probes.seed = rand::random();
        self.session = ProbeSession::new(self.probes.clone(), now);
        self.monitor.forget(now);
        (self.reach, self.answered_since) = (Reach::Connecting, None);
        self.losing = false;
    }

    /// When this path has something to do by itself.
    pub fn next_deadline(&mut self) -> Option<Micros> {
        let monitor = self.monitor.next_deadline();
        // Without keys there is nothing to probe with.
        let session = self.is_probed().then(|| self.session.next_deadline());
        [session, monitor, self.peer_word.deadline()].into_iter().flatten().min()
    }
}

/// From the tunnel's profile.
pub fn intervals(tunnel: &config::Tunnel) -> Intervals {
    Intervals::from_profile(tunnel.profile.probe_interval_ms, tunnel.profile.probe_idle_interval_ms)
}
