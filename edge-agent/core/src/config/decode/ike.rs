//! Tunnels with gateways that are not Hawser. What goes into charon's messages and into file names is checked again here:
//! a controller's word is not enough for that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hawser_proto::config::v1 as wire;

use super::{Decoder, MEND_CONTROLLER};
use crate::config::{
    IkeAuth, IkeProbe, IkeProbeKind, IkeTunnel, Lan, PeerCa, Route, SlaLimits, Uplink,
};
use crate::id::{SegmentId, UplinkId};
use crate::ike::{IkeVersion, Protocol, Start, TunnelMode, esp_proposal, interface_names};

/// Associations of one edge; its own tables are bounded by it.
const MAX_TUNNELS: usize = 64;
/// Each link is probed.
const MAX_LINKS: usize = 16;
/// Pairs of prefixes may be an association each.
const MAX_PREFIXES: usize = 16;

impl Decoder {
    pub(super) fn ike_tunnels(
        &mut self,
        config: &wire::EdgeConfig,
        segments: &BTreeMap<SegmentId, String>,
        uplinks: &BTreeMap<UplinkId, Uplink>,
        lans: &[Lan],
        routes: &[Route],
        sla_classes: &BTreeMap<String, SlaLimits>,
    ) -> Vec<IkeTunnel> {
        if config.ike_tunnels.len() > MAX_TUNNELS {
            let message = format!("at most {MAX_TUNNELS}");
            self.fault("OUT_OF_RANGE", "ike_tunnels", message, MEND_CONTROLLER);
        }
        let mut tunnels: Vec<IkeTunnel> = Vec::new();
        for (i, tunnel) in config.ike_tunnels.iter().take(MAX_TUNNELS).enumerate() {
            let path = format!("ike_tunnels[{i}]");
            if tunnels.iter().any(|known| known.name == tunnel.name) {
                self.fault("BAD_ID", &path, "its name is used twice", MEND_CONTROLLER);
            }
            let mut typed = self.ike_tunnel(tunnel, segments, &path);
            let others: BTreeSet<String> = tunnels.iter().flat_map(interface_names).collect();
            if interface_names(&typed).any(|interface| others.contains(&interface)) {
                let message = "its interface would have the name of another's";
                self.fault("BAD_ID", &path, message, "give the tunnel another name");
            }
            if !typed.uplinks.iter().all(|uplink| uplinks.contains_key(uplink)) {
                self.fault("BAD_REFERENCE", &path, "an uplink of it is not known", MEND_CONTROLLER);
            }
            match sla_classes.get(&tunnel.sla_class) {
                Some(limits) => typed.sla = *limits,
                None if tunnel.sla_class.is_empty() => {}
                None => {
                    let at = format!("{path}.sla_class");
                    self.fault("BAD_REFERENCE", at, "its SLA class is not known", MEND_CONTROLLER);
                }
            }
            let (segment, beyond) = (typed.segment, typed.remote_prefixes.as_slice());
            self.beyond(segment, beyond, &typed.peer_addresses, (lans, routes), &path);
            tunnels.push(typed);
        }
        tunnels.sort_by(|a, b| a.name.cmp(&b.name));
        tunnels
    }

