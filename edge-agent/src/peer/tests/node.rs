//! One edge of a test: the peer connections as the engine starts them, and an engine that installs what it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hawser_edge_core::id::{EdgeId, PathId, Spi, TunnelId, UplinkId};
use hawser_edge_core::keys::{KeySuite, Lanes};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::authority::Authority;
use super::net::Net;
use crate::dataplane::KeyMaterial;
use crate::peer::{
    HelloFacts, Identity, PathKeying, PeerConfig, PeerEvent, PeerHandle, PeerRoutes, PeerSettings,
    PeerTimers, RevokedSerials, start,
};

/// What the node's engine has seen and installed.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) inbound: BTreeMap<Spi, (PathId, Vec<u8>)>,
    pub(super) outbound: BTreeMap<PathId, (Spi, Vec<u8>)>,
    /// Of the newest SAs of a path, in and out: the keys of its further lanes.
    pub(super) further: BTreeMap<PathId, [Vec<Vec<u8>>; 2]>,
    pub(super) rekeyed: BTreeMap<PathId, Vec<(u64, bool)>>,
    pub(super) keys: BTreeSet<Vec<u8>>,
    /// Everything else, in words.
    pub(super) log: Vec<String>,
}

/// See the module.
pub(super) struct Node {
    pub(super) id: u32,
    pub(super) net: Arc<Net>,
    pub(super) routes: Arc<PeerRoutes>,
    pub(super) handle: Option<PeerHandle>,
    pub(super) revoked: watch::Sender<Arc<RevokedSerials>>,
    pub(super) seen: Arc<Mutex<Seen>>,
}

pub(super) fn name(id: u32) -> String {
    format!("edge-{id}")
}

pub(super) fn keying() -> PathKeying {
    PathKeying {
        suite: KeySuite::Aes128Gcm,
        esn: true,
        replay_window_packets: 1024,
        rekey_after_bytes: 0,
    }
}

/// A tunnel with paths of these IDs.
pub(super) fn peer(id: u32, paths: &[u32]) -> PeerConfig {
    PeerConfig {
        edge: EdgeId(id),
        edge_name: name(id),
        tunnel: TunnelId(1000 + id),
        rekey_after: Duration::from_secs(3600),
        known_key: None,
        paths: paths.iter().map(|path| (PathId(*path), keying())).collect(),
        kept: BTreeMap::new(),
        former: BTreeMap::new(),
        departing: BTreeSet::new(),
    }
}

pub(super) fn timers() -> PeerTimers {
    PeerTimers {
        keep_alive: Duration::from_millis(100),
        idle: Duration::from_secs(3),
        retry_max: Duration::from_millis(800),
        handover: Duration::from_secs(2),
        ..PeerTimers::default()
    }
}

impl Node {
    pub(super) fn new(ca: &Authority, id: u32, uplinks: &[u32]) -> Node {
        Node::with(ca, id, uplinks, ca.identity(&name(id)))
    }

    pub(super) fn with(ca: &Authority, id: u32, uplinks: &[u32], identity: Identity) -> Node {
        Node::of_lanes(Lanes::ONE, ca, id, uplinks, identity)
    }

    pub(super) fn of_lanes(
        lanes: Lanes,
        ca: &Authority,
        id: u32,
        uplinks: &[u32],
        identity: Identity,
    ) -> Node {
        let (net, datagrams) = Net::new();
        uplinks.iter().for_each(|uplink| {
            net.open(*uplink);
        });
        let settings = PeerSettings {
            fleet: ca.fleet.clone(),
            edge: EdgeId(id),
            edge_name: name(id),
            fabric_port: 4510,
            boot_id: format!("{:x}", rand::random::<u64>()),
            lanes,
            timers: timers(),
        };
        let routes = Arc::new(PeerRoutes::new());
        let (revoked, revocations) = watch::channel(Arc::default());
        let (handle, events) =
            start(settings, identity, revocations, routes.clone(), net.clone(), datagrams).unwrap();
        handle.set_hello(HelloFacts {
            uplink_mtu_bytes: uplinks.iter().map(|id| (UplinkId(*id), 1500)).collect(),
            endpoints: uplinks.iter().map(|id| (UplinkId(*id), vec![net.address(*id)])).collect(),
        });
        let seen = Arc::new(Mutex::new(Seen::default()));
        tokio::spawn(engine(events, seen.clone()));
        Node { id, net, routes, handle: Some(handle), revoked, seen }
    }

