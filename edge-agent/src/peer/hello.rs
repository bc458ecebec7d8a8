//! The first message of both ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hawser_edge_core::id::{EdgeId, PathId, Spi, UplinkId};
use hawser_edge_core::keys::SpiPair;
use hawser_proto::peer::v1::{PathSpis, PeerHello, UplinkEndpoints};

use super::api::{HelloFacts, MAX_PATHS, PeerSettings};

/// The protocol's version.
const VERSION: u32 = 1;
/// Uplinks of one edge that are taken from a hello.
const MAX_UPLINKS: usize = 64;
/// Endpoints of one uplink that are taken from a hello.
const MAX_ENDPOINTS: usize = 8;
/// The longest boot ID.
const MAX_BOOT_ID_BYTES: usize = 64;

/// What this edge says.
pub(super) fn compose(
    settings: &PeerSettings,
    facts: &HelloFacts,
    keyed: &BTreeMap<PathId, SpiPair>,
    revocations: u64,
) -> PeerHello {
    PeerHello {
        version: VERSION,
        fleet: settings.fleet.clone(),
        edge: settings.edge_name.clone(),
        edge_id: settings.edge.0,
        uplink_mtu_bytes: facts.uplink_mtu_bytes.iter().map(|(id, mtu)| (id.0, *mtu)).collect(),
        boot_id: settings.boot_id.clone(),
        revocations,
        keyed: keyed
            .iter()
            .map(|(path, pair)| PathSpis {
                path_id: path.0,
                inbound_spi: pair.ours.0,
                outbound_spi: pair.theirs.0,
            })
            .collect(),
        endpoints: facts
            .endpoints
            .iter()
            .map(|(id, endpoints)| UplinkEndpoints {
                uplink_id: id.0,
                endpoints: endpoints.iter().map(SocketAddr::to_string).collect(),
            })
            .collect(),
    }
}

/// What is wrong with a peer's hello.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloFault {
    /// Another protocol.
    #[error("protocol version {0}, this is {VERSION}")]
    Version(u32),
    /// Its names differ from those of its certificate.
    #[error("it says {said}, its certificate {certified}")]
    Name {
        /// In the hello.
        said: String,
        /// In the certificate.
        certified: String,
    },
    /// Its number differs from the configured one.
    #[error("its edge ID is {said}, {known} is configured")]
    EdgeId {
        /// In the hello.
        said: u32,
        /// In the generation.
        known: EdgeId,
    },
    /// It has no usable boot ID.
    #[error("its boot ID has {0} octets: 1 to {MAX_BOOT_ID_BYTES} are taken")]
    BootId(usize),
}

/// Who the peer must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) fleet: &'a str,
    pub(super) edge_name: &'a str,
    pub(super) edge: EdgeId,
}

/// Checks a hello against certificate and configuration.
pub(super) fn check(hello: &PeerHello, expected: Expected<'_>) -> Result<(), HelloFault> {
    if hello.version != VERSION {
        return Err(HelloFault::Version(hello.version));
    }
    if (hello.fleet.as_str(), hello.edge.as_str()) != (expected.fleet, expected.edge_name) {
        let short = |text: &str| text.chars().take(64).collect::<String>();
        return Err(HelloFault::Name {
            said: format!("{}/{}", short(&hello.fleet), short(&hello.edge)),
            certified: format!("{}/{}", expected.fleet, expected.edge_name),
        });
    }
    if hello.edge_id != expected.edge.0 {
        return Err(HelloFault::EdgeId { said: hello.edge_id, known: expected.edge });
    }
    if hello.boot_id.is_empty() || hello.boot_id.len() > MAX_BOOT_ID_BYTES {
        return Err(HelloFault::BootId(hello.boot_id.len()));
    }
    Ok(())
}

/// What a checked hello says of the paths' keys, as this edge sees it.
pub(super) fn pairs(hello: &PeerHello) -> BTreeMap<PathId, SpiPair> {
    let keyed = hello.keyed.iter().take(MAX_PATHS);
    keyed
        .map(|path| {
            let pair = SpiPair { ours: Spi(path.inbound_spi), theirs: Spi(path.outbound_spi) };
            (PathId(path.path_id), pair.reversed())
        })
        .collect()
}

/// What a checked hello says of the peer's uplinks; what can't be read is left out.
pub(super) fn facts(hello: &PeerHello) -> HelloFacts {
    let mtus = hello.uplink_mtu_bytes.iter().take(MAX_UPLINKS);
    let mut endpoints: BTreeMap<UplinkId, Vec<SocketAddr>> = BTreeMap::new();
    for uplink in hello.endpoints.iter().take(MAX_UPLINKS) {
        let parsed = uplink.endpoints.iter().take(MAX_ENDPOINTS).filter_map(|e| e.parse().ok());
        endpoints.insert(UplinkId(uplink.uplink_id), parsed.collect());
    }
    HelloFacts {
        uplink_mtu_bytes: mtus.map(|(id, mtu)| (UplinkId(*id), *mtu)).collect(),
        endpoints,
    }
}
