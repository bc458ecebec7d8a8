//! The links of one tunnel with a gateway that is not Hawser: each is an uplink of this edge and an address of the gateway.
//! They are probed outside the tunnel, and the one in use inside it too; the selector of the fabric's paths chooses.
//!
//! What is known of a link comes from three witnesses. Probes tell of delay and loss. A gateway may answer none: then what
//! was never tried is taken for good, in the order of preference. And IKE has the last word: a link over which it does not
//! come up is left, however well it answers.

mod candidate;
mod inside;
#[cfg(test)]
mod tests;
mod trial;
mod warm;

use std::net::IpAddr;
use std::time::Duration;

use super::State;
use crate::config::{ClassMode, EdgeState, IkeProbe, IkeProbeKind, IkeTunnel, UplinkUse};
use crate::id::{ClassId, PathId, TunnelId, UplinkId};
use crate::policy;
use crate::probe::Refused;
use crate::select::{CandidateSpec, Cause, ClassPolicy, Decision, Explanation, Selector};
use crate::sla::{PathHealth, SlaState};
use crate::time::Micros;
use candidate::Candidate;
use inside::Inside;
use trial::Trial;
use warm::Warm;

/// Numbers of links are above those of all paths, which have 24 bits.
pub const FIRST_LINK_ID: u32 = hawser_proto::FIRST_IKE_LINK_ID;
/// Of one tunnel.
pub const LINKS_MAX: usize = 16;
/// At the start the first answers are waited for: else a link would be taken that is left at once.
const SETTLE: Duration = Duration::from_secs(2);
/// What another agent left is taken to work for so long: charon must be asked about it first, and which link's answer comes
/// first says nothing.
const ADOPTED: Duration = Duration::from_secs(5);
/// A move costs a negotiation, so it takes longer proof than among the fabric's paths, which are all there already.
const FAILBACK_HOLD: Duration = Duration::from_secs(30);
const DEFAULT_PROBE: IkeProbe =
    IkeProbe { kind: IkeProbeKind::Icmp, interval_ms: 500, inside: None };
/// Of the SLA class that a tunnel's links are held against.
const CLASS: &str = "tunnel";

/// One way to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub uplink: UplinkId,
    pub uplink_name: String,
    pub interface: String,
    /// `None`: the uplink has no address of the gateway's family.
    pub local: Option<IpAddr>,
    pub remote: IpAddr,
    pub usage: UplinkUse,
    pub drained: bool,
}

/// All that a tunnel may take, the first preferred.
pub fn links(
    edge: &EdgeState,
    tunnel: &IkeTunnel,
    addresses: impl Fn(UplinkId) -> Vec<IpAddr>,
) -> Vec<Link> {
    let mut found = Vec::new();
    for uplink in tunnel.uplinks.iter().filter_map(|id| edge.uplinks.get(id)) {
        let own = addresses(uplink.id);
        for &remote in &tunnel.peer_addresses {
            found.push(Link {
                uplink: uplink.id,
                uplink_name: uplink.name.clone(),
                interface: uplink.interface.clone(),
                local: own.iter().copied().find(|own| own.is_ipv6() == remote.is_ipv6()),
                remote,
                usage: uplink.usage,
                drained: uplink.drained,
            });
        }
    }
    found.truncate(LINKS_MAX);
    found
}

/// There is something to choose, or the operator wants to see what is measured.
#[must_use]
pub fn are_watched(tunnel: &IkeTunnel) -> bool {
    tunnel.uplinks.len() * tunnel.peer_addresses.len() > 1 || tunnel.probe.is_some()
}

/// Whose probe it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// The gateway, over this link.
    Gateway(PathId),
    /// What is behind it, through the tunnel.
    Inside,
}

/// What the links depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    pub tunnel: IkeTunnel,
    pub links: Vec<Link>,
    /// Of the tunnel among those of its edge, for numbers.
    pub slot: u32,
    /// An own address that may speak through the tunnel; `None`: it is not probed inside.
    pub inside_from: Option<IpAddr>,
    /// Wall-clock time since the Unix epoch at `Micros(0)`.
    pub unix_at_zero: Duration,
}

/// One link as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    pub link: Link,
    pub path: PathId,
    pub chosen: bool,
    pub health: PathHealth,
    /// Plain words; why it is not the one.
    pub refused_because: String,
}

/// Chooses the link of one tunnel.
#[derive(Debug)]
pub struct Links {
    settings: LinkSettings,
    candidates: Vec<Candidate>,
    inside: Inside,
    selector: Selector,
    trial: Trial,
    /// Of a warm tunnel.
    warm: Option<Warm>,
    /// What IKE said last, of the link that it has.
    ike: State,
    /// The one that charon has; it stays when none is selected any more.
    held: Option<PathId>,
    settled: bool,
    settle_until: Micros,
    /// The link was another agent's: until then it works for all that is known.
    adopted_until: Option<Micros>,
}