    fn ike_tunnel(
        &mut self,
        tunnel: &wire::IkeTunnel,
        segments: &BTreeMap<SegmentId, String>,
        path: &str,
    ) -> IkeTunnel {
        self.name(&tunnel.name, &format!("{path}.name"));
        let auth = self.auth(tunnel, path);
        self.identities(tunnel, &auth, path);
        for group in &tunnel.dh_groups {
            self.word(group, |c| c.is_ascii_lowercase(), &format!("{path}.dh_groups"));
        }
        let profile = self.profile(tunnel.profile.as_ref(), path);
        if esp_proposal(profile.suite).is_none() {
            let message = format!("strongSwan has no {}", profile.suite);
            self.fault("SUITE_UNKNOWN", format!("{path}.profile"), message, "choose another suite");
        }
        let mut peer_addresses = Vec::new();
        for (a, text) in tunnel.peer_addresses.iter().enumerate() {
            let at = format!("{path}.peer_addresses[{a}]");
            peer_addresses.extend(self.parse::<IpAddr>(text, at, "address"));
        }
        let version = match tunnel.version() {
            wire::IkeVersion::V1 => IkeVersion::V1,
            wire::IkeVersion::V2 => IkeVersion::V2,
            wire::IkeVersion::Unspecified => {
                self.fault("BAD_VALUE", format!("{path}.version"), "none", MEND_CONTROLLER);
                IkeVersion::V2
            }
        };
        let typed = IkeTunnel {
            name: tunnel.name.clone(),
            version,
            uplinks: self.links(tunnel, path),
            peer_addresses,
            local_id: tunnel.local_id.clone(),
            remote_id: tunnel.remote_id.clone(),
            auth,
            mode: self.tunnel_mode(tunnel, path),
            profile,
            dh_groups: tunnel.dh_groups.clone(),
            segment: self.segment(tunnel.segment_id, segments, &format!("{path}.segment_id")),
            local_prefixes: self.nets(&tunnel.local_prefixes, &format!("{path}.local_prefixes")),
            remote_prefixes: self.nets(&tunnel.remote_prefixes, &format!("{path}.remote_prefixes")),
            start: match tunnel.start() {
                wire::IkeStart::Trap => Start::Trap,
                wire::IkeStart::Now | wire::IkeStart::Unspecified => Start::Now,
            },
            dpd_delay_s: tunnel.dpd_delay_s,
            probe: tunnel.probe.as_ref().map(|p| self.ike_probe(p, &format!("{path}.probe"))),
            sla: SlaLimits::default(),
            failback_hold_ms: tunnel.failback_hold_ms,
            protocol: if tunnel.ah { Protocol::Ah } else { Protocol::Esp },
            warm: tunnel.warm,
            reauth_after_s: tunnel.reauth_after_s,
            taken: 0,
        };
        self.more(&typed, path);
        let inside = typed.probe.and_then(|probe| probe.inside);
        if let Some(inside) = inside
            && !typed.remote_prefixes.iter().any(|prefix| prefix.contains(&inside))
        {
            let message = format!("{inside} is in none of its remote prefixes");
            self.fault("BAD_VALUE", format!("{path}.probe.inside"), message, MEND_CONTROLLER);
        }
        // The host's own packets are routed as those of its first segment.
        if inside.is_some() && segments.keys().next() != Some(&typed.segment) {
            let message = "only tunnels of this host's first segment are probed inside";
            let mend = "leave `inside` out of the tunnel's `probe`";
            self.fault("BAD_VALUE", format!("{path}.probe.inside"), message, mend);
        }
        let lists = [
            typed.peer_addresses.len(),
            typed.dh_groups.len(),
            typed.local_prefixes.len(),
            typed.remote_prefixes.len(),
        ];
        if lists.contains(&0) || lists.iter().any(|&length| length > MAX_PREFIXES) {
            let message = format!("its lists have 1 to {MAX_PREFIXES} entries");
            self.fault("OUT_OF_RANGE", path, message, MEND_CONTROLLER);
        }
        typed
    }

    /// AH and the second association, each with what it needs.
    fn more(&mut self, tunnel: &IkeTunnel, path: &str) {
        if tunnel.protocol == Protocol::Ah && tunnel.profile.suite.encrypts() {
            let message = format!("AH does not encrypt, as {} would", tunnel.profile.suite);
            self.fault("BAD_VALUE", format!("{path}.ah"), message, MEND_CONTROLLER);
        }
        if tunnel.warm && (tunnel.mode != TunnelMode::Route || tunnel.uplinks.len() < 2) {
            let message = "a warm standby is for route-based tunnels of two uplinks";
            self.fault("BAD_VALUE", format!("{path}.warm"), message, MEND_CONTROLLER);
        }
    }

