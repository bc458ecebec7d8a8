//! What keys that nobody renews may protect, and that no SPI and no key serves twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault::{Faults, code};
use crate::intent::{Edge, Fleet, ManualProtocol, ManualTunnel};

pub(super) fn tunnels(fleet: &Fleet, faults: &mut Faults) {
    for (s, site) in fleet.sites.iter().enumerate() {
        for (e, edge) in site.edges.iter().enumerate() {
            let place = format!("sites[{s}].edges[{e}].manual_tunnels");
            for (t, tunnel) in edge.manual_tunnels.iter().enumerate() {
                suite(fleet, tunnel, &format!("{place}[{t}]"), faults);
            }
            told_apart(edge, &place, faults);
        }
    }
}

fn suite(fleet: &Fleet, tunnel: &ManualTunnel, place: &str, faults: &mut Faults) {
    let profile = fleet.tunnel_profiles.iter().find(|p| p.name == tunnel.profile);
    let Some(suite) = profile.map(|profile| profile.suite) else { return };
    let why = if suite.counts() {
        // RFC 8221 section 4.
        "repeats nonces under a key that is not fresh at each start: no AEAD has manual keys"
    } else if suite.wears_out() {
        "is worn out after 8 MiB under one key, and nobody renews a manual key"
    } else if tunnel.protocol == ManualProtocol::Ah && suite.encrypts() {
        "encrypts, which AH does not"
    } else {
        return;
    };
    let mend = match tunnel.protocol {
        ManualProtocol::Esp => "name a profile whose suite is e.g. aes-256-cbc-sha256-128",
        ManualProtocol::Ah => "name a profile whose suite is null-sha256-128 or null-sha512-256",
    };
    let message = format!("its suite, {}, {why}", suite.name());
    faults.add(code::MANUAL_SUITE, format!("{place}.profile"), message, mend);
}

fn told_apart(edge: &Edge, place: &str, faults: &mut Faults) {
    let (mut inbound, mut outbound) = (BTreeSet::new(), BTreeSet::new());
    let mut keys: BTreeMap<&str, String> = BTreeMap::new();
    for (t, tunnel) in edge.manual_tunnels.iter().enumerate() {
        let place = format!("{place}[{t}]");
        if edge.ike_tunnels.iter().any(|ike| ike.name == tunnel.name) {
            let message = format!("an IKE tunnel of this edge is called {}, too", tunnel.name);
            let at = format!("{place}.name");
            faults.add(code::DUPLICATE_MANUAL_TUNNEL, at, message, "give it another name");
        }
        let mut spi = |new: bool, direction: &str, spi: u32, whose: &str| {
            if !new {
                let message = format!("{whose} has the SPI {spi} already");
                let at = format!("{place}.{direction}.spi");
                faults.add(code::MANUAL_SPI_TWICE, at, message, "agree on another one");
            }
        };
        let (own, peers) = (tunnel.inbound.spi, tunnel.outbound.spi);
        spi(inbound.insert(own), "inbound", own, "another tunnel of this edge");
        let to_peer = (tunnel.peer_address, peers);
        spi(outbound.insert(to_peer), "outbound", peers, "another tunnel with this peer");
        for (direction, key) in [("inbound", &tunnel.inbound), ("outbound", &tunnel.outbound)] {
            let at = format!("{place}.{direction}.key");
            if let Some(other) =
                keys.get(key.key_name.as_str()).filter(|_| !key.key_name.is_empty())
            {
                let message = format!("{other} has the key {} already", key.key_name);
                let mend = "each direction of each tunnel has a key of its own";
                faults.add(code::MANUAL_KEY_TWICE, at, message, mend);
            } else {
                keys.insert(&key.key_name, at);
            }
        }
    }
}