impl Links {
    /// `random`: for the probes' identifiers and phases.
    pub fn new(settings: LinkSettings, mut random: impl FnMut() -> u64, now: Micros) -> Links {
        let probe = settings.tunnel.probe.unwrap_or(DEFAULT_PROBE);
        let id = |index| link_id(settings.slot, index);
        let candidates: Vec<Candidate> = (settings.links.iter().enumerate())
            .map(|(index, link)| {
                let unix = settings.unix_at_zero;
                Candidate::new(id(index), link, &probe, settings.tunnel.sla, (random(), unix), now)
            })
            .collect();
        let specs = specs(&settings);
        let mut links = Links {
            inside: Inside::new(&settings, &probe, random()),
            selector: Selector::new(class_policy(&settings), specs, now),
            trial: Trial::new(now),
            warm: settings.tunnel.warm.then(Warm::default),
            ike: State::Connecting,
            held: None,
            settled: probe.kind == IkeProbeKind::None,
            settle_until: now + SETTLE,
            adopted_until: None,
            candidates,
            settings,
        };
        links.feed(now);
        links
    }

    /// A new generation, or new addresses. The record of each link goes on where it can.
    pub fn configure(
        &mut self,
        settings: LinkSettings,
        mut random: impl FnMut() -> u64,
        now: Micros,
    ) {
        if settings == self.settings {
            return;
        }
        let same = settings.slot == self.settings.slot
            && settings.tunnel.probe == self.settings.tunnel.probe
            && settings.tunnel.sla == self.settings.tunnel.sla
            && settings.inside_from == self.settings.inside_from
            && settings.tunnel.warm == self.settings.tunnel.warm
            && keys(&settings).eq(keys(&self.settings));
        if !same {
            let held = self.held().map(|link| (link.uplink, link.remote));
            let ike = self.ike;
            *self = Links::new(settings, random, now);
            let still = keys(&self.settings).position(|key| Some(key) == held);
            if let Some(index) = still {
                self.start_on(link_id(self.settings.slot, index), now);
            }
            self.ike = ike;
            return;
        }
        let unix = settings.unix_at_zero;
        for (candidate, link) in self.candidates.iter_mut().zip(&settings.links) {
            candidate.readdress(link, (random(), unix), now);
        }
        self.settings = settings;
        self.trial.forget(now);
        self.selector.set_config(class_policy(&self.settings), specs(&self.settings));
        self.feed(now);
    }

    /// What charon has already, from an agent before this one.
    pub fn start_on(&mut self, link: PathId, now: Micros) {
        if self.candidates.iter().any(|c| c.id == link) {
            self.selector.start_on(link, now);
            (self.held, self.settled) = (Some(link), true);
            self.adopted_until = Some(now + ADOPTED);
            self.trial.begin(now);
        }
    }

    /// The same of the spare link of a warm tunnel.
    pub fn start_spare_on(&mut self, link: PathId, now: Micros) {
        if self.held != Some(link)
            && let Some(warm) = &mut self.warm
        {
            warm.start_on(link, now);
        }
    }

    /// The link by its uplink and the gateway's address.
    #[must_use]
    pub fn find(&self, uplink: &str, remote: IpAddr) -> Option<PathId> {
        let fits = |link: &Link| link.uplink_name == uplink && link.remote == remote;
        let index = self.settings.links.iter().position(fits)?;
        Some(link_id(self.settings.slot, index))
    }

    /// One of them, by its number.
    #[must_use]
    pub fn link(&self, id: PathId) -> Option<&Link> {
        let index = self.candidates.iter().position(|c| c.id == id)?;
        self.settings.links.get(index)
    }

    #[must_use]
    pub fn settings(&self) -> &LinkSettings {
        &self.settings
    }

    /// The next probe that is due. Hand in first what has been received.
    pub fn poll_transmit(&mut self, now: Micros) -> Option<(Asked, Vec<u8>)> {
        for candidate in &mut self.candidates {
            if let Some(packet) = candidate.poll_transmit(now) {
                return Some((Asked::Gateway(candidate.id), packet));
            }
        }
        self.inside.poll_transmit(now).map(|packet| (Asked::Inside, packet))
    }

    /// What came back.
    ///
    /// # Errors
    /// It answers nothing that was asked.
    pub fn handle_reply(
        &mut self,
        asked: Asked,
        packet: &[u8],
        received: Micros,
    ) -> Result<(), Refused> {
        match asked {
            Asked::Inside => self.inside.handle_reply(packet, received),
            Asked::Gateway(id) => match self.candidates.iter_mut().find(|c| c.id == id) {
                Some(candidate) => candidate.handle_reply(packet, received),
                None => Err(Refused::Unknown),
            },
        }
    }

