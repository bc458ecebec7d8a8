//! What agents tell: samples, decisions, events and facts about themselves.

use std::collections::BTreeMap;

use hawser_proto::agent::v1 as agent;
use hawser_proto::operator::v1::Event;

use super::events::event;
use super::index::{Sample, decisions_of_each};
use super::{Controller, ServiceError, bounds, explanations, facts};
use crate::clock::now_unix_ms;

/// How much of an edge's uplinks a message covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uplinks {
    All,
    /// Those that are named; public endpoints that are left out are as they were.
    Some,
}

impl Controller {
    /// Keeps the newest sample of each path that is the edge's own.
    pub(super) async fn take_telemetry(
        &self,
        edge: &str,
        telemetry: agent::Telemetry,
    ) -> Result<(), ServiceError> {
        let state = self.state();
        let now = now_unix_ms();
        let offered = telemetry.paths.len() as u64;
        let own = |id: u32| {
            let path = state.paths.get(&id);
            path.is_some_and(|p| p.a.edge == edge || p.b.edge == edge)
        };
        let samples: Vec<agent::PathSample> = telemetry
            .paths
            .into_iter()
            .filter(|sample| own(sample.path_id))
            .take(bounds::MAX_PATHS_PER_SAMPLE)
            .map(|mut sample| {
                bounds::sample(&mut sample);
                sample
            })
            .collect();
        self.counters.add("samples_dropped", offered - samples.len() as u64);
        self.hear_samples(edge, &samples);
        self.sla_watch.hear(&state, edge, &samples, now);
        self.note_trends(&state, edge, &samples, now);
        let explanations = self.bounded(telemetry.explanations, telemetry.unix_ms, now);
        let explanation_bytes = explanations::share_of(state.edges.len());
        let counters: BTreeMap<String, u64> = telemetry
            .counters
            .into_iter()
            .take(bounds::MAX_COUNTERS)
            .map(|(mut name, count)| {
                bounds::text(&mut name);
                (name, count)
            })
            .collect();
        self.hear_counters(edge, &counters);
        self.index.with(edge, |live| {
            live.last_seen_unix_ms = now;
            live.counters = counters;
            live.samples.retain(|&id, _| own(id));
            for sample in samples {
                let sample = Sample { sample, received_unix_ms: now };
                live.samples.insert(sample.sample.path_id, sample);
            }
            for explanation in explanations {
                live.explanations.push(explanation, explanation_bytes);
            }
        });
        self.take_ike(edge, telemetry.ike_tunnels, now);
        self.take_uplinks(edge, telemetry.uplinks, Uplinks::Some).await
    }

    /// What is kept of an edge's explanations, with the edge's own time: its decisions have that too.
    fn bounded(
        &self,
        mut told: Vec<agent::Explanation>,
        unix_ms: u64,
        now: u64,
    ) -> Vec<agent::Explanation> {
        let dropped = told.len().saturating_sub(bounds::MAX_EXPLANATIONS_PER_SAMPLE);
        self.counters.add("explanations_dropped", dropped as u64);
        told.truncate(bounds::MAX_EXPLANATIONS_PER_SAMPLE);
        for explanation in &mut told {
            bounds::explanation(explanation);
            let told = [explanation.unix_ms, unix_ms, now];
            explanation.unix_ms = told.into_iter().find(|at| *at > 0).unwrap_or(now);
        }
        told
    }

