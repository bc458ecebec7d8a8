//! What people are told of reachability: decisions, and events at a bounded rate.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::NextHopDecision;
use super::decision::listed;
use super::machine::{Output, Reach, ReachEvent};
use super::words::Told;
use crate::id::TunnelId;
use crate::time::Micros;

impl Reach {
    pub(super) fn report_decision(&mut self, decision: NextHopDecision, now: Micros) {
        if decision.from.is_some() {
            let subject = listed(decision.prefixes.iter());
            self.event("NEXT_HOP_MOVED", subject, decision.summary.clone(), now);
        }
        self.outputs.push_back(Output::Decision(Box::new(decision)));
    }

    /// A peer said something else than before.
    pub(super) fn report_word(&mut self, tunnel: TunnelId, before: &Told, now: Micros) {
        let Some(hop) = self.hops.get(&tunnel) else { return };
        let Some(after) = self.words.get(&hop.edge).and_then(|words| words.told.as_ref()) else {
            return;
        };
        let (name, drained) = (hop.name.clone(), after.drained);
        let ours = self.routes.iter().filter(|(_, next_hops)| next_hops.contains(&tunnel));
        let (mut lost, mut back): (Vec<IpNet>, Vec<IpNet>) = (Vec::new(), Vec::new());
        for (prefix, _) in ours {
            match (before.ways.contains_key(prefix), after.ways.contains_key(prefix)) {
                (true, false) => lost.push(prefix.1),
                (false, true) => back.push(prefix.1),
                _ => {}
            }
        }
        if !lost.is_empty() {
            let message = format!("{} can't be reached through it any more", listed(lost.iter()));
            self.event("PREFIX_WITHDRAWN", name.clone(), message, now);
        }
        if !back.is_empty() {
            let message = format!("{} can be reached through it again", listed(back.iter()));
            self.event("PREFIX_ADVERTISED", name.clone(), message, now);
        }
        if before.drained != drained {
            let (code, message) = match drained {
                true => ("NEXT_HOP_DRAINED", "it is drained: it is taken last from now on"),
                false => ("NEXT_HOP_UNDRAINED", "it is drained no more"),
            };
            self.event(code, name, message.to_owned(), now);
        }
    }

    /// LANs lost their link, or have it again.
    pub(super) fn report_lans(&mut self, before: &BTreeSet<String>, now: Micros) {
        let changed: Vec<String> = before.symmetric_difference(&self.dark).cloned().collect();
        for device in changed {
            let own = self.lans.iter().filter(|(on, _)| *on == device);
            let prefixes: Vec<IpNet> = own.map(|(_, prefix)| prefix.1).collect();
            if prefixes.is_empty() {
                continue;
            }
            let (code, what) = match self.dark.contains(&device) {
                true => ("LAN_DOWN", "is withdrawn: the interface has no link"),
                false => ("LAN_UP", "is advertised again"),
            };
            self.event(code, device, format!("{} {what}", listed(prefixes.iter())), now);
        }
    }

    pub(super) fn event(
        &mut self,
        code: &'static str,
        subject: String,
        message: String,
        now: Micros,
    ) {
        if !self.events.take(now) {
            return self.count("reachability_events_dropped");
        }
        self.outputs.push_back(Output::Event(ReachEvent { code, subject, message }));
    }

    pub(super) fn count(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }
}
