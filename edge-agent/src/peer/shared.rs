//! What all peers' actors, dials and accepted connections share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hawser_edge_core::id::{EdgeId, PathId};
use hawser_edge_core::keys::{ConnectionNo, SpiPair};
use hawser_edge_core::time::Micros;
use hawser_proto::peer::v1::PeerHello;
use quinn::{ClientConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::api::{HelloFacts, PeerEvent, PeerSettings, PeerTimers};
use super::connection_id::IssuedIds;
use super::hello;
use super::identity::{Identity, IdentityError};
use super::long_header::QUIC_V1;
use super::routes::PeerRoutes;
use super::socket::{FabricSocket, SocketCounters};
use super::spi::SpiPool;
use super::tls::{self, Revocations};

/// See the module.
pub(super) struct Shared {
    pub(super) settings: PeerSettings,
    pub(super) endpoint: quinn::Endpoint,
    pub(super) routes: Arc<PeerRoutes>,
    pub(super) events: mpsc::Sender<PeerEvent>,
    pub(super) hello: watch::Receiver<Arc<HelloFacts>>,
    pub(super) revoked: Revocations,
    pub(super) client: ArcSwap<ClientConfig>,
    /// Serials of the CAs that our own certificate is of.
    pub(super) own_authorities: ArcSwap<Vec<Vec<u8>>>,
    pub(super) spis: SpiPool,
    pub(super) keyed: KeyedPaths,
    pub(super) counts: Arc<Counts>,
    pub(super) next_connection: AtomicU64,
    pub(super) started: Instant,
}

impl Shared {
    /// Microseconds since the start.
    pub(super) fn now(&self) -> Micros {
        Micros(self.started.elapsed().as_micros() as u64)
    }

    /// When that will be.
    pub(super) fn at(&self, time: Micros) -> Instant {
        self.started + Duration::from_micros(time.0)
    }

    /// Counted from 1, never again.
    pub(super) fn connection_no(&self) -> ConnectionNo {
        ConnectionNo(self.next_connection.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Our hello to that peer, as of now.
    pub(super) fn own_hello(&self, peer: EdgeId) -> PeerHello {
        let list = self.revoked.borrow().number();
        hello::compose(&self.settings, &self.hello.borrow(), &self.keyed.of(peer), list)
    }

    /// A renewed identity, for the next connections.
    pub(super) fn renew(&self, identity: &Identity) -> Result<(), IdentityError> {
        let (client, server) = configs(identity, &self.settings, &self.revoked)?;
        self.client.store(Arc::new(client));
        self.own_authorities.store(Arc::new(identity.authorities()));
        self.endpoint.set_server_config(Some(server));
        Ok(())
    }

    /// Tells the engine; waits while it is behind.
    pub(super) async fn tell(&self, event: PeerEvent) {
        // The engine is gone: nobody needs to know.
        let _ = self.events.send(event).await;
    }
}

/// What the paths to each peer are keyed with; its actor says so.
#[derive(Debug, Default)]
pub(super) struct KeyedPaths(Mutex<BTreeMap<EdgeId, BTreeMap<PathId, SpiPair>>>);

impl KeyedPaths {
    pub(super) fn set(&self, peer: EdgeId, pairs: BTreeMap<PathId, SpiPair>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.is_empty() {
            all.remove(&peer);
        } else {
            all.insert(peer, pairs);
        }
    }

    fn of(&self, peer: EdgeId) -> BTreeMap<PathId, SpiPair> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&peer).cloned().unwrap_or_default()
    }
}

/// What the peer connections have counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Of the socket.
    pub socket: SocketCounters,
    /// First packets that were answered with a Retry.
    pub handshakes_retried: u64,
    /// First packets that were ignored: too many of one source, or at all.
    pub handshakes_ignored: u64,
    /// Handshakes that failed or were refused.
    pub handshakes_refused: u64,
    /// Messages about keys that came late, twice or out of step.
    pub messages_ignored: u64,
    /// Refusals that were not told to the engine, to bound the events.
    pub events_suppressed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) retried: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) messages_ignored: AtomicU64,
    pub(super) events_suppressed: AtomicU64,
}

impl Counts {
    pub(super) fn read(&self, socket: &FabricSocket) -> PeerCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PeerCounters {
            socket: socket.counters(),
            handshakes_retried: read(&self.retried),
            handshakes_ignored: read(&self.ignored),
            handshakes_refused: read(&self.refused),
            messages_ignored: read(&self.messages_ignored),
            events_suppressed: read(&self.events_suppressed),
        }
    }
}

/// One more.
pub(super) fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// quinn's configurations of both roles.
pub(super) fn configs(
    identity: &Identity,
    settings: &PeerSettings,
    revoked: &Revocations,
) -> Result<(ClientConfig, ServerConfig), IdentityError> {
    let clock: Arc<dyn TimeProvider> = Arc::new(DefaultTimeProvider);
    let tls = tls::configs(identity, &settings.fleet, revoked, &clock)?;
    let transport = Arc::new(transport(&settings.timers));
    let mut client = ClientConfig::new(tls.client);
    client.transport_config(transport.clone());
    client.version(QUIC_V1);
    let mut server = ServerConfig::with_crypto(tls.server);
    server.transport_config(transport);
    // An accepted connection glides from its provisional to its peer's address, and follows a client behind NAT.
    server.migration(true);
    server.max_incoming(256);
    server.incoming_buffer_size(32 * 1024);
    server.incoming_buffer_size_total(1024 * 1024);
    // Tokens for later connections are bound to an address: ours are virtual.
    server.validation_token_config(no_tokens());
    Ok((client, server))
}

fn no_tokens() -> quinn::ValidationTokenConfig {
    let mut tokens = quinn::ValidationTokenConfig::default();
    tokens.sent(0);
    tokens
}

/// A control stream for small messages: nothing here needs speed.
fn transport(timers: &PeerTimers) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(timers.idle).unwrap_or(VarInt::MAX.into());
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(timers.keep_alive))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(128 * 1024))
        .receive_window(VarInt::from_u32(256 * 1024))
        .send_window(256 * 1024)
        // A lost first packet is sent again after three times this.
        .initial_rtt(Duration::from_millis(100))
        // A connection moves between paths of different MTU, unknown to quinn: it stays at what fits into all, 1200
        // octets and at most 52 of marker, UDP and IP, below IPv6's 1280 (RFC 8200 section 5).
        .mtu_discovery_config(None)
        .enable_segmentation_offload(false);
    transport
}

/// Of the one endpoint: our own connection IDs, QUIC version 1, nothing longer than a link's 1500 octets less IPv4 and UDP
/// headers and the marker.
pub(super) fn endpoint_config(ids: IssuedIds) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.cid_generator(move || Box::new(ids.clone()));
    config.supported_versions(vec![QUIC_V1]);
    config
        .max_udp_payload_size(1500 - 28 - 4)
        .expect("within RFC 9000 section 18.2's 1200 to 65527");
    config
}
