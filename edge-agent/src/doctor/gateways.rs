//! Tunnels with devices that are not Hawser: their keys and certificates, and the interfaces that they need.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;

use hawser_edge_core::config::{EdgeState, IkeAuth, IkeTunnel, ManualTunnel};
use hawser_edge_core::doctor::{DriverLack, GatewayTunnel};
use hawser_edge_core::ike::{Blocked, InterfaceKind, KeyKind, TunnelMode};
use nix::sched::{CloneFlags, unshare};

use crate::engine::chain;
use crate::host::{Host, HostError};
use crate::ike::{certificates, secrets};
use crate::manual;

const XFRM: InterfaceKind = InterfaceKind::Xfrm { if_id: 1 };
const GRE: InterfaceKind = InterfaceKind::Gre {
    local: IpAddr::V4(Ipv4Addr::LOCALHOST),
    remote: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
};

pub(super) fn tunnels(state_dir: &Path, edge: &EdgeState) -> Vec<GatewayTunnel> {
    let by_ike = edge.ike_tunnels.iter().map(|tunnel| by_ike(state_dir, tunnel));
    let by_hand = edge.manual_tunnels.iter().map(|tunnel| by_hand(state_dir, tunnel));
    by_ike.chain(by_hand).collect()
}

fn by_ike(state_dir: &Path, tunnel: &IkeTunnel) -> GatewayTunnel {
    let examined = credentials(state_dir, &tunnel.auth);
    GatewayTunnel {
        name: tunnel.name.clone(),
        manual: false,
        key_kind: examined.as_ref().ok().copied().flatten(),
        ailment: examined.err().map(ailment),
        groups: tunnel.dh_groups.clone(),
    }
}

/// The kind of its key, of one that has a certificate.
fn credentials(state_dir: &Path, auth: &IkeAuth) -> Result<Option<KeyKind>, Blocked> {
    match auth {
        IkeAuth::Psk(name) => secrets::read(state_dir, name).map(|_| None),
        IkeAuth::Certificate { own, peer_ca } => {
            let own = certificates::own(state_dir, own.as_deref())?;
            certificates::peer_cas(state_dir, peer_ca)?;
            Ok(Some(own.kind))
        }
    }
}

fn by_hand(state_dir: &Path, tunnel: &ManualTunnel) -> GatewayTunnel {
    GatewayTunnel {
        name: tunnel.name.clone(),
        manual: true,
        ailment: manual::keys(state_dir, tunnel).err().map(ailment),
        ..GatewayTunnel::default()
    }
}

fn ailment(blocked: Blocked) -> (String, String) {
    (format!("{} [{}]", blocked.message, blocked.code), blocked.mend)
}

/// Of the interfaces that its IKE tunnels need. Tried in a network namespace that ends with the thread: nothing of the host is
/// touched.
pub(super) fn kernel_lacks(edge: &EdgeState) -> Vec<DriverLack> {
    let needs = |mode| edge.ike_tunnels.iter().any(|tunnel| tunnel.mode == mode);
    let mut wanted = Vec::new();
    if needs(TunnelMode::Route) {
        wanted.push(("xfrm interfaces", XFRM, "modprobe xfrm_interface"));
    }
    if needs(TunnelMode::Gre) {
        wanted.push(("GRE", GRE, "modprobe ip_gre"));
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let tried = thread::Builder::new().name("gateway-try".into()).spawn(move || {
        // Without the right there is nowhere to try; the kernel driver's finding says so.
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            return Vec::new();
        }
        let refused = |(what, kind, mend): (&str, _, &str)| {
            let message = try_interface(kind).err()?;
            Some(DriverLack { what: what.to_owned(), message, mend: mend.to_owned() })
        };
        wanted.into_iter().filter_map(refused).collect()
    });
    tried.ok().and_then(|thread| thread.join().ok()).unwrap_or_default()
}

fn try_interface(kind: InterfaceKind) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let made: Result<(), HostError> = runtime.block_on(async {
        let host = Host::open()?;
        host.try_interface(kind).await
    });
    made.map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::edge;
    use hawser_edge_core::config::Profile;
    use hawser_edge_core::id::{SegmentId, UplinkId};
    use hawser_edge_core::manual::{KeyName, Mode, Protocol};
    use hawser_esp::Suite;

    fn tunnel() -> ManualTunnel {
        let key = |name: &str, spi| KeyName { spi, name: name.into() };
        ManualTunnel {
            name: "old".into(),
            uplink: UplinkId(1),
            peer_address: "203.0.113.9".parse().expect("an address"),
            protocol: Protocol::Ah,
            mode: Mode::Tunnel,
            profile: Profile {
                name: "by-hand".into(),
                suite: Suite::NullSha256,
                waiver: None,
                rekey_after_s: 3600,
                rekey_after_bytes: 1 << 36,
                replay_window_packets: 1024,
                esn: true,
                probe_interval_ms: 100,
                probe_idle_interval_ms: 500,
                down_after_probes: 0,
            },
            segment: SegmentId(1),
            local_prefixes: vec![],
            remote_prefixes: vec![],
            inbound: key("old-in", 0x1000),
            outbound: key("old-out", 0x2000),
        }
    }

    #[test]
    fn a_key_that_is_missing_or_no_good_is_told_until_it_is_mended() {
        let state = tempfile::tempdir().expect("a folder");
        let edge = EdgeState { manual_tunnels: vec![tunnel()], ..edge() };
        let ailment = || {
            let told = tunnels(state.path(), &edge);
            assert!(told.len() == 1 && told[0].manual && told[0].name == "old", "{told:?}");
            told[0].ailment.as_ref().map(|(message, _)| message.clone()).unwrap_or_default()
        };
        let put = |name, seed: u8| {
            let octet = |n: u8| n.wrapping_mul(n).wrapping_mul(31).wrapping_add(seed);
            let key: String = (1..=32).map(|n| format!("{:02x}", octet(n))).collect();
            secrets::keep(state.path(), name, key.as_bytes()).expect("kept");
        };
        assert!(ailment().contains("old-in") && ailment().contains("MANUAL_KEY_MISSING"));
        put("old-in", 3);
        assert!(ailment().contains("old-out"), "{}", ailment());
        put("old-out", 3);
        assert!(ailment().contains("MANUAL_KEYS_EQUAL"), "{}", ailment());
        put("old-out", 5);
        assert_eq!(ailment(), "");
    }

    #[test]
    fn nothing_is_tried_where_no_tunnel_needs_an_interface() {
        let edge = EdgeState { manual_tunnels: vec![tunnel()], ..edge() };
        assert_eq!(kernel_lacks(&edge), vec![]);
    }
}
