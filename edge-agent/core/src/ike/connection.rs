//! One connection and its children as charon is told of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::vici::Section;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IkeVersion {
    /// RFC 2409, main mode only: aggressive mode shows a hash of the PSK to whoever asks.
    V1,
    /// RFC 7296.
    V2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Tunnel,
    Transport,
}

/// How packets get into a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TunnelMode {
    /// By the kernel's policies.
    #[default]
    Policy,
    /// By routes over an xfrm interface.
    Route,
    /// By routes over GRE, which is protected in transport mode.
    Gre,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 4303.
    Esp,
    /// RFC 4302.
    Ah,
}

/// When a child is negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At once, and again whenever it was closed.
    Now,
    /// By the first packet that it is for.
    Trap,
}

/// Which packets a child is for, at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    Prefix(IpNet),
    /// GRE from or to the address that IKE itself uses.
    Gre,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub mode: Mode,
    pub protocol: Protocol,
    /// In strongSwan's words, such as `aes128gcm16-x25519`; the first is preferred.
    pub proposals: Vec<String>,
    pub local: Vec<Selector>,
    pub remote: Vec<Selector>,
    pub start: Start,
    /// Of the xfrm interface that leads to it; `None`: policy based.
    pub if_id: Option<u32>,
    pub rekey_s: u32,
    pub rekey_bytes: u64,
}

/// A peer by IKEv1 that has said nothing for so long beyond the delay is dead.
const DPD_V1_S: u32 = 26;

/// How both ends show who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// By a key that both know.
    Psk,
    Certificate {
        /// Ours, DER.
        own: Vec<u8>,
        /// The gateway's certificate must be of one of them; DER or PEM.
        peer_cas: Vec<Vec<u8>>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub proof: Proof,
    pub version: IkeVersion,
    pub local: Vec<IpAddr>,
    /// The peer's addresses, the first preferred.
    pub remote: Vec<IpAddr>,
    pub local_id: String,
    pub remote_id: String,
    pub proposals: Vec<String>,
    /// RFC 4555; IKEv2 only.
    pub mobike: bool,
    /// The gateway has other associations with this edge, under the same identities, which must stay.
    pub several: bool,
    /// ESP in UDP (RFC 3948) also where no NAT is seen.
    pub force_udp: bool,
    /// RFC 3706 and RFC 7296 section 2.4; 0: a dead peer is not looked for.
    pub dpd_delay_s: u32,
    pub rekey_s: u32,
    /// A whole new authentication instead of a rekey; 0: never.
    pub reauthentication_s: u32,
    pub children: BTreeMap<String, Child>,
}

impl Connection {
    /// The message of `load-conn`.
    #[must_use]
    pub fn message(&self, name: &str) -> Section {
        let end = |auth: &str, id: &str| Section::default().scalar("auth", auth).scalar("id", id);
        let (local, remote) = match &self.proof {
            Proof::Psk => (end("psk", &self.local_id), end("psk", &self.remote_id)),
            // Every connection names its CAs: what else charon trusts counts for nothing here.
            Proof::Certificate { own, peer_cas } => (
                end("pubkey", &self.local_id).list("certs", [own]),
                end("pubkey", &self.remote_id).list("cacerts", peer_cas),
            ),
        };
        let mut children = Section::default();
        for (child_name, child) in &self.children {
            children = children.section(child_name, child.message(self.dpd_delay_s > 0));
        }
        let v2 = self.version == IkeVersion::V2;
        let mut connection = Section::default()
            .scalar("version", if v2 { "2" } else { "1" })
            .list("local_addrs", self.local.iter().map(IpAddr::to_string))
            .list("remote_addrs", self.remote.iter().map(IpAddr::to_string))
            .list("proposals", &self.proposals)
            .scalar("aggressive", "no")
            .scalar("mobike", yes(v2 && self.mobike))
            .scalar("encap", yes(self.force_udp))
            .scalar("dpd_delay", seconds(self.dpd_delay_s))
            // Of IKEv1 alone, which does not count its questions; 150 s otherwise.
            .scalar("dpd_timeout", seconds(self.dpd_delay_s.saturating_add(DPD_V1_S)))
            .scalar("rekey_time", seconds(self.rekey_s))
            .scalar("reauth_time", seconds(self.reauthentication_s))
            // Without an end: the peer may be away for days.
            .scalar("keyingtries", "0")
            // Also to who does not ask: many gateways leave that out.
            .scalar("send_cert", "always")
            .section("local", local)
            .section("remote", remote)
            .section("children", children);
        if self.several {
            // Else INITIAL_CONTACT would have the gateway drop them (RFC 7296 section 2.4).
            connection = connection.scalar("unique", "never");
        }
        Section::default().section(name, connection)
    }
}

impl Child {
    fn message(&self, dpd: bool) -> Section {
        let (start, again) = match self.start {
            Start::Now => ("start", "start"),
            Start::Trap => ("trap", "trap"),
        };
        let proposals = match self.protocol {
            Protocol::Esp => "esp_proposals",
            Protocol::Ah => "ah_proposals",
        };
        let mut child = Section::default()
            .scalar("mode", if self.mode == Mode::Tunnel { "tunnel" } else { "transport" })
            .list(proposals, &self.proposals)
            .list("local_ts", self.local.iter().map(Selector::text))
            .list("remote_ts", self.remote.iter().map(Selector::text))
            .scalar("rekey_time", seconds(self.rekey_s))
            .scalar("rekey_bytes", self.rekey_bytes.to_string())
            .scalar("start_action", start)
            .scalar("close_action", again);
        if dpd {
            let action = if self.start == Start::Now { "restart" } else { "trap" };
            child = child.scalar("dpd_action", action);
        }
        if let Some(id) = self.if_id {
            child = child.scalar("if_id_in", id.to_string()).scalar("if_id_out", id.to_string());
        }
        child
    }
}

impl Selector {
    fn text(&self) -> String {
        match self {
            Selector::Prefix(prefix) => prefix.to_string(),
            Selector::Gre => "dynamic[gre]".to_owned(),
        }
    }
}

fn yes(it_is: bool) -> &'static str {
    if it_is { "yes" } else { "no" }
}

fn seconds(seconds: u32) -> String {
    format!("{seconds}s")
}
