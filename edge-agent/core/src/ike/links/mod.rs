//! The links of one tunnel with a gateway that is not Hawser: each is an uplink of this edge and an address of the gateway.
//! They are probed outside the tunnel, and the one in use inside it too; the selector of the fabric's paths chooses.
//!
//! What is known of a link comes from three witnesses. Probes tell of delay and loss. A gateway may answer none: then what
//! was never tried is taken for good, in the order of preference. And IKE has the last word: a link over which it does not
//! come up is left, however well it answers.

mod candidate;
mod inside;
mod link;
#[cfg(test)]
mod tests;
mod trial;
mod warm;
mod weigh;

use std::net::IpAddr;
use std::time::Duration;

use super::State;
use crate::config::{IkeProbe, IkeProbeKind};
use crate::id::{PathId, UplinkId};
use crate::probe::Refused;
use crate::select::{Cause, Decision, Explanation, Selector};
use crate::sla::PathHealth;
use crate::time::Micros;
use candidate::Candidate;
use inside::Inside;
pub use link::{FIRST_LINK_ID, LINKS_MAX, Link, LinkSettings, are_watched, links};
use link::{class_policy, keys, link_id, specs};
use trial::Trial;
use warm::Warm;

/// At the start the first answers are waited for: else a link would be taken that is left at once.
const SETTLE: Duration = Duration::from_secs(2);
/// What another agent left is taken to work for so long: charon must be asked about it first, and which link's answer comes
/// first says nothing.
const ADOPTED: Duration = Duration::from_secs(5);
const DEFAULT_PROBE: IkeProbe =
    IkeProbe { kind: IkeProbeKind::Icmp, interval_ms: 500, inside: None };
/// Of the SLA class that a tunnel's links are held against.
const CLASS: &str = "tunnel";

/// Whose probe it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// The gateway, over this link.
    Gateway(PathId),
    /// What is behind it, through the tunnel.
    Inside,
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
}
