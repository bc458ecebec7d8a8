//! Streams of traffic over a fault: what was lost, and for how long nothing came.

use super::fabric::SOON;
use crate::clock;
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError, Flow, Guards};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// What is not healed within this is wrong; the emulated processors are slow.
const HEAL: Duration = Duration::from_secs(60);
/// Several streams at once are more than these processors carry at the usual rate.
const PACKETS_PER_S: u32 = 25;
/// What arrives later counts as lost.
const LATE: Duration = Duration::from_secs(2);
/// The search for the marker must have found so many where they belong.
const MARKERS_AT_LEAST: u64 = 200;

pub(super) struct Streams<'a> {
    fleet: &'a Fleet,
    flows: Vec<Flow>,
    guards: Guards,
}

impl<'a> Streams<'a> {
    /// From host to host, with watchers on every WAN link and, for the control, on the LAN of the first.
    pub(super) fn start(
        fleet: &'a Fleet,
        hosts: &[(&str, &str, bool)],
    ) -> Result<Self, FleetError> {
        let guards = Guards::start(fleet, hosts.first().map_or("", |(from, ..)| from))?;
        let mut streams = Self { fleet, flows: Vec::new(), guards };
        for (from, to, ipv6) in hosts {
            streams.add(from, to, fleet.host_address(to, *ipv6)?)?;
        }
        Ok(streams)
    }

    /// One more, to an address that the topology does not tell; it flows.
    pub(super) fn add(
        &mut self,
        from: &str,
        to: &str,
        address: std::net::IpAddr,
    ) -> Result<(), FleetError> {
        let at = SocketAddr::new(address, 7_001 + self.flows.len() as u16);
        let flow = Flow::at_rate(self.fleet, from, (to, at), PACKETS_PER_S)?;
        flow.wait_flowing(SOON)?;
        self.flows.push(flow);
        Ok(())
    }

    /// The figures of each stream from just before `fault` until `healed` says so and all flow again.
    pub(super) fn over(
        &self,
        what: &str,
        fault: impl FnOnce() -> Result<(), FleetError>,
        healed: impl FnMut() -> Result<Look<()>, FleetError>,
    ) -> Result<Value, FleetError> {
        for flow in &self.flows {
            flow.wait_flowing(SOON)?;
        }
        let from = self.flows.iter().map(Flow::sent).collect::<Result<Vec<u64>, _>>()?;
        let began_ns = clock::mono_ns();
        fault()?;
        wait::until(&format!("{what}: what was known is learned anew"), HEAL, healed)?;
        let healed_ms = (clock::mono_ns() - began_ns) as f64 / 1e6;
        let mut told = serde_json::Map::new();
        for (flow, from) in self.flows.iter().zip(from) {
            let name = format!("{} to {}", flow.from, flow.to);
            let silence = flow.silence_after(began_ns, HEAL)?;
            let silence_ms = silence.ok_or_else(|| FleetError::NotInTime {
                what: format!("{what}: the stream from {name} heals"),
                limit: HEAL,
                last: "it is silent".to_owned(),
            })?;
            let to = flow.sent()?;
            std::thread::sleep(LATE);
            let lost = flow.loss(from, to)?.lost;
            told.insert(name, json!({"lost": lost, "of": to - from, "gap_ms": silence_ms.round()}));
        }
        told.insert("healed_ms".to_owned(), json!(healed_ms.round()));
        Ok(Value::Object(told))
    }

    /// Packets of all streams so far.
    pub(super) fn sent(&self) -> Result<u64, FleetError> {
        self.flows.iter().map(Flow::sent).sum()
    }

    /// Nothing was seen in clear.
    pub(super) fn none_in_clear(&self) -> Result<Value, FleetError> {
        let seen = self.guards.look()?;
        assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
        assert!(seen.on_lan > MARKERS_AT_LEAST, "the search finds what it looks for: {seen:?}");
        Ok(json!({"marked_on_wan": seen.on_wan, "marked_on_lan": seen.on_lan}))
    }
}
