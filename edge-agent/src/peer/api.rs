//! What the engine sees of the peer connections: configuration and commands in, events out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::id::{EdgeId, PathId, Spi, TunnelId, UplinkId};
use hawser_edge_core::keys::{KeySuite, Lanes, SaTerms, SaUsage, SpiPair};
use hawser_proto::peer::v1::{Pairing, Reachability, RevocationPart, Selections};
use hawser_proto::revocation::RevocationList;
use tokio::sync::oneshot;

use crate::dataplane::{InboundSaSpec, OutboundSaSpec};

/// Paths of a tunnel: no more are told, and no more are taken from a peer.
pub(super) const MAX_PATHS: usize = 64;

/// This edge, and how patient it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// Peers of another fleet are refused.
    pub fleet: String,
    /// This edge.
    pub edge: EdgeId,
    /// As its certificate names it.
    pub edge_name: String,
    /// The fleet's fabric port, part of every virtual address.
    pub fabric_port: u16,
    /// New at each start of the agent: tells a peer that its old connection is dead.
    pub boot_id: String,
    /// What its data plane can send and receive with at once on each path.
    pub lanes: Lanes,
    /// Intervals and limits.
    pub timers: PeerTimers,
}

/// Intervals of the peer connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerTimers {
    /// From the first packet to the peer's hello.
    pub handshake: Duration,
    /// Between keep-alives of a quiet connection.
    pub keep_alive: Duration,
    /// Without a packet for this long a connection is gone. Its SAs stay.
    pub idle: Duration,
    /// Pause before the second attempt to connect; doubles, with jitter.
    pub retry_min: Duration,
    /// The longest pause between attempts.
    pub retry_max: Duration,
    /// How long a connection stays that another has replaced, at most.
    pub handover: Duration,
}

impl Default for PeerTimers {
    fn default() -> Self {
        PeerTimers {
            handshake: Duration::from_secs(2),
            keep_alive: Duration::from_secs(5),
            idle: Duration::from_secs(15),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(5),
            handover: Duration::from_secs(10),
        }
    }
}

/// A peer edge and the paths to be keyed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The peer.
    pub edge: EdgeId,
    /// As its certificate must name it.
    pub edge_name: String,
    /// The tunnel to it.
    pub tunnel: TunnelId,
    /// A connection keys no longer than this; then a fresh one is opened.
    pub rekey_after: Duration,
    /// The key that was last seen, where one is known from an earlier run: another is an event.
    pub known_key: Option<KeyFingerprint>,
    /// Every path of the tunnel, at most 64.
    pub paths: BTreeMap<PathId, PathKeying>,
    /// SAs that a former run of this agent left in the data plane.
    pub kept: BTreeMap<PathId, SpiPair>,
    /// What paths were keyed by before this agent started, where that differs from what is wanted now.
    pub former: BTreeMap<PathId, SaTerms>,
    /// Those of `paths` that this edge's generation has no more: the peer is told so.
    pub departing: BTreeSet<PathId>,
}

impl PeerConfig {
    /// What the peer is told.
    pub(super) fn pairing(&self) -> Pairing {
        let stays = |path: &&PathId| !self.departing.contains(path);
        let path_ids = self.paths.keys().filter(stays).map(|path| path.0);
        Pairing { path_ids: path_ids.take(MAX_PATHS).collect() }
    }
}

/// How one path is keyed. While the ends differ in suite or ESN they go on with what they have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathKeying {
    /// The cipher.
    pub suite: KeySuite,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Anti-replay window, 64 to 4096 packets.
    pub replay_window_packets: u32,
    /// A new epoch after so many bytes under one outbound SA; 0: no limit.
    pub rekey_after_bytes: u64,
}

impl PathKeying {
    /// What both ends must agree on.
    pub fn terms(&self) -> SaTerms {
        SaTerms { suite: self.suite, esn: self.esn }
    }
}

/// What this edge tells its peers of itself, in `PeerHello`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HelloFacts {
    /// Each uplink's MTU in bytes.
    pub uplink_mtu_bytes: BTreeMap<UplinkId, u32>,
    /// Each uplink's addresses as far as this edge knows them.
    pub endpoints: BTreeMap<UplinkId, Vec<SocketAddr>>,
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFingerprint(pub [u8; 32]);

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFingerprint({self})")
    }
}

/// Serial numbers of revoked certificates, each as its big-endian octets without leading zeros.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedSerials {
    serials: BTreeSet<Vec<u8>>,
    /// The signed list that they are from, for peers that have an older one.
    number: u64,
    parts: Arc<[RevocationPart]>,
}

impl RevokedSerials {
    /// From hexadecimal, colons and case ignored. What is not hexadecimal comes back as the error, as it was given.
    pub fn from_hex<'a>(serials: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut set = RevokedSerials::default();
        for text in serials {
            set.insert(&parse_hex(text).ok_or_else(|| text.to_owned())?);
        }
        Ok(set)
    }

    /// Those of a signed list.
    pub fn of(list: &RevocationList) -> Self {
        RevokedSerials {
            serials: list.serials().clone(),
            number: list.number(),
            parts: list.parts().into(),
        }
    }

    /// The list's number; 0: there is none.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The list, for a peer.
    pub(super) fn parts(&self) -> &[RevocationPart] {
        &self.parts
    }

    /// Adds one serial, big-endian.
    pub fn insert(&mut self, serial: &[u8]) {
        self.serials.insert(without_leading_zeros(serial).to_vec());
    }

    /// Is it revoked?
    pub fn contains(&self, serial: &[u8]) -> bool {
        self.serials.contains(without_leading_zeros(serial))
    }
}

