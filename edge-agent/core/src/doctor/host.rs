//! The host itself: rights, kernel, sockets, settings, files, clock.

use super::facts::Clock;
use super::{Driver, Facts, Finding, Level, Sockets};
use crate::reconcile;

/// Further apart than this is not the coarseness of the measurement.
const MAX_OFFSET_S: u64 = 10;
/// Group and others.
const OTHERS: u32 = 0o077;

pub fn rights(facts: &Facts, found: &mut Vec<Finding>) {
    let rights = &facts.rights;
    let whose = if rights.of_agent { "the agent that runs" } else { "who runs this command" };
    let mut lack = |has: bool, level, code, name| {
        if !has {
            found.push(Finding::new(level, code, "", format!("{whose} has no {name}")));
        }
    };
    // The doctor may be somebody else than the agent will be.
    let at_most = |level: Level| if rights.of_agent { level } else { level.min(Level::Warning) };
    // The userspace driver takes what is under manual keys from raw sockets.
    let manual = facts.gateways.iter().any(|tunnel| tunnel.manual);
    let raw = if facts.driver == Driver::Kernel || manual { Level::Broken } else { Level::Warning };
    lack(rights.net_admin, at_most(Level::Broken), "RIGHT_NET_ADMIN", "CAP_NET_ADMIN");
    lack(rights.net_raw, at_most(raw), "RIGHT_NET_RAW", "CAP_NET_RAW");
    if facts.ike_tunnels > 0 {
        let (code, name) = ("RIGHT_BIND_SERVICE", "CAP_NET_BIND_SERVICE");
        lack(rights.net_bind_service, at_most(Level::Broken), code, name);
    }
}

pub fn driver(facts: &Facts, found: &mut Vec<Finding>) {
    let kernel_can = facts.driver_lacks.as_ref().is_some_and(Vec::is_empty);
    if let Some(error) = &facts.tun_error {
        let level = match facts.driver {
            Driver::Userspace => Level::Broken,
            Driver::Auto if kernel_can => Level::Note,
            Driver::Auto => Level::Broken,
            Driver::Kernel => Level::Note,
        };
        found.push(Finding::new(level, "TUN_UNUSABLE", "/dev/net/tun", error));
    }
    if let Some(error) = &facts.nft_error {
        // Without the right, nft says nothing about the host.
        let level = if facts.rights.net_admin { Level::Broken } else { Level::Note };
        found.push(Finding::new(level, "NFT_UNUSABLE", "nft", error));
    }
    let level = if facts.driver == Driver::Kernel { Level::Broken } else { Level::Note };
    let Some(lacks) = &facts.driver_lacks else {
        let message = "there is no right to try it";
        found.push(Finding::new(Level::Note, "KERNEL_DRIVER_UNTRIED", "", message));
        return;
    };
    for lack in lacks {
        let finding = Finding::new(level, "KERNEL_DRIVER_LACKS", &lack.what, &lack.message);
        found.push(finding.mended_by(&lack.mend));
    }
}

pub fn sockets(sockets: &Sockets, found: &mut Vec<Finding>) {
    let mut warn = |code, message: String| {
        found.push(Finding::new(Level::Warning, code, "", message));
    };
    if !sockets.segmentation {
        warn("UDP_NO_SEGMENTATION", "the kernel refuses UDP_SEGMENT".into());
    }
    if !sockets.coalescing {
        warn("UDP_NO_COALESCING", "the kernel refuses UDP_GRO".into());
    }
    if sockets.buffer_bytes < sockets.wanted_buffer_bytes {
        let (is, wanted) = (sockets.buffer_bytes, sockets.wanted_buffer_bytes);
        warn("SOCKET_BUFFER_SMALL", format!("{is} of {wanted} bytes"));
    }
}

pub fn settings(facts: &Facts, found: &mut Vec<Finding>) {
    for setting in &facts.settings {
        let code = match setting.name.rsplit('.').next() {
            Some("rp_filter") => "RP_FILTER_STRICT",
            Some("src_valid_mark") => "UNDERLAY_UNMARKED",
            Some("accept_ra") => "ROUTER_ADVERTS_IGNORED",
            _ => "FORWARDING_OFF",
        };
        // Without strictness there is nothing to mend, though the agent sets it nevertheless.
        if code == "RP_FILTER_STRICT" && setting.is != "1" {
            continue;
        }
        let level = match (&facts.agent, setting.writable) {
            (None, true) => Level::Note,
            _ if reconcile::is_optional(&setting.name) => Level::Warning,
            _ => Level::Broken,
        };
        let will = match (level, setting.writable) {
            (Level::Note, _) => "; the agent sets it when it starts",
            (_, true) => "; the agent that runs had set it, and somebody else changed it",
            (_, false) => "; the agent can't set it: /proc/sys is read-only to this process",
        };
        let message = format!("it is {}{will}", setting.is);
        let mend = format!("sysctl -w {}={}", setting.name, setting.wanted);
        found.push(Finding::new(level, code, &setting.name, message).mended_by(mend));
    }
}

pub fn state(facts: &Facts, found: &mut Vec<Finding>) {
    let dir = &facts.state_dir;
    if !dir.exists {
        found.push(Finding::new(Level::Broken, "STATE_DIR_MISSING", &dir.path, "it is not there"));
        return;
    }
    if let Some(error) = &dir.unreadable {
        found.push(Finding::new(Level::Warning, "STATE_DIR_UNREADABLE", &dir.path, error));
    }
    if dir.mode & OTHERS != 0 {
        let message = format!("its mode is {:03o}", dir.mode);
        let finding = Finding::new(Level::Broken, "STATE_DIR_OPEN", &dir.path, message);
        found.push(finding.mended_by(format!("chmod -R go= {}", dir.path)));
    }
    if let Some(mode) = dir.key_mode.filter(|mode| mode & OTHERS != 0) {
        let path = format!("{}/identity.key", dir.path);
        let finding =
            Finding::new(Level::Broken, "KEY_OPEN", &path, format!("its mode is {mode:03o}"));
        let mend = format!("chmod 600 {path}; if others could enter {}, enrol anew", dir.path);
        found.push(finding.mended_by(mend));
    }
}

pub fn clock(clock: &Clock, found: &mut Vec<Finding>) {
    if clock.synchronised == Some(false) {
        let message = "the kernel calls its clock unsynchronised";
        found.push(Finding::new(Level::Warning, "CLOCK_UNSYNCHRONISED", "", message));
    }
    if let Some(offset) = clock.offset_s.filter(|offset| offset.unsigned_abs() > MAX_OFFSET_S) {
        let side = if offset > 0 { "ahead of" } else { "behind" };
        let message = format!("{} s {side} the controller's", offset.unsigned_abs());
        found.push(Finding::new(Level::Warning, "CLOCK_OFF", "", message));
    }
}