    pub fn handle_carrier(&mut self, uplink: UplinkId, up: bool, now: Micros) {
        self.selector.handle_carrier(uplink, up, now);
        for candidate in self.candidates.iter_mut().filter(|c| c.uplink == uplink) {
            candidate.suspect(now);
            if up {
                self.trial.absolve(candidate.id);
            }
        }
    }

    /// What charon says of the tunnel.
    pub fn handle_ike(&mut self, state: State, now: Micros) {
        if state == self.ike {
            return;
        }
        self.ike = state;
        match state {
            State::Up => {
                self.trial.passed(self.held);
                self.inside.begin(now);
            }
            State::Blocked | State::Waiting => {
                self.trial.rest();
                self.inside.end();
            }
            State::Connecting | State::Authenticated => {
                self.trial.begin(now);
                self.inside.end();
            }
        }
    }

    /// What charon says of one association of a warm tunnel.
    pub fn handle_lane(&mut self, link: PathId, state: State, now: Micros) {
        let Some(warm) = &mut self.warm else { return };
        warm.handle_ike(link, state);
        if self.held == Some(link) {
            self.handle_ike(state, now);
        }
    }

    /// The next decision, if one is due. Call it after each input and at the deadline, until it gives none.
    pub fn poll(&mut self, now: Micros) -> Option<Decision> {
        self.feed(now);
        if !self.settled {
            let all = self.candidates.iter().all(|c| c.is_heard() || c.local.is_none());
            self.settled = all || now >= self.settle_until;
            if !self.settled {
                return None;
            }
            self.feed(now);
        }
        let decision = self.next_decision(now)?;
        if let Some(link) = decision.to
            && decision.to != self.held
        {
            let left = self.held.replace(link);
            self.ike = State::Connecting;
            self.inside.end();
            self.trial.begin(now);
            if let Some(warm) = &mut self.warm {
                warm.moved(left, link, now);
                let state = warm.ike(link);
                self.handle_ike(state, now);
            }
        }
        self.feed(now);
        Some(decision)
    }

    /// The first answers are there, or were waited for long enough.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// While no link works charon keeps the one it has: what the selector would send by then is no news.
    fn next_decision(&mut self, now: Micros) -> Option<Decision> {
        loop {
            let decision = self.selector.poll(now)?;
            if decision.to.is_some() || decision.cause != Cause::Members {
                return Some(decision);
            }
        }
    }

    /// The one that charon must have.
    #[must_use]
    pub fn held(&self) -> Option<&Link> {
        self.link(self.held?)
    }

    /// The one besides that charon must have, of a warm tunnel.
    #[must_use]
    pub fn spare(&self) -> Option<&Link> {
        self.link(self.warm.as_ref()?.spare()?)
    }

    /// When to call [`Links::poll_transmit`] and [`Links::poll`] again, if nothing comes in.
    #[must_use]
    pub fn next_deadline(&mut self, now: Micros) -> Micros {
        let settle = (!self.settled).then_some(self.settle_until);
        let probes = self.candidates.iter_mut().filter_map(Candidate::next_deadline);
        let trial = self.held.and_then(|_| self.trial.deadline(now));
        let rest = [settle, self.adopted_until, self.selector.next_deadline(), trial];
        let rest = rest.into_iter().chain([self.inside.next_deadline()]).flatten();
        probes.chain(rest).min().unwrap_or(Micros(u64::MAX))
    }

    /// Why it is where it is, and why nothing moves.
    #[must_use]
    pub fn explain(&self, now: Micros) -> Explanation {
        self.selector.explain(now)
    }

    pub fn views(&self, now: Micros) -> Vec<LinkView> {
        let evidence = self.selector.explain(now).candidates;
        let view = |(link, candidate): (&Link, &Candidate)| {
            let told = evidence.iter().find(|e| e.path == candidate.id);
            LinkView {
                link: link.clone(),
                path: candidate.id,
                chosen: self.held == Some(candidate.id),
                health: self.health(candidate),
                refused_because: told.map(|e| e.refused_because.clone()).unwrap_or_default(),
            }
        };
        self.settings.links.iter().zip(&self.candidates).map(view).collect()
    }

