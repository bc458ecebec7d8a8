//! Tunnels under manual keys. What goes into file names and into the kernel is checked again here: a controller's word is
//! not enough for that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hawser_esp::Suite;
use hawser_proto::config::v1 as wire;
use ipnet::IpNet;

use super::{Decoder, MEND_CONTROLLER};
use crate::config::{Lan, ManualTunnel, Route, Uplink};
use crate::id::{SegmentId, UplinkId};
use crate::manual::{KeyName, Mode, Protocol};

/// Each may be a device and a thread.
const MAX_TUNNELS: usize = 16;
/// Each pair is a policy of the kernel each way.
const MAX_PREFIXES: usize = 16;
/// Those below are reserved (RFC 4303 section 2.1).
const MIN_SPI: u32 = 256;

impl Decoder {
    pub(super) fn manual_tunnels(
        &mut self,
        config: &wire::EdgeConfig,
        segments: &BTreeMap<SegmentId, String>,
        uplinks: &BTreeMap<UplinkId, Uplink>,
        lans: &[Lan],
        routes: &[Route],
    ) -> Vec<ManualTunnel> {
        if config.manual_tunnels.len() > MAX_TUNNELS {
            let message = format!("at most {MAX_TUNNELS}");
            self.fault("OUT_OF_RANGE", "manual_tunnels", message, MEND_CONTROLLER);
        }
        let mut names: BTreeSet<&str> =
            config.ike_tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
        let mut spis = BTreeSet::new();
        let mut tunnels = Vec::new();
        for (i, tunnel) in config.manual_tunnels.iter().take(MAX_TUNNELS).enumerate() {
            let path = format!("manual_tunnels[{i}]");
            if !names.insert(&tunnel.name) {
                self.fault("BAD_ID", &path, "its name is used twice", MEND_CONTROLLER);
            }
            let Some(typed) = self.manual_tunnel(tunnel, segments, &path) else { continue };
            if !spis.insert(typed.inbound.spi) {
                self.fault("BAD_ID", &path, "its inbound SPI is used twice", MEND_CONTROLLER);
            }
            if !uplinks.contains_key(&typed.uplink) {
                self.fault("BAD_REFERENCE", &path, "its uplink is not known", MEND_CONTROLLER);
            }
            let (segment, beyond) = (typed.segment, typed.remote_prefixes.as_slice());
            self.beyond(segment, beyond, &[typed.peer_address], (lans, routes), &path);
            tunnels.push(typed);
        }
        tunnels.sort_by(|a, b| a.name.cmp(&b.name));
        tunnels
    }

    fn manual_tunnel(
        &mut self,
        tunnel: &wire::ManualTunnel,
        segments: &BTreeMap<SegmentId, String>,
        path: &str,
    ) -> Option<ManualTunnel> {
        self.label(&tunnel.name, &format!("{path}.name"));
        let protocol = match tunnel.protocol() {
            wire::ManualProtocol::Esp => Protocol::Esp,
            wire::ManualProtocol::Ah => Protocol::Ah,
            wire::ManualProtocol::Unspecified => {
                self.fault("BAD_VALUE", format!("{path}.protocol"), "none", MEND_CONTROLLER);
                return None;
            }
        };
        let mode = match tunnel.mode() {
            wire::ManualMode::Tunnel => Mode::Tunnel,
            wire::ManualMode::Gre => Mode::Gre,
            wire::ManualMode::Unspecified => {
                self.fault("BAD_VALUE", format!("{path}.mode"), "none", MEND_CONTROLLER);
                return None;
            }
        };
        let profile = self.profile(tunnel.profile.as_ref(), path);
        self.manual_suite(profile.suite, protocol, path);
        let address = format!("{path}.peer_address");
        let peer_address = self.parse::<IpAddr>(&tunnel.peer_address, address, "address")?;
        let typed = ManualTunnel {
            name: tunnel.name.clone(),
            uplink: UplinkId(tunnel.uplink_id),
            peer_address,
            protocol,
            mode,
            profile,
            segment: self.segment(tunnel.segment_id, segments, &format!("{path}.segment_id")),
            local_prefixes: self.nets(&tunnel.local_prefixes, &format!("{path}.local_prefixes")),
            remote_prefixes: self.nets(&tunnel.remote_prefixes, &format!("{path}.remote_prefixes")),
            inbound: self.manual_key(tunnel.inbound.as_ref(), &format!("{path}.inbound")),
            outbound: self.manual_key(tunnel.outbound.as_ref(), &format!("{path}.outbound")),
        };
        for list in [&typed.local_prefixes, &typed.remote_prefixes] {
            if list.is_empty() || list.len() > MAX_PREFIXES {
                let message = format!("its lists have 1 to {MAX_PREFIXES} entries");
                self.fault("OUT_OF_RANGE", path, message, MEND_CONTROLLER);
            }
        }
        Some(typed)
    }

    /// RFC 8221 section 4: an AEAD would use a nonce twice. DES and 3DES are worn out after a few megabytes.
    fn manual_suite(&mut self, suite: Suite, protocol: Protocol, path: &str) {
        let fits = match protocol {
            Protocol::Esp => {
                suite.allows_manual_keys() && suite.byte_limit().is_none_or(|most| most > 1 << 32)
            }
            Protocol::Ah => suite.allows_manual_keys() && !suite.encrypts(),
        };
        if !fits {
            let message = format!("{suite} can't be used so under a manual key");
            let mend = "choose CBC or NULL with an HMAC; for AH, NULL";
            self.fault("SUITE_UNKNOWN", format!("{path}.profile"), message, mend);
        }
    }

    fn manual_key(&mut self, key: Option<&wire::ManualKey>, path: &str) -> KeyName {
        let key = key.cloned().unwrap_or_default();
        if key.spi < MIN_SPI {
            let message = format!("SPI {} is reserved", key.spi);
            self.fault("OUT_OF_RANGE", format!("{path}.spi"), message, MEND_CONTROLLER);
        }
        self.label(&key.key_name, &format!("{path}.key_name"));
        KeyName { spi: key.spi, name: key.key_name }
    }

    fn label(&mut self, text: &str, path: &str) {
        self.word(text, |c| c.is_ascii_lowercase() || c == '-', path);
    }

    /// What is beyond a device that is not Hawser is neither in the overlay nor a LAN's, and not the device itself.
    pub(super) fn beyond(
        &mut self,
        segment: SegmentId,
        remote_prefixes: &[IpNet],
        peers: &[IpAddr],
        (lans, routes): (&[Lan], &[Route]),
        path: &str,
    ) {
        let of_lans = lans.iter().filter(|lan| lan.segment == segment);
        let of_lans = of_lans.flat_map(|lan| lan.prefixes.iter().copied());
        let of_routes = routes.iter().filter(|route| route.segment == segment);
        let taken: BTreeSet<IpNet> = of_lans.chain(of_routes.map(|route| route.prefix)).collect();
        let at = format!("{path}.remote_prefixes");
        for prefix in remote_prefixes {
            if let Some(other) = taken.iter().find(|t| t.contains(prefix) || prefix.contains(*t)) {
                let message = format!("{prefix} overlaps {other}");
                let mend = "renumber one of them, or put it in a segment of its own";
                self.fault("PREFIX_OVERLAP", &at, message, mend);
            }
            if peers.iter().any(|peer| prefix.contains(peer)) {
                let message = format!("the gateway itself is in {prefix}");
                self.fault("BAD_VALUE", &at, message, MEND_CONTROLLER);
            }
        }
    }
}
