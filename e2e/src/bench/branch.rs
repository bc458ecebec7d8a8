//! One branch of the star: what a worker breaks, and how it sees what became of it.

use super::star::{self, HUB};
use super::steady::{self, MET_FOR};
use super::stop::Stop;
use crate::clock;
use crate::fleet::views::{DecisionView, PathView};
use crate::fleet::{Agent, Fleet, FleetError, Flow};
use crate::wan::{Dir, Impairment};
use crate::watchdog::Watchdog;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

pub(super) const CLASS: &str = "default";
pub(super) const HUB_EDGE: &str = "hq-1";
/// Proof that a path's loss is mended takes a while; that a hold has doubled several times, longer.
const STEADY_LIMIT: Duration = Duration::from_secs(180);
const FLOW_LIMIT: Duration = Duration::from_secs(10);
/// Faults fall anywhere in a probe's interval.
const PROBE_INTERVAL_US: u64 = 100_000;
const DECISIONS: u32 = 50;

/// A direction of traffic. Each is chosen by its own sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the branch to the hub.
    Up,
    /// From the hub to the branch.
    Down,
}

impl Way {
    pub(super) const BOTH: [Self; 2] = [Self::Up, Self::Down];

    /// The two take turns.
    pub(super) fn turn(number: usize) -> Self {
        Self::BOTH[number % 2]
    }

    pub(super) fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    /// On a branch's link: its end `a` is the branch's.
    pub(super) fn dir(self) -> Dir {
        match self {
            Self::Up => Dir::AToB,
            Self::Down => Dir::BToA,
        }
    }
}

pub(super) struct Branch<'a> {
    pub fleet: &'a Fleet,
    pub watchdog: &'a Watchdog,
    pub stop: &'a Stop,
    pub site: String,
    edge: String,
    port: u16,
    flows: Option<[Flow; 2]>,
    rng: ChaCha8Rng,
}

/// A fault that has begun. Ends when it is dropped, if not before.
pub(super) struct Broken<'a> {
    fleet: &'a Fleet,
    link: String,
    /// CLOCK_MONOTONIC.
    pub ns: u64,
    pub unix_ms: u64,
}

impl<'a> Branch<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        watchdog: &'a Watchdog,
        stop: &'a Stop,
        number: usize,
        seed: u64,
    ) -> Self {
        let site = format!("b{}", number + 1);
        Self {
            fleet,
            watchdog,
            stop,
            edge: format!("{site}-1"),
            site,
            port: 9_000 + number as u16,
            flows: None,
            rng: ChaCha8Rng::seed_from_u64(seed.wrapping_add(number as u64)),
        }
    }

    /// A stream each way, from now on.
    pub(super) fn stream(&mut self) -> Result<(), FleetError> {
        if self.flows.is_none() {
            let (here, there) = (format!("{}-host", self.site), format!("{HUB}-host"));
            let up = Flow::start(self.fleet, &here, &there, self.port, false)?;
            let down = Flow::start(self.fleet, &there, &here, self.port, false)?;
            self.flows = Some([up, down]);
        }
        Ok(())
    }

    pub(super) fn flow(&self, way: Way) -> Result<&Flow, FleetError> {
        let missing = || FleetError::NotRunning { what: format!("the stream of {}", self.site) };
        let flows = self.flows.as_ref().ok_or_else(missing)?;
        Ok(&flows[way as usize])
    }

    /// The agent that chooses the path of this direction, and its peer's name.
    pub(super) fn sender(&self, way: Way) -> Result<(&'a Agent, &str), FleetError> {
        Ok(match way {
            Way::Up => (self.fleet.agent(&self.edge)?, HUB_EDGE),
            Way::Down => (self.fleet.agent(HUB_EDGE)?, &self.edge),
        })
    }

    /// This branch's paths, as the sender of this direction sees them.
    pub(super) fn paths(&self, way: Way) -> Result<Vec<PathView>, FleetError> {
        let (agent, peer) = self.sender(way)?;
        let mut paths = agent.peek_paths()?;
        paths.retain(|path| path.peer_edge == peer);
        Ok(paths)
    }

    /// The branch's uplink that carries this direction.
    pub(super) fn uplink_in_use(&self, way: Way) -> Result<String, FleetError> {
        let mut paths = self.paths(way)?.into_iter();
        let used = paths.find(|path| path.selected_for.iter().any(|name| name == CLASS));
        let none = || FleetError::Unknown { kind: "path in use", name: self.site.clone() };
        Ok(own_uplink(way, used.ok_or_else(none)?))
    }

    /// This direction's decisions after the one with this number, oldest first.
    pub(super) fn decisions(&self, way: Way, after: u64) -> Result<Vec<DecisionView>, FleetError> {
        let (agent, peer) = self.sender(way)?;
        let mut all = agent.peek_why(peer, DECISIONS)?.decisions;
        let of_class = |d: &DecisionView| d.traffic_class == CLASS && d.prefixes.is_empty();
        all.retain(|decision| decision.sequence > after && of_class(decision));
        all.reverse();
        Ok(all)
    }

    /// The number of this direction's newest decision.
    pub(super) fn newest(&self, way: Way) -> Result<u64, FleetError> {
        Ok(self.decisions(way, 0)?.last().map_or(0, |decision| decision.sequence))
    }

    /// Waits until both ends have seen every path meet its SLA for long enough, and the streams flow if there are any.
    pub(super) fn steady(&self) -> Result<(), FleetError> {
        self.until("every path meets its SLA for 5 s", STEADY_LIMIT, MET_FOR, || {
            let mut faulty = Vec::new();
            for way in Way::BOTH {
                let (agent, peer) = self.sender(way)?;
                faulty.extend(steady::faulty(agent, Some(peer))?);
            }
            Ok(faulty.join(", "))
        })?;
        self.flows.iter().flatten().try_for_each(|flow| flow.wait_flowing(FLOW_LIMIT))
    }

    /// As [`steady::until`], at this branch.
    pub(super) fn until(
        &self,
        what: &str,
        limit: Duration,
        lasting: Duration,
        look: impl FnMut() -> Result<String, FleetError>,
    ) -> Result<(), FleetError> {
        steady::until(&format!("{}: {what}", self.site), limit, lasting, self.stop, look)
    }

    /// Begins a fault on the link of an uplink, at a random time within a probe's interval.
    pub(super) fn break_link(
        &mut self,
        uplink: &str,
        fault: &Impairment,
    ) -> Result<Broken<'a>, FleetError> {
        let phase = self.rng.random_range(0..PROBE_INTERVAL_US);
        std::thread::sleep(Duration::from_micros(phase));
        let link = star::link(&self.site, uplink);
        let (ns, unix_ms) = (clock::mono_ns(), clock::real_ns() / 1_000_000);
        self.fleet.lab().impair(&link, fault)?;
        Ok(Broken { fleet: self.fleet, link, ns, unix_ms })
    }
}

impl Broken<'_> {
    /// The link is as it was.
    pub(super) fn mend(self) {
        drop(self);
    }
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        // If it can't be mended the lab is gone, which the next question finds out.
        let _ = self.fleet.lab().reset(&self.link);
    }
}

/// The branch's end of a path.
fn own_uplink(way: Way, path: PathView) -> String {
    match way {
        Way::Up => path.local_uplink,
        Way::Down => path.remote_uplink,
    }
}