    /// Hands the selector what is known of each link.
    fn feed(&mut self, now: Micros) {
        if self.adopted_until.is_some_and(|until| now >= until || self.ike != State::Connecting) {
            self.adopted_until = None;
        }
        let standby = self.selector.standby();
        for candidate in &mut self.candidates {
            let in_use = Some(candidate.id) == self.held;
            let next = Some(candidate.id) == standby;
            if candidate.advance(in_use, next, now) {
                self.trial.absolve(candidate.id);
            }
        }
        self.inside.advance(now);
        if let Some(held) = self.held {
            let others = self.candidates.iter().filter(|c| c.local.is_some()).map(|c| c.id);
            self.trial.judge(held, others, now);
        }
        self.choose_spare(now);
        let waits = self.waits_for_spares();
        for candidate in &self.candidates {
            let is_ready = |warm: &Warm| warm.ike(candidate.id) == State::Up;
            let why_not = match candidate.local {
                None => "its uplink has no address of the gateway's family",
                Some(_) if self.trial.failed(candidate.id, now) => "IKE did not come up over it",
                Some(_)
                    if waits
                        && self.held != Some(candidate.id)
                        && !self.warm.as_ref().is_some_and(is_ready) =>
                {
                    "its association is not up"
                }
                Some(_) => "",
            };
            if why_not.is_empty() {
                self.selector.handle_path_admin(candidate.id, true, now);
            } else {
                self.selector.handle_unavailable(candidate.id, why_not, now);
            }
            let health = self.health(candidate);
            self.selector.handle_quality(candidate.id, &health, now);
        }
    }

    /// While a warm tunnel is well where it is, it is not moved to where it would have to be negotiated.
    fn waits_for_spares(&self) -> bool {
        let held = self.candidates.iter().find(|c| Some(c.id) == self.held);
        self.warm.is_some()
            && self.ike == State::Up
            && held.is_some_and(|held| self.health(held).state == SlaState::Meets)
    }

    fn choose_spare(&mut self, now: Micros) {
        let (Some(held), true, true) = (self.held, self.settled, self.warm.is_some()) else {
            return;
        };
        let shared = |c: &Candidate| {
            self.candidates.iter().any(|other| other.id == held && other.uplink == c.uplink)
        };
        let others = self.candidates.iter().filter(|c| c.id != held && c.local.is_some());
        let others = others.filter(|c| !self.trial.failed(c.id, now));
        let ranked: Vec<_> = others
            .map(|c| ((!c.is_heard(), c.health().state >= SlaState::Recovering, shared(c)), c.id))
            .map(|(rank, id)| ((rank, id), id))
            .collect();
        if let Some(warm) = &mut self.warm {
            warm.choose(ranked.into_iter(), now);
        }
    }

    fn health(&self, candidate: &Candidate) -> PathHealth {
        let in_use = self.held == Some(candidate.id);
        let outside = candidate.health();
        let inside = if in_use { self.inside.health() } else { None };
        if !candidate.is_heard() && self.settled {
            if let Some(inside) = inside {
                return inside;
            }
            // It may be good for all that is known. But nothing that works is left for it.
            let proven = self.ike == State::Up || in_use && self.adopted_until.is_some();
            let answers = self.candidates.iter().any(|c| c.health().state <= SlaState::Recovering);
            if in_use && proven || !answers && !proven {
                return PathHealth { state: SlaState::Meets, connecting: !proven, ..outside };
            }
        }
        match inside {
            // What traffic sees says more than what is on its way.
            Some(inside) if inside.state >= outside.state => inside,
            _ => outside,
        }
    }
}

fn link_id(slot: u32, index: usize) -> PathId {
    PathId(FIRST_LINK_ID + slot * LINKS_MAX as u32 + index as u32)
}

fn keys(settings: &LinkSettings) -> impl Iterator<Item = (UplinkId, IpAddr)> {
    settings.links.iter().map(|link| (link.uplink, link.remote))
}

/// The order of preference is all: what an uplink costs was thought of when it was written.
fn specs(settings: &LinkSettings) -> Vec<CandidateSpec> {
    let tunnel = &settings.tunnel;
    let rank = |found: Option<usize>| found.unwrap_or_default() as u16;
    let spec = |(index, link): (usize, &Link)| {
        let uplink = rank(tunnel.uplinks.iter().position(|id| *id == link.uplink));
        let remote = rank(tunnel.peer_addresses.iter().position(|peer| *peer == link.remote));
        CandidateSpec {
            path: link_id(settings.slot, index),
            name: format!("{} → {}", link.uplink_name, link.remote),
            local_uplink: link.uplink,
            remote_uplink: UplinkId(remote.into()),
            preference: (uplink, remote),
            cost: 0,
            usage: link.usage,
            drained: link.drained,
            weight: 1,
        }
    };
    settings.links.iter().enumerate().map(spec).collect()
}

fn class_policy(settings: &LinkSettings) -> ClassPolicy {
    let hold = match settings.tunnel.failback_hold_ms {
        0 => FAILBACK_HOLD,
        ms => Duration::from_millis(ms.into()),
    };
    ClassPolicy {
        tunnel: TunnelId(FIRST_LINK_ID + settings.slot),
        class: ClassId(0),
        class_name: String::new(),
        failback_hold: hold,
        dwell: policy::DWELL,
        drop_when_none_meets: false,
        follows_peer: false,
        mode: ClassMode::Best,
    }
}
