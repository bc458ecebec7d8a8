//! Tunnels with devices that are not Hawser: strongSwan, the kernel's part, keys and certificates.

use super::{Facts, Finding, GatewayTunnel, Level};
use crate::ike::{Daemon, lacks, lacks_for_group, lacks_for_key};

/// As the kernel driver's trial calls the kernel's IPsec.
const XFRM: &str = "XFRM";

pub fn ike(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.ike_tunnels == 0 {
        let message = "strongSwan may be there or not";
        found.push(Finding::new(Level::Note, "IKE_NOT_NEEDED", "", message));
        return;
    }
    let charon = &facts.charon;
    let broken = |message: &str| Finding::new(Level::Broken, "IKE_UNAVAILABLE", "", message);
    match &charon.answer {
        Some(Ok(daemon)) => {
            let lacks = lacks(daemon).into_iter();
            found.extend(lacks.map(|lack| broken(&lack.message).mended_by(lack.mend)));
        }
        Some(Err(error)) if charon.foreign => {
            let finding = broken(&format!("the charon that others run does not answer: {error}"));
            found.push(finding.mended_by("systemctl start strongswan"));
        }
        _ if !charon.program_exists => {
            found.push(broken(&format!("there is no {}", charon.program)));
        }
        Some(Err(error)) if facts.agent.is_some() => {
            let finding = broken(&format!("the agent's charon does not answer: {error}"));
            found.push(finding.mended_by("hawser-edge status says why under its IKE tunnels"));
        }
        // The agent will start it.
        _ => {}
    }
}

pub fn tunnels(facts: &Facts, found: &mut Vec<Finding>) {
    let broken = |code, subject: &str, message: &str, mend: &str| {
        Finding::new(Level::Broken, code, subject, message).mended_by(mend)
    };
    // With the kernel driver the same lack is told of it.
    let by_ike = facts.gateways.iter().any(|tunnel| !tunnel.manual);
    let xfrm = facts.driver_lacks.iter().flatten().filter(|lack| by_ike && lack.what == XFRM);
    for lack in xfrm.chain(&facts.gateway_lacks) {
        found.push(broken("GATEWAY_KERNEL_LACKS", &lack.what, &lack.message, &lack.mend));
    }
    let daemon = facts.charon.answer.as_ref().and_then(|answer| answer.as_ref().ok());
    for tunnel in &facts.gateways {
        if let Some((message, mend)) = &tunnel.ailment {
            found.push(broken("GATEWAY_KEYS", &tunnel.name, message, mend));
        }
        if let Some(daemon) = daemon {
            plugins(tunnel, daemon, found);
        }
    }
}

/// What charon has not loaded of what this tunnel needs.
fn plugins(tunnel: &GatewayTunnel, daemon: &Daemon, found: &mut Vec<Finding>) {
    let of_key = tunnel.key_kind.and_then(|kind| lacks_for_key(daemon, kind));
    let of_groups = tunnel.groups.iter().filter_map(|group| lacks_for_group(daemon, group));
    for lack in of_key.into_iter().chain(of_groups) {
        let finding = Finding::new(Level::Broken, "IKE_TUNNEL_PLUGIN", &tunnel.name, lack.message);
        found.push(finding.mended_by(lack.mend));
    }
}
