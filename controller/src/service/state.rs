//! The fleet as it stands now: an immutable picture that is swapped as a whole, and watched by
//! every session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hawser_controller_core::{Allocations, Fleet};
use hawser_proto::config::v1::EdgeConfig;
use prost::Message as _;

use super::generation::Generation;
use super::manifest::{self, Desired, DrainRecord, Head, Manifest, Staged};
use crate::store::blob::{self, BlobRef};
use crate::store::{Revision, Store, StoreError};

/// One edge's desired state.
#[derive(Debug)]
pub struct EdgeState {
    pub desired: Desired,
    /// The controller's [own part](own_part).
    pub config: EdgeConfig,
    /// The whole configuration as it is sent and stored.
    pub bytes: Bytes,
}

impl EdgeState {
    /// # Errors
    /// The octets are no configuration.
    pub fn decode(edge: &str, desired: Desired, bytes: Vec<u8>) -> Result<Self, StoreError> {
        let config = own_part(whole(edge, &bytes)?);
        Ok(Self { desired, config, bytes: bytes.into() })
    }
}

/// The whole of an edge's configuration.
///
/// # Errors
/// The octets are no configuration.
pub fn whole(edge: &str, bytes: &[u8]) -> Result<EdgeConfig, StoreError> {
    EdgeConfig::decode(bytes)
        .map_err(|_| StoreError::Garbled { what: format!("configuration of {edge}") })
}

/// What the controller itself looks at in a configuration: all but the lists that every edge has of the whole fleet's
/// prefixes, for they would be the most of its memory.
pub fn own_part(mut config: EdgeConfig) -> EdgeConfig {
    config.routes = Vec::new();
    for tunnel in &mut config.tunnels {
        tunnel.peer_sources = Vec::new();
    }
    config
}

/// One end of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathEndInfo {
    pub edge: String,
    pub uplink_id: u32,
}

/// One path of the fleet, known to both of its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    pub id: u32,
    pub tunnel_id: u32,
    pub family: i32,
    /// The end with the lower edge ID.
    pub a: PathEndInfo,
    pub b: PathEndInfo,
}

#[derive(Debug, Clone)]
pub struct FleetState {
    /// The store's revision of the head that this was read from; 0: nothing was applied yet.
    pub head: Revision,
    pub manifest_blob: Option<BlobRef>,
    pub revision: u64,
    pub floor: Generation,
    /// `None` before the first apply, or if this version can't read the stored document.
    pub fleet: Option<Fleet>,
    /// What this process has compiled every edge's configuration from, once no rollout runs. None: they were read from
    /// the store, and may be of another version.
    pub basis: Option<Arc<Fleet>>,
    pub allocations: Allocations,
    pub edges: BTreeMap<String, Arc<EdgeState>>,
    pub retired: BTreeMap<String, Generation>,
    pub paths: BTreeMap<u32, PathInfo>,
    pub drains: BTreeMap<String, DrainRecord>,
    pub rollout: Option<Arc<Staged>>,
}

impl FleetState {
    pub fn empty() -> Self {
        Self {
            head: 0,
            manifest_blob: None,
            revision: 0,
            floor: Generation::default(),
            fleet: None,
            basis: None,
            allocations: Allocations::default(),
            edges: BTreeMap::new(),
            retired: BTreeMap::new(),
            paths: BTreeMap::new(),
            drains: BTreeMap::new(),
            rollout: None,
        }
    }