    /// Keeps what an edge says of its uplinks, and tells its neighbours where they can be reached.
    pub(super) async fn take_uplinks(
        &self,
        edge: &str,
        mut told: Vec<agent::UplinkFact>,
        which: Uplinks,
    ) -> Result<(), ServiceError> {
        let state = self.state();
        let Some(desired) = state.edges.get(edge) else {
            return Ok(());
        };
        let own = |id: u32| desired.config.uplinks.iter().any(|u| u.id == id);
        let offered = told.len() as u64;
        told.retain(|fact| own(fact.uplink_id));
        told.truncate(bounds::MAX_UPLINKS);
        self.counters.add("uplink_facts_dropped", offered - told.len() as u64);
        told.iter_mut().for_each(bounds::uplink);
        let port = u16::try_from(desired.config.fabric_port).unwrap_or(0);
        let now = now_unix_ms();
        let (known, allowed) = self.index.with(edge, |live| {
            live.uplinks.retain(|fact| own(fact.uplink_id));
            match which {
                Uplinks::All => live.uplinks = told,
                Uplinks::Some => merge(&mut live.uplinks, told),
            }
            let candidates =
                |fact: &agent::UplinkFact| (fact.uplink_id, facts::candidates(fact, port));
            let known: BTreeMap<_, _> = live.uplinks.iter().map(candidates).collect();
            // Nothing said yet since this controller's start: what is stored stands.
            let news = !known.is_empty() && !self.facts.knows(edge, &known);
            (known, news.then(|| live.facts.take(now)))
        });
        match allowed {
            None => {}
            Some(true) => self.facts.learn(self.store.as_ref(), edge, known).await?,
            // It is looked at again with the next telemetry.
            Some(false) => self.counters.add("facts_rate_limited", 1),
        }
        Ok(())
    }

    /// Keeps decisions that are new; returns what to acknowledge.
    pub(super) fn take_decisions(
        &self,
        edge: &str,
        decisions: Vec<agent::Decision>,
    ) -> Option<agent::DecisionsAck> {
        let state = self.state();
        let (site, most) = (state.site_of(edge), decisions_of_each(state.edges.len()));
        let dropped = decisions.len().saturating_sub(bounds::MAX_DECISIONS_PER_MESSAGE);
        self.counters.add("decisions_dropped", dropped as u64);
        let mut ack = None;
        for mut decision in decisions.into_iter().take(bounds::MAX_DECISIONS_PER_MESSAGE) {
            // The certificate says who decides, whatever the message says.
            edge.clone_into(&mut decision.edge);
            bounds::decision(&mut decision);
            ack = Some(agent::DecisionsAck {
                boot_id: decision.boot_id.clone(),
                sequence: decision.sequence,
            });
            let new = self.index.with(edge, |live| live.take_decision(decision.clone(), most));
            if new {
                self.hear_decision(edge, &decision);
                if !self.metrics.decided(edge, &decision) {
                    self.counters.add("moves_uncounted", 1);
                }
                self.publish_limited(Event {
                    unix_ms: decision.unix_ms,
                    decision: Some(decision.clone()),
                    ..event("DECISION", &site, edge, decision.summary.clone())
                });
            } else {
                self.counters.add("decisions_repeated", 1);
            }
        }
        ack
    }

    pub(super) fn take_events(&self, edge: &str, events: Vec<agent::AgentEvent>) {
        let site = self.state().site_of(edge);
        let dropped = events.len().saturating_sub(bounds::MAX_EVENTS_PER_MESSAGE);
        self.counters.add("agent_events_dropped", dropped as u64);
        for mut told in events.into_iter().take(bounds::MAX_EVENTS_PER_MESSAGE) {
            if !bounds::agent_event(&mut told) {
                self.counters.add("agent_events_dropped", 1);
                continue;
            }
            let message = if told.subject.is_empty() {
                told.message
            } else {
                format!("{}: {}", told.subject, told.message)
            };
            self.publish_limited(Event {
                unix_ms: told.unix_ms,
                ..event(&told.code, &site, edge, message)
            });
        }
    }

    /// One edge must not push everybody else's events out of the ring.
    pub(super) fn publish_limited(&self, event: Event) {
        let now = now_unix_ms();
        if self.index.with(&event.edge, |live| live.events.take(now)) {
            self.events.publish(event);
        } else {
            self.counters.add("events_rate_limited", 1);
        }
    }
}

fn merge(known: &mut Vec<agent::UplinkFact>, told: Vec<agent::UplinkFact>) {
    for mut fact in told {
        match known.iter_mut().find(|k| k.uplink_id == fact.uplink_id) {
            None => known.push(fact),
            Some(before) => {
                if fact.public_endpoints.is_empty() {
                    fact.public_endpoints = std::mem::take(&mut before.public_endpoints);
                }
                *before = fact;
            }
        }
    }
}
