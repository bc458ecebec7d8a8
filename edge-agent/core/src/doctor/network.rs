//! Who this edge is, whom it reaches, and how.

use std::net::IpAddr;

use super::{Certificate, Facts, Finding, Level, UplinkFacts};

/// RFC 8200, section 5.
const LEAST_IPV6_MTU_BYTES: u32 = 1280;

pub fn identity(facts: &Facts, found: &mut Vec<Finding>) {
    if !facts.state_dir.exists || facts.state_dir.unreadable.is_some() {
        return;
    }
    let now = facts.now_unix_s;
    let broken = |code, message: String| Finding::new(Level::Broken, code, "", message);
    match &facts.certificate {
        Certificate::NotEnrolled => {
            found.push(broken("NOT_ENROLLED", "there is no certificate".into()));
        }
        Certificate::Unusable { message, mend } => {
            found.push(broken("IDENTITY_UNUSABLE", message.clone()).mended_by(mend));
        }
        Certificate::Usable { not_before_unix_s: from, .. } if now < *from => {
            let message = format!("it begins in {}", span(from - now));
            found.push(broken("CERTIFICATE_NOT_YET_VALID", message));
        }
        Certificate::Usable { not_after_unix_s: end, .. } if now > *end => {
            let message = format!("it ended {} ago", span(now - end));
            found.push(broken("CERTIFICATE_EXPIRED", message));
        }
        Certificate::Usable { half_life_unix_s: half, not_after_unix_s: end, .. } => {
            if now > half + (end - half) / 2 {
                let message = format!("it ends in {}", span(end - now));
                let code = "CERTIFICATE_NOT_RENEWED";
                found.push(Finding::new(Level::Warning, code, "", message));
            }
        }
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        0..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub fn controllers(facts: &Facts, found: &mut Vec<Finding>) {
    for controller in &facts.controllers {
        let Some((cause, message)) = &controller.failure else { continue };
        // It may be away for weeks, and tunnels go on: nothing is broken by that.
        let (level, code) = match cause.as_str() {
            "CONTROLLER_NOT_TRUSTED" | "CONTROLLER_NO_HTTP2" => {
                (Level::Broken, "CONTROLLER_UNTRUSTED")
            }
            _ => (Level::Warning, "CONTROLLER_UNREACHABLE"),
        };
        found.push(Finding::new(level, code, &controller.address, message));
    }
}

pub fn agent(facts: &Facts, found: &mut Vec<Finding>) {
    let enrolled = matches!(facts.certificate, Certificate::Usable { .. });
    if facts.uplinks.is_none() && enrolled {
        let message = "the controller has sent none, or none could be applied";
        found.push(Finding::new(Level::Warning, "NO_GENERATION", "", message));
    }
    let Some(agent) = &facts.agent else {
        if enrolled {
            let message = "nobody answers";
            found.push(Finding::new(Level::Warning, "AGENT_NOT_RUNNING", "", message));
            found.push(Finding::new(Level::Note, "PATH_MTU_UNKNOWN", "", "nobody measures it"));
        }
        return;
    };
    for path in &agent.paths {
        if !path.up {
            found.push(Finding::new(Level::Warning, "PATH_DOWN", &path.name, "it is not up"));
        } else if (1..LEAST_IPV6_MTU_BYTES).contains(&path.inner_mtu_bytes) {
            let message = format!("{} bytes", path.inner_mtu_bytes);
            found.push(Finding::new(Level::Warning, "PATH_MTU_SMALL", &path.name, message));
        }
    }
}

pub fn uplinks(facts: &Facts, found: &mut Vec<Finding>) {
    for uplink in facts.uplinks.iter().flatten() {
        let (name, interface) = (&uplink.name, &uplink.interface);
        if !uplink.exists {
            let message = format!("there is no interface {interface}");
            found.push(Finding::new(Level::Broken, "UPLINK_MISSING", name, message));
        } else if !uplink.running {
            let message = format!("{interface} is down, or has no carrier");
            let finding = Finding::new(Level::Warning, "UPLINK_NO_CARRIER", name, message);
            let mend = format!("ip link set {interface} up; is its cable plugged in?");
            found.push(finding.mended_by(mend));
        } else {
            addresses(uplink, found);
        }
    }
}

fn addresses(uplink: &UplinkFacts, found: &mut Vec<Finding>) {
    let useful: Vec<&IpAddr> = uplink.addresses.iter().filter(|a| !is_link_local(a)).collect();
    if useful.is_empty() {
        let message = format!("{} has none", uplink.interface);
        found.push(Finding::new(Level::Warning, "UPLINK_NO_ADDRESS", &uplink.name, message));
    } else if useful.iter().all(|address| is_private(address)) {
        let list: Vec<String> = useful.iter().map(ToString::to_string).collect();
        let message = format!("{} has only {}", uplink.interface, list.join(", "));
        found.push(Finding::new(Level::Note, "UPLINK_BEHIND_NAT", &uplink.name, message));
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

/// RFC 1918, RFC 4193, and what providers translate (RFC 6598).
fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}
