//! Runtime facts: where the uplinks of edges can be reached, as far as they have told. Versioned,
//! persisted, sent to the edges that have a tunnel with that edge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use hawser_proto::agent::v1 as agent;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::manifest;
use super::state::FleetState;
use crate::store::{Op, Store, StoreError, Txn};

const PREFIX: &str = "facts/";
/// Endpoints kept of one uplink.
const MAX_ENDPOINTS: usize = 16;

/// One edge's uplinks, as stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct EdgeFacts {
    /// Of all facts together when these were written.
    version: u64,
    uplinks: BTreeMap<u32, Vec<SocketAddr>>,
}

#[derive(Debug)]
pub struct Facts {
    edges: std::sync::Mutex<BTreeMap<String, EdgeFacts>>,
    writing: Mutex<()>,
    version: watch::Sender<u64>,
}

impl Facts {
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let entries = store.range(PREFIX, None, usize::MAX).await?;
        let edges = entries
            .into_iter()
            .map(|e| {
                let facts: EdgeFacts = manifest::decode(&e.key, &e.value)?;
                Ok((e.key[PREFIX.len()..].to_owned(), facts))
            })
            .collect::<Result<BTreeMap<_, _>, StoreError>>()?;
        let newest = edges.values().map(|facts| facts.version).max();
        Ok(Self {
            edges: std::sync::Mutex::new(edges),
            writing: Mutex::new(()),
            version: watch::Sender::new(newest.unwrap_or(0)),
        })
    }

    /// Tells when anything changed.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// This is what is stored of the edge.
    pub fn knows(&self, edge: &str, uplinks: &BTreeMap<u32, Vec<SocketAddr>>) -> bool {
        self.lock().get(edge).is_some_and(|facts| facts.uplinks == *uplinks)
    }

    /// Takes what an edge says of its uplinks; durable before anybody is told.
    pub async fn learn(
        &self,
        store: &dyn Store,
        edge: &str,
        uplinks: BTreeMap<u32, Vec<SocketAddr>>,
    ) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let version = *self.version.borrow() + 1;
        let facts = EdgeFacts { version, uplinks };
        let key = format!("{PREFIX}{edge}");
        let txn = Txn {
            then: vec![Op::put(key.clone(), manifest::encode(&key, &facts)?)],
            ..Txn::default()
        };
        store.txn(txn).await?;
        self.lock().insert(edge.to_owned(), facts);
        self.version.send_replace(version);
        Ok(())
    }

    /// Everything about these edges.
    pub fn full(&self, state: &FleetState, edge_ids: &BTreeSet<u32>) -> agent::Facts {
        let mut facts = self.since(state, edge_ids, 0);
        facts.full = true;
        facts
    }

    /// What became known of these edges after `version`.
    pub fn since(
        &self,
        state: &FleetState,
        edge_ids: &BTreeSet<u32>,
        version: u64,
    ) -> agent::Facts {
        // Read first: what is written meanwhile is then sent once more, and never missed.
        let newest = *self.version.borrow();
        let edges = self.lock();
        let wanted = edges.iter().filter_map(|(name, facts)| {
            let id = state.edges.get(name)?.config.edge_id;
            (facts.version > version && edge_ids.contains(&id)).then_some((id, facts))
        });
        let endpoints = wanted
            .flat_map(|(edge_id, facts)| {
                facts.uplinks.iter().map(move |(&uplink_id, endpoints)| {
                    let endpoints = endpoints.iter().map(SocketAddr::to_string).collect();
                    agent::PeerEndpoint { edge_id, uplink_id, endpoints }
                })
            })
            .collect();
        agent::Facts { version: newest, full: false, endpoints }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, EdgeFacts>> {
        self.edges.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Where peers may try to reach an uplink: public endpoints first, then its own addresses with the
/// fabric port.
pub fn candidates(fact: &agent::UplinkFact, fabric_port: u16) -> Vec<SocketAddr> {
    let public = fact.public_endpoints.iter().filter_map(|e| e.parse().ok());
    let own = fact.addresses.iter().filter_map(|address| {
        let address = address.split('/').next()?.parse().ok()?;
        Some(SocketAddr::new(address, fabric_port))
    });
    let mut endpoints = Vec::new();
    for endpoint in public.chain(own) {
        if reachable(endpoint) && !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    endpoints.truncate(MAX_ENDPOINTS);
    endpoints
}

fn reachable(endpoint: SocketAddr) -> bool {
    let ip = endpoint.ip();
    let local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    endpoint.port() != 0
        && !local
        && !ip.is_loopback()
        && !ip.is_unspecified()
        && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_a_peer_could_reach_are_candidates_public_ones_first() {
        let fact = agent::UplinkFact {
            addresses: [
                "10.0.0.2/24",
                "fe80::1/64",
                "127.0.0.1",
                "2001:db8::5/64",
                "nonsense",
                "10.0.0.2",
            ]
            .map(String::from)
            .to_vec(),
            public_endpoints: vec!["198.51.100.7:61000".into(), "0.0.0.0:1".into()],
            ..Default::default()
        };
        let found: Vec<String> =
            candidates(&fact, 4510).iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["198.51.100.7:61000", "10.0.0.2:4510", "[2001:db8::5]:4510"]);
    }
}