fn without_leading_zeros(serial: &[u8]) -> &[u8] {
    let first = serial.iter().position(|&octet| octet != 0).unwrap_or(serial.len());
    &serial[first..]
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let mut digits =
        text.chars().filter(|&c| c != ':').map(|c| c.to_digit(16)).collect::<Option<Vec<_>>>()?;
    if digits.is_empty() {
        return None;
    }
    if digits.len() % 2 == 1 {
        digits.insert(0, 0);
    }
    Some(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

/// The engine could not install an SA. The path is tried again with fresh keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the security association was not installed: {code}")]
pub struct InstallFailed {
    /// The data plane's stable code.
    pub code: &'static str,
}

/// Tells the peer connection that an SA is in place: the next message waits for it. Dropped, it counts as a failure.
pub type Installed = oneshot::Sender<Result<(), InstallFailed>>;

/// What the peer connections ask of the engine, or tell it. To be handled in the order of their arrival.
#[derive(Debug)]
pub enum PeerEvent {
    /// Accept this SA from now on, beside the older ones of the path, then say so.
    InstallInbound {
        /// The tunnel of the path.
        tunnel: TunnelId,
        /// With its key.
        sa: InboundSaSpec,
        /// Must be answered.
        done: Installed,
    },
    /// Seal with this SA from now on, then say so.
    InstallOutbound {
        /// The tunnel of the path.
        tunnel: TunnelId,
        /// With its key.
        sa: OutboundSaSpec,
        /// Must be answered.
        done: Installed,
    },
    /// The inbound SA is drained: forget it.
    RetireInbound {
        /// Its path.
        path: PathId,
        /// Which one.
        spi: Spi,
    },
    /// The outbound SA has used up its sequence numbers: forget it, a new one is on its way.
    OutboundExhausted {
        /// Its path.
        path: PathId,
    },
    /// A path has fresh keys in both directions.
    Rekeyed {
        /// The path.
        path: PathId,
        /// Counts from 1 on each connection.
        epoch: u64,
        /// By a fresh handshake, not by a new epoch on the same connection.
        fresh_connection: bool,
    },
    /// There is a connection to the peer.
    PeerUp {
        /// The peer.
        edge: EdgeId,
        /// Its tunnel.
        tunnel: TunnelId,
        /// The key of its certificate.
        key: KeyFingerprint,
        /// This edge opened it.
        opened_here: bool,
    },
    /// There is no connection any more. SAs and traffic stay; it is tried again.
    PeerDown {
        /// The peer.
        edge: EdgeId,
        /// Its tunnel.
        tunnel: TunnelId,
        /// A stable code: `idle`, `closed`, `revoked`, `protocol`, `transport`.
        code: &'static str,
    },
    /// What the peer says of itself, on each new connection.
    PeerHello {
        /// The peer.
        edge: EdgeId,
        /// Its tunnel.
        tunnel: TunnelId,
        /// New at each start of its agent.
        boot_id: String,
        /// Its uplinks.
        facts: HelloFacts,
    },
    /// The handshake succeeded from this real address: it is known to be the peer's from now on.
    PeerSeen {
        /// The peer.
        edge: EdgeId,
        /// Our uplink.
        uplink: UplinkId,
        /// Its address.
        from: SocketAddr,
    },
    /// The device that was the peer is it no more: its certificate was revoked. Comes after `RetireInbound` of all of its
    /// SAs; nothing may be sent to it.
    PeerRevoked {
        /// The peer.
        edge: EdgeId,
        /// Its tunnel.
        tunnel: TunnelId,
        /// All paths of it.
        paths: Vec<PathId>,
    },
    /// A list of revoked certificates, to be verified.
    RevocationList {
        /// A serialised `hawser.agent.v1.RevocationList`.
        list: Vec<u8>,
    },
    /// Prefixes that the peer can reach.
    Reachability {
        /// The peer.
        edge: EdgeId,
        /// As received: to be checked.
        message: Reachability,
    },
    /// What the peer sends its symmetric classes on.
    Selections {
        /// The peer.
        edge: EdgeId,
        /// As received: to be checked.
        message: Selections,
    },
    /// The paths of the tunnel that the peer's generation has.
    Pairing {
        /// The peer.
        edge: EdgeId,
        /// It has these and no others.
        paths: BTreeSet<PathId>,
    },
    /// The peer's certificate has another public key than the last one seen.
    KeyChanged {
        /// The peer.
        edge: EdgeId,
        /// Seen before.
        old: KeyFingerprint,
        /// Seen now.
        new: KeyFingerprint,
    },
    /// A connection was refused, by us or by the peer.
    PeerRefused {
        /// Who it claimed or was meant to be, where that is known.
        edge_name: Option<String>,
        /// Where it came from, for accepted connections.
        from: Option<(UplinkId, SocketAddr)>,
        /// A stable code: `unknown_peer`, `wrong_fleet`, `revoked`, `expired`, `untrusted`, `bad_certificate`, `protocol`,
        /// `duplicate_boot`, ...
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// The peer refused to key a path, or this edge refused an offer; it is tried again.
    KeyingRefused {
        /// The path.
        path: PathId,
        /// A stable code, such as `suite_mismatch`, `unknown_path`, `install_failed`.
        code: String,
    },
}

/// A command did not fit into its queue: try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The queue of commands is full.
    #[error("the queue of commands is full: try again")]
    Busy,
    /// The peer connections have been closed.
    #[error("the peer connections are closed")]
    Closed,
}

/// What the engine may command, beside configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Rekey(PathId),
    Usage(PathId, SaUsage),
    Advertise(EdgeId, Vec<Reachability>),
    TellSelections(EdgeId, Selections),
}
