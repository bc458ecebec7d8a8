//! How big a fleet may be. What is beyond is a fault, never a truncation.

/// Bytes of a document.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// Levels of nesting; the deepest field that exists is at level 8.
pub(crate) const MAX_DEPTH: usize = 32;
/// Scalars, lists and mappings of a document, after aliases are followed.
pub(crate) const MAX_NODES: usize = 2_000_000;
/// Nodes that following aliases may add: stops documents that multiply themselves.
pub(crate) const MAX_ALIASED_NODES: usize = 100_000;
/// Faults in one answer, so that it fits in a message.
pub(crate) const MAX_FAULTS: usize = 2_000;
/// Searches for what was meant, in one document.
pub(crate) const MAX_SUGGESTIONS: u32 = 100;

pub(crate) const MAX_SITES: usize = 10_000;
pub(crate) const MAX_EDGES_PER_SITE: usize = 8;
pub(crate) const MAX_UPLINKS_PER_EDGE: usize = 16;
pub(crate) const MAX_ADDRESSES_PER_UPLINK: usize = 16;
pub(crate) const MAX_IKE_TUNNELS_PER_EDGE: usize = 64;
/// Each may be a device and a thread at the edge.
pub(crate) const MAX_MANUAL_TUNNELS_PER_EDGE: usize = 16;
pub(crate) const MAX_PEER_ADDRESSES: usize = 8;
/// Of one tunnel: an uplink and an address of the gateway each.
pub(crate) const MAX_IKE_LINKS: usize = 16;
pub(crate) const MAX_DH_GROUPS: usize = 8;
/// Each pair of a local and a remote one may be an association of its own.
pub(crate) const MAX_IKE_PREFIXES: usize = 16;
pub(crate) const MAX_LANS_PER_SITE: usize = 256;
pub(crate) const MAX_PREFIXES_PER_LAN: usize = 1_024;
/// LAN prefixes of the fleet: each edge lists those of its segments.
pub(crate) const MAX_PREFIXES: usize = 100_000;
/// The segment ID has 8 bits and 0 is taken.
pub(crate) const MAX_SEGMENTS: usize = 255;
pub(crate) const MAX_CLASSES: usize = 64;
pub(crate) const MAX_MATCHES_PER_CLASS: usize = 64;
pub(crate) const MAX_VALUES_PER_MATCH: usize = 256;
pub(crate) const MAX_PROFILES: usize = 64;
pub(crate) const MAX_TRANSPORT_PAIRS: usize = 256;
pub(crate) const MAX_CONTROLLERS: usize = 16;
pub(crate) const MAX_TOPOLOGIES: usize = 256;
pub(crate) const MAX_HUBS_PER_TOPOLOGY: usize = 64;
/// Hubs of the fleet: each keeps its distance to every site.
pub(crate) const MAX_HUBS: usize = 256;
pub(crate) const MAX_PAIRS_PER_TOPOLOGY: usize = 100_000;
pub(crate) const MAX_TUNNELS: usize = 250_000;
pub(crate) const MAX_PATHS: usize = 1_000_000;
