//! What becomes of each tunnel, as charon tells it: states, counters over rekeys, and when to try again where charon
//! does not (it gives up for good when the peer refuses to authenticate it).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{ChildSa, IkeSa, PREFIX, Start};
use crate::time::Micros;

/// Before the first attempt of ours: charon is given the time for its own.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Reasons of one tunnel that are told of until it is up.
const MAX_TOLD: usize = 16;
const MAX_REASON_CHARS: usize = 160;

/// Worst first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Something is missing at this edge.
    Blocked,
    /// No association; the first packet will bring one.
    Waiting,
    #[default]
    Connecting,
    /// The peer is, but not all children are there.
    Authenticated,
    Up,
}

/// Why a tunnel can't even be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Stable, upper case.
    pub code: &'static str,
    pub message: String,
    pub mend: String,
}

/// A tunnel that there must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub start: Start,
    pub children: BTreeSet<String>,
    pub blocked: Option<Blocked>,
}

/// Something that people want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `IKE_UP`, `IKE_DOWN`, `IKE_FAILED` or what blocks it.
    pub code: &'static str,
    pub tunnel: String,
    pub message: String,
}

/// One child to begin with now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The connection, whole.
    pub connection: String,
    pub child: String,
}

/// A tunnel as it is. Counters are of this monitor's time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    pub name: String,
    pub state: State,
    pub reason: String,
    pub local_host: String,
    pub remote_host: String,
    pub children_up: usize,
    pub children: usize,
    pub traffic: Traffic,
    pub rekeys: u64,
    pub retries: u64,
    pub since: Micros,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, more: Traffic) {
        self.tx_packets += more.tx_packets;
        self.tx_bytes += more.tx_bytes;
        self.rx_packets += more.rx_packets;
        self.rx_bytes += more.rx_bytes;
    }
}

#[derive(Debug, Default)]
pub struct Monitor {
    tunnels: BTreeMap<String, Tunnel>,
}

#[derive(Debug)]
struct Tunnel {
    watched: Watched,
    sample: Sample,
    /// Children that charon shows, by their number, with the names and what they carried.
    living: BTreeMap<u64, (String, Traffic)>,
    /// Carried by those that are gone.
    gone: Traffic,
    failures: u32,
    next_attempt: Option<Micros>,
    /// Reasons that were told since it was up, without their digits.
    told: BTreeSet<String>,
}

impl Monitor {
    /// What there must be from now on, by names without the prefix. What goes on keeps its counters.
    pub fn configure(&mut self, wanted: &BTreeMap<String, Watched>, now: Micros) -> Vec<Change> {
        self.tunnels.retain(|name, _| wanted.contains_key(name));
        let mut changes = Vec::new();
        for (name, watched) in wanted {
            let tunnel =
                self.tunnels.entry(name.clone()).or_insert_with(|| Tunnel::new(name, watched, now));
            if let Some(blocked) = &watched.blocked
                && tunnel.sample.reason != blocked.message
            {
                let message = format!("{}; {}", blocked.message, blocked.mend);
                changes.push(Change { code: blocked.code, tunnel: name.clone(), message });
            }
            tunnel.watched = watched.clone();
            tunnel.sample.children = watched.children.len();
            if let Some(blocked) = &watched.blocked {
                tunnel.sample.reason.clone_from(&blocked.message);
                tunnel.enter(State::Blocked, now);
            } else if tunnel.sample.state == State::Blocked {
                tunnel.sample.reason.clear();
                tunnel.failures = 0;
                tunnel.enter(State::Connecting, now);
            }
        }
        changes
    }

    /// All that charon has now.
    pub fn observe(&mut self, sas: &[IkeSa], now: Micros) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, tunnel) in &mut self.tunnels {
            let own = |sa: &&IkeSa| sa.connection.strip_prefix(PREFIX) == Some(name);
            let own: Vec<&IkeSa> = sas.iter().filter(own).collect();
            changes.extend(tunnel.observe(&own, now));
        }
        changes
    }

    /// A line of charon's log. A connection by its whole name.
    pub fn heard(&mut self, connection: &str, line: &str) -> Option<Change> {
        let name = connection.strip_prefix(PREFIX)?;
        let tunnel = self.tunnels.get_mut(name)?;
        let reason = failure(line)?;
        if matches!(tunnel.sample.state, State::Up | State::Blocked)
            || tunnel.sample.reason == reason
        {
            return None;
        }
        tunnel.sample.reason.clone_from(&reason);
        // charon counts its attempts: the same again is no news.
        let kind: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        let news = tunnel.told.len() < MAX_TOLD && tunnel.told.insert(kind);
        news.then(|| Change { code: "IKE_FAILED", tunnel: name.to_owned(), message: reason })
    }

    /// What is due. `random` spreads the attempts of many edges.
    pub fn attempts(&mut self, now: Micros, mut random: impl FnMut() -> u32) -> Vec<Attempt> {
        let mut due = Vec::new();
        for (name, tunnel) in &mut self.tunnels {
            if tunnel.next_attempt.is_none_or(|at| at > now) {
                continue;
            }
            let up: BTreeSet<&String> = tunnel.living.values().map(|(child, _)| child).collect();
            let missing = tunnel.watched.children.iter().find(|child| !up.contains(child));
            tunnel.failures += 1;
            tunnel.next_attempt = Some(now + wait(tunnel.failures, random()));
            if let Some(child) = missing {
                tunnel.sample.retries += 1;
                due.push(Attempt { connection: format!("{PREFIX}{name}"), child: child.clone() });
            }
        }
        due
    }

    /// When [`Monitor::attempts`] has something next.
    #[must_use]
    pub fn next_attempt(&self) -> Option<Micros> {
        self.tunnels.values().filter_map(|tunnel| tunnel.next_attempt).min()
    }

    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.tunnels.values().map(|tunnel| &tunnel.sample)
    }
}

