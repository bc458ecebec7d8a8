//! Whether strongSwan can do what IKE tunnels are to be protected by.

use crate::decode::ike::strongswan_has;
use crate::fault::{Faults, code};
use crate::intent::{Fleet, ManualProtocol};

pub(super) fn suites(fleet: &Fleet, faults: &mut Faults) {
    for (s, site) in fleet.sites.iter().enumerate() {
        for (e, edge) in site.edges.iter().enumerate() {
            for (t, tunnel) in edge.ike_tunnels.iter().enumerate() {
                let place = format!("sites[{s}].edges[{e}].ike_tunnels[{t}].profile");
                let profile = fleet.tunnel_profiles.iter().find(|p| p.name == tunnel.profile);
                let Some(suite) = profile.map(|p| p.suite) else { continue };
                let (why, mend) = if !strongswan_has(suite) {
                    (
                        "is none of strongSwan's",
                        "choose a profile of another suite, e.g. aes-128-gcm",
                    )
                } else if tunnel.protocol == ManualProtocol::Ah && suite.encrypts() {
                    (
                        "encrypts, which AH does not",
                        "name a profile whose suite is null-sha256-128 or null-sha512-256",
                    )
                } else {
                    continue;
                };
                let message = format!("its suite, {}, {why}", suite.name());
                faults.add(code::IKE_SUITE_UNSUPPORTED, place, message, mend);
            }
        }
    }
}