    /// Uplinks, the first preferred.
    fn links(&mut self, tunnel: &wire::IkeTunnel, path: &str) -> Vec<UplinkId> {
        let more = tunnel.more_uplink_ids.iter().copied();
        let ids: Vec<UplinkId> = [tunnel.uplink_id].into_iter().chain(more).map(UplinkId).collect();
        if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
            let at = format!("{path}.more_uplink_ids");
            self.fault("BAD_ID", at, "an uplink is there twice", MEND_CONTROLLER);
        }
        if ids.len() > 1 && ids.len() * tunnel.peer_addresses.len() > MAX_LINKS {
            let message = format!("uplinks times addresses are more than {MAX_LINKS}");
            self.fault("OUT_OF_RANGE", path, message, MEND_CONTROLLER);
        }
        ids
    }

    fn ike_probe(&mut self, probe: &wire::IkeProbe, path: &str) -> IkeProbe {
        let kind = match probe.kind() {
            wire::IkeProbeKind::Icmp | wire::IkeProbeKind::Unspecified => IkeProbeKind::Icmp,
            wire::IkeProbeKind::Stamp => {
                IkeProbeKind::Stamp { port: self.small(probe.port, format!("{path}.port")) }
            }
            wire::IkeProbeKind::None => IkeProbeKind::None,
        };
        let inside = match probe.inside.as_str() {
            "" => None,
            text => self.parse::<IpAddr>(text, format!("{path}.inside"), "address"),
        };
        IkeProbe { kind, interval_ms: probe.interval_ms, inside }
    }

    fn tunnel_mode(&mut self, tunnel: &wire::IkeTunnel, path: &str) -> TunnelMode {
        let links = (1 + tunnel.more_uplink_ids.len()) * tunnel.peer_addresses.len();
        match tunnel.mode() {
            wire::IkeMode::Policy | wire::IkeMode::Unspecified => TunnelMode::Policy,
            wire::IkeMode::Route => TunnelMode::Route,
            wire::IkeMode::Gre => {
                if links > 1 {
                    let message = "a GRE interface is between one address and one other";
                    self.fault("BAD_VALUE", format!("{path}.mode"), message, MEND_CONTROLLER);
                }
                TunnelMode::Gre
            }
        }
    }

    /// What the two ends know each other by. Names are of files at this host: never paths.
    fn auth(&mut self, tunnel: &wire::IkeTunnel, path: &str) -> IkeAuth {
        let Some(certificate) = &tunnel.certificate else {
            self.name(&tunnel.psk_name, &format!("{path}.psk_name"));
            return IkeAuth::Psk(tunnel.psk_name.clone());
        };
        let own = Some(certificate.name.clone()).filter(|name| !name.is_empty());
        if let Some(own) = &own {
            self.name(own, &format!("{path}.certificate.name"));
        }
        let peer_ca = if certificate.peer_ca_pem.is_empty() {
            self.name(&certificate.peer_ca_name, &format!("{path}.certificate.peer_ca_name"));
            PeerCa::Named(certificate.peer_ca_name.clone())
        } else {
            PeerCa::Pem(certificate.peer_ca_pem.clone())
        };
        IkeAuth::Certificate { own, peer_ca }
    }

    /// Distinguished names are for certificates only, and so is none, which is the one in the certificate.
    fn identities(&mut self, tunnel: &wire::IkeTunnel, auth: &IkeAuth, path: &str) {
        let certified = matches!(auth, IkeAuth::Certificate { .. });
        let more = if certified { "=, " } else { "" };
        let fits = |c: char| c.is_ascii_alphabetic() || ".-_@:".contains(c) || more.contains(c);
        if !(certified && tunnel.local_id.is_empty()) {
            self.word(&tunnel.local_id, fits, &format!("{path}.local_id"));
        }
        self.word(&tunnel.remote_id, fits, &format!("{path}.remote_id"));
    }

    fn name(&mut self, text: &str, path: &str) {
        self.word(text, |c| c.is_ascii_lowercase() || c == '-', path);
    }

    pub(super) fn word(&mut self, text: &str, fits: impl Fn(char) -> bool, path: &str) {
        let fits = |c: char| c.is_ascii_digit() || fits(c);
        if !(1..=128).contains(&text.len()) || !text.chars().all(fits) {
            let message = format!("“{}” can't stand here", text.escape_debug());
            self.fault("BAD_VALUE", path, message, MEND_CONTROLLER);
        }
    }
}