    /// Reads what the store's head names.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let Some((head, seen)) = manifest::read_head(store).await? else {
            return Ok(Self::empty());
        };
        let Head { manifest: blob, .. } = head;
        let bytes = blob::read(store, &blob).await?;
        let manifest: Manifest = manifest::decode("manifest", &bytes)?;
        let mut edges = BTreeMap::new();
        for (name, desired) in manifest.edges {
            let bytes = blob::read(store, &desired.config).await?;
            let state = EdgeState::decode(&name, desired, bytes)?;
            edges.insert(name, Arc::new(state));
        }
        let fleet = match manifest::read_revision(store, manifest.revision).await? {
            None => None,
            Some(record) => {
                let document = blob::read(store, &record.document).await?;
                parse_stored(document).await
            }
        };
        Ok(Self {
            head: seen,
            manifest_blob: Some(blob),
            revision: manifest.revision,
            floor: manifest.floor,
            fleet,
            basis: None,
            allocations: manifest.allocations,
            paths: paths_of(&edges),
            edges,
            retired: manifest.retired,
            drains: manifest.drains,
            rollout: manifest.rollout.map(Arc::new),
        })
    }

    pub fn manifest(&self) -> Manifest {
        let desired =
            |(name, edge): (&String, &Arc<EdgeState>)| (name.clone(), edge.desired.clone());
        Manifest {
            revision: self.revision,
            floor: self.floor,
            allocations: self.allocations.clone(),
            edges: self.edges.iter().map(desired).collect(),
            retired: self.retired.clone(),
            drains: self.drains.clone(),
            rollout: self.rollout.as_deref().cloned(),
        }
    }

    /// The rollout that goes on by itself, if one does.
    pub fn running_rollout(&self) -> Option<&Arc<Staged>> {
        self.rollout.as_ref().filter(|staged| staged.machine.runs())
    }

    pub fn edge_by_id(&self, edge_id: u32) -> Option<(&String, &Arc<EdgeState>)> {
        self.edges.iter().find(|(_, e)| e.config.edge_id == edge_id)
    }

    /// Edge IDs that have a tunnel with this edge.
    pub fn neighbours(&self, edge: &str) -> BTreeSet<u32> {
        let tunnels = self.edges.get(edge).map(|e| e.config.tunnels.iter());
        tunnels.into_iter().flatten().map(|t| t.peer_edge_id).collect()
    }

    pub fn site_of(&self, edge: &str) -> String {
        let edge = self.edges.get(edge);
        edge.map_or_else(String::new, |e| e.config.site.clone())
    }

    pub fn sites(&self) -> BTreeSet<&str> {
        self.edges.values().map(|e| e.config.site.as_str()).collect()
    }

    /// Every blob that must not be swept away.
    pub fn named_blobs(&self) -> Vec<BlobRef> {
        let configs = self.edges.values().map(|e| e.desired.config.clone());
        let waiting = self.rollout.iter().flat_map(|staged| staged.targets.values().cloned());
        configs.chain(waiting).chain(self.manifest_blob.clone()).collect()
    }
}

/// Every path of the fleet from what its edges are told, each counted once.
pub fn paths_of(edges: &BTreeMap<String, Arc<EdgeState>>) -> BTreeMap<u32, PathInfo> {
    let mut paths = BTreeMap::new();
    for (name, edge) in edges {
        for tunnel in &edge.config.tunnels {
            for path in &tunnel.paths {
                let here = PathEndInfo { edge: name.clone(), uplink_id: path.local_uplink_id };
                let there = PathEndInfo {
                    edge: tunnel.peer_edge.clone(),
                    uplink_id: path.remote_uplink_id,
                };
                let (a, b) = if edge.config.edge_id < tunnel.peer_edge_id {
                    (here, there)
                } else {
                    (there, here)
                };
                paths.entry(path.id).or_insert(PathInfo {
                    id: path.id,
                    tunnel_id: tunnel.id,
                    family: path.family,
                    a,
                    b,
                });
            }
        }
    }
    paths
}

/// A document that an older version accepted may be refused by this one: the compiled generations
/// still stand.
async fn parse_stored(document: Vec<u8>) -> Option<Fleet> {
    let parsed = tokio::task::spawn_blocking(move || hawser_controller_core::parse(&document));
    match parsed.await {
        Ok(Ok(fleet)) => Some(fleet),
        Ok(Err(faults)) => {
            let faults = faults.len();
            tracing::warn!(faults, "the stored document is not valid in this version");
            None
        }
        Err(error) => {
            tracing::error!(%error, "reading the stored document failed");
            None
        }
    }
}
