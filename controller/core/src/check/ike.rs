//! Whether strongSwan can do what IKE tunnels are to be protected by.

use crate::decode::ike::strongswan_has;
use crate::fault::{Faults, code};
use crate::intent::Fleet;

pub(super) fn suites(fleet: &Fleet, faults: &mut Faults) {
    for (s, site) in fleet.sites.iter().enumerate() {
        for (e, edge) in site.edges.iter().enumerate() {
            for (t, tunnel) in edge.ike_tunnels.iter().enumerate() {
                let profile = fleet.tunnel_profiles.iter().find(|p| p.name == tunnel.profile);
                let Some(suite) = profile.map(|p| p.suite).filter(|s| !strongswan_has(*s)) else {
                    continue;
                };
                let path = format!("sites[{s}].edges[{e}].ike_tunnels[{t}].profile");
                let message = format!("its suite, {}, is none of strongSwan's", suite.name());
                let mend = "choose a profile of another suite, e.g. aes-128-gcm";
                faults.add(code::IKE_SUITE_UNSUPPORTED, path, message, mend);
            }
        }
    }
}