impl Tunnel {
    fn new(name: &str, watched: &Watched, now: Micros) -> Tunnel {
        let sample = Sample { name: name.to_owned(), since: now, ..Sample::default() };
        Tunnel {
            watched: watched.clone(),
            sample,
            living: BTreeMap::new(),
            gone: Traffic::default(),
            failures: 0,
            next_attempt: None,
            told: BTreeSet::new(),
        }
    }

    fn enter(&mut self, state: State, now: Micros) {
        if self.sample.state != state {
            self.sample.state = state;
            self.sample.since = now;
        }
    }

    fn observe(&mut self, own: &[&IkeSa], now: Micros) -> Option<Change> {
        self.count(own.iter().flat_map(|sa| &sa.children).filter(installed));
        let best = own.iter().find(|sa| sa.is_established()).or_else(|| own.first());
        let host = |of: fn(&IkeSa) -> &String| best.map(|sa| of(sa).clone()).unwrap_or_default();
        self.sample.local_host = host(|sa| &sa.local_host);
        self.sample.remote_host = host(|sa| &sa.remote_host);
        if self.watched.blocked.is_some() {
            self.next_attempt = None;
            return None;
        }
        let was = self.sample.state;
        let state = self.state(own);
        self.enter(state, now);
        self.schedule(own, now);
        let change = |code, message: String| {
            Some(Change { code, tunnel: self.sample.name.clone(), message })
        };
        match (was, state) {
            (State::Up, State::Up) => None,
            (_, State::Up) => {
                self.failures = 0;
                self.sample.reason.clear();
                self.told.clear();
                change("IKE_UP", format!("with {}", self.sample.remote_host))
            }
            (State::Up, _) => change("IKE_DOWN", "its association is gone".to_owned()),
            _ => None,
        }
    }

    fn state(&self, own: &[&IkeSa]) -> State {
        let enough = match self.watched.start {
            Start::Now => self.sample.children_up >= self.watched.children.len(),
            // Each child waits for a packet of its own.
            Start::Trap => self.sample.children_up > 0,
        };
        if enough {
            State::Up
        } else if own.iter().any(|sa| sa.is_established()) {
            State::Authenticated
        } else if own.is_empty() && self.watched.start == Start::Trap {
            State::Waiting
        } else {
            State::Connecting
        }
    }

    /// charon tries by itself while it shows an association that is neither established nor going.
    fn schedule(&mut self, own: &[&IkeSa], now: Micros) {
        let at_it = own.iter().any(|sa| sa.state == "CONNECTING");
        if self.sample.state == State::Up || self.watched.start == Start::Trap || at_it {
            self.next_attempt = None;
        } else if self.next_attempt.is_none() {
            // Half at once, by chance, is left to the attempts themselves.
            self.next_attempt = Some(now + FIRST_RETRY.max(wait(self.failures, 0)));
        }
    }

    fn count<'a>(&mut self, children: impl Iterator<Item = &'a ChildSa>) {
        let mut living = BTreeMap::new();
        for child in children {
            let traffic = Traffic {
                tx_packets: child.packets_out,
                tx_bytes: child.bytes_out,
                rx_packets: child.packets_in,
                rx_bytes: child.bytes_in,
            };
            living.insert(child.unique_id, (child.name.clone(), traffic));
        }
        for (id, (name, _)) in &living {
            let replaces = self.living.values().any(|(other, _)| other == name);
            if !self.living.contains_key(id) && replaces {
                self.sample.rekeys += 1;
            }
        }
        for (id, (_, traffic)) in &self.living {
            if !living.contains_key(id) {
                self.gone += *traffic;
            }
        }
        self.living = living;
        self.sample.traffic = self.gone;
        for (_, traffic) in self.living.values() {
            self.sample.traffic += *traffic;
        }
        let up: BTreeSet<&String> = self.living.values().map(|(name, _)| name).collect();
        self.sample.children_up = up.len();
    }
}

fn installed(child: &&ChildSa) -> bool {
    ["INSTALLED", "REKEYING", "REKEYED"].contains(&child.state.as_str())
}

/// Doubles with each failure; between half of that and all of it by chance.
fn wait(failures: u32, random: u32) -> Duration {
    let whole = FIRST_RETRY.saturating_mul(1 << failures.min(8)).min(LONGEST_RETRY);
    whole / 2 + whole.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// What went wrong, if the line says that something did.
fn failure(line: &str) -> Option<String> {
    const SIGNS: [&str; 9] = [
        "not responding",
        "giving up after",
        "no matching peer config",
        "no IKE config found",
        "no shared key found",
        "no proposal found",
        "MAC mismatched",
        "unable to install",
        "constraint check failed",
    ];
    let told = line.starts_with("received ") && line.contains(" notify");
    let informative = ["INITIAL_CONTACT", "_SUPPORTED", "MOBIKE", "REDIRECT", "NO_ADDITIONAL"];
    let refused = told && !informative.iter().any(|word| line.contains(word));
    if !refused && !SIGNS.iter().any(|sign| line.contains(sign)) {
        return None;
    }
    let plain = line.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS);
    Some(plain.collect())
}

#[cfg(test)]
mod tests;