    pub(super) fn configure(&self, peers: impl IntoIterator<Item = PeerConfig>) {
        self.handle.as_ref().unwrap().configure(peers);
    }

    /// Every uplink of ours to every uplink of theirs.
    pub(super) fn knows(&self, other: &Node, ours: &[u32], theirs: &[u32]) {
        let candidates = ours
            .iter()
            .flat_map(|our| theirs.iter().map(|their| (UplinkId(*our), other.net.address(*their))));
        self.routes.set_candidates(EdgeId(other.id), candidates.collect());
    }

    pub(super) fn best(&self, other: &Node, ours: u32, theirs: u32) {
        let best = Some((UplinkId(ours), other.net.address(theirs)));
        self.routes.set_best(EdgeId(other.id), best);
    }

    pub(super) fn saw(&self, what: &str) -> usize {
        self.seen.lock().unwrap().log.iter().filter(|line| line.contains(what)).count()
    }

    pub(super) fn rekeys(&self, path: u32) -> usize {
        self.seen.lock().unwrap().rekeyed.get(&PathId(path)).map_or(0, Vec::len)
    }

    pub(super) async fn sees(&self, what: &str) {
        eventually(&format!("{} sees {what}", self.id), || self.saw(what) > 0).await;
    }
}

/// Waits for up to 15 s.
pub(super) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One seals with exactly what the other opens, on that path.
pub(super) fn joined(from: &Node, to: &Node, path: u32) -> bool {
    let (from, to) = (from.seen.lock().unwrap(), to.seen.lock().unwrap());
    let Some((spi, key)) = from.outbound.get(&PathId(path)) else { return false };
    to.inbound.get(spi) == Some(&(PathId(path), key.clone()))
}

/// Both directions of all paths.
pub(super) async fn all_joined(a: &Node, b: &Node, paths: &[u32]) {
    eventually("every path is keyed", || {
        paths.iter().all(|path| joined(a, b, *path) && joined(b, a, *path))
    })
    .await;
}

fn further(lanes: &[KeyMaterial]) -> Vec<Vec<u8>> {
    lanes.iter().map(|key| key.octets().to_vec()).collect()
}

async fn engine(mut events: mpsc::Receiver<PeerEvent>, seen: Arc<Mutex<Seen>>) {
    while let Some(event) = events.recv().await {
        let mut seen = seen.lock().unwrap();
        match event {
            PeerEvent::InstallInbound { sa, done, .. } => {
                let key = sa.key_material.octets().to_vec();
                assert!(seen.keys.insert(key.clone()), "a key is used once");
                assert!(seen.inbound.insert(sa.spi, (sa.path, key)).is_none(), "SPIs are unique");
                seen.further.entry(sa.path).or_default()[0] = further(&sa.further_lanes);
                let _ = done.send(Ok(()));
            }
            PeerEvent::InstallOutbound { sa, done, .. } => {
                let key = sa.key_material.octets().to_vec();
                assert!(seen.keys.insert(key.clone()), "a key is used once");
                seen.outbound.insert(sa.path, (sa.spi, key));
                seen.further.entry(sa.path).or_default()[1] = further(&sa.further_lanes);
                let _ = done.send(Ok(()));
            }
            PeerEvent::RetireInbound { spi, .. } => {
                assert!(seen.inbound.remove(&spi).is_some(), "only what is installed is retired");
            }
            PeerEvent::Rekeyed { path, epoch, fresh_connection } => {
                seen.rekeyed.entry(path).or_default().push((epoch, fresh_connection));
            }
            PeerEvent::PeerUp { edge, opened_here, .. } => {
                seen.log.push(format!("up {edge} opened_here={opened_here}"));
            }
            PeerEvent::PeerDown { edge, code, .. } => seen.log.push(format!("down {edge} {code}")),
            PeerEvent::PeerRefused { edge_name, code, .. } => {
                seen.log.push(format!("refused {} {code}", edge_name.as_deref().unwrap_or("?")));
            }
            other => seen.log.push(format!("{other:?}")),
        }
    }
}
