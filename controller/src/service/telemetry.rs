//! What agents tell: samples, decisions, events and facts about themselves.

use std::collections::BTreeMap;

use hawser_proto::agent::v1 as agent;
use hawser_proto::operator::v1::Event;

use super::events::event;
use super::index::Sample;
use super::{Controller, ServiceError, bounds, facts};
use crate::clock::now_unix_ms;

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
        let counters = telemetry
            .counters
            .into_iter()
            .take(bounds::MAX_COUNTERS)
            .map(|(mut name, count)| {
                bounds::text(&mut name);
                (name, count)
            })
            .collect();
        self.index.with(edge, |live| {
            live.last_seen_unix_ms = now;
            live.counters = counters;
            live.samples.retain(|&id, _| own(id));
            for sample in samples {
                let sample = Sample { sample, received_unix_ms: now };
                live.samples.insert(sample.sample.path_id, sample);
            }
        });
        if telemetry.uplinks.is_empty() {
            return Ok(());
        }
        self.take_uplinks(edge, telemetry.uplinks).await
    }

    /// Keeps what an edge says of its uplinks, and tells its neighbours where they can be reached.
    pub(super) async fn take_uplinks(
        &self,
        edge: &str,
        mut uplinks: Vec<agent::UplinkFact>,
    ) -> Result<(), ServiceError> {
        let state = self.state();
        let Some(desired) = state.edges.get(edge) else {
            return Ok(());
        };
        let config = &desired.config;
        let offered = uplinks.len() as u64;
        uplinks.retain(|fact| config.uplinks.iter().any(|u| u.id == fact.uplink_id));
        uplinks.truncate(bounds::MAX_UPLINKS);
        self.counters.add("uplink_facts_dropped", offered - uplinks.len() as u64);
        uplinks.iter_mut().for_each(bounds::uplink);
        let port = u16::try_from(config.fabric_port).unwrap_or(0);
        let known: BTreeMap<u32, _> =
            uplinks.iter().map(|fact| (fact.uplink_id, facts::candidates(fact, port))).collect();
        self.index.with(edge, |live| live.uplinks = uplinks);
        self.facts.learn(self.store.as_ref(), edge, known).await?;
        Ok(())
    }

    /// Keeps decisions that are new; returns what to acknowledge.
    pub(super) fn take_decisions(
        &self,
        edge: &str,
        decisions: Vec<agent::Decision>,
    ) -> Option<agent::DecisionsAck> {
        let site = self.state().site_of(edge);
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
            let new = self.index.with(edge, |live| live.take_decision(decision.clone()));
            if new {
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
