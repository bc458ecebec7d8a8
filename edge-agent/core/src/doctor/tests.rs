use std::collections::BTreeSet;

use super::*;
use crate::ike::{Daemon, KeyKind};

const DAY_S: i64 = 86_400;
const NOW: i64 = 1_800_000_000;

/// An edge that lacks nothing.
fn sound() -> Facts {
    Facts {
        driver: Driver::Userspace,
        driver_lacks: Some(vec![]),
        rights: Rights { of_agent: true, net_admin: true, net_raw: true, net_bind_service: true },
        sockets: Sockets {
            segmentation: true,
            coalescing: true,
            buffer_bytes: 1 << 23,
            wanted_buffer_bytes: 1 << 23,
        },
        state_dir: StateDir {
            path: "/state".into(),
            exists: true,
            mode: 0o700,
            key_mode: Some(0o600),
            unreadable: None,
        },
        clock: Clock { synchronised: Some(true), offset_s: Some(1) },
        now_unix_s: NOW,
        certificate: Certificate::Usable {
            not_before_unix_s: NOW - 40 * DAY_S,
            half_life_unix_s: NOW + 5 * DAY_S,
            not_after_unix_s: NOW + 50 * DAY_S,
        },
        controllers: vec![Controller { address: "c1:4443".into(), failure: None }],
        agent: Some(Agent { paths: vec![path("p1", true, 1380)] }),
        uplinks: Some(vec![uplink(&["203.0.113.7", "fe80::1"])]),
        ike_tunnels: 1,
        charon: Charon {
            program: "/charon".into(),
            program_exists: true,
            answer: Some(Ok(daemon("6.0.1", &["kernel-netlink", "socket-default", "nonce"]))),
            foreign: false,
        },
        ..Facts::default()
    }
}

fn path(name: &str, up: bool, inner_mtu_bytes: u32) -> PathFacts {
    PathFacts { name: name.into(), up, inner_mtu_bytes }
}

fn uplink(addresses: &[&str]) -> UplinkFacts {
    UplinkFacts {
        name: "isp-a".into(),
        interface: "wan0".into(),
        exists: true,
        running: true,
        addresses: addresses.iter().map(|a| a.parse().expect("address")).collect(),
    }
}

fn daemon(version: &str, plugins: &[&str]) -> Daemon {
    Daemon {
        name: "charon-systemd".into(),
        version: version.into(),
        plugins: plugins.iter().map(|&p| p.to_owned()).collect(),
    }
}

fn setting(name: &str, is: &str, wanted: &str, writable: bool) -> Setting {
    Setting { name: name.into(), is: is.into(), wanted: wanted.into(), writable }
}

fn lack(what: &str) -> DriverLack {
    DriverLack { what: what.into(), message: "no".into(), mend: "modprobe it".into() }
}

fn gateway(manual: bool) -> GatewayTunnel {
    GatewayTunnel { name: "dc".into(), manual, ..GatewayTunnel::default() }
}

fn failure(code: &str) -> Vec<Controller> {
    vec![Controller { address: "c1:4443".into(), failure: Some((code.into(), "no".into())) }]
}

fn certificate(from_days: i64, half_days: i64, end_days: i64) -> Certificate {
    Certificate::Usable {
        not_before_unix_s: NOW + from_days * DAY_S,
        half_life_unix_s: NOW + half_days * DAY_S,
        not_after_unix_s: NOW + end_days * DAY_S,
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(judge(&sound()), vec![]);
}

type Change = fn(&mut Facts);

/// What is changed in an edge that lacks nothing, and what is found then, worst first.
const TABLE: [(Change, &[(&str, Level)]); 54] = {
    use Level::{Broken, Note, Warning};
    [
        (|f| f.rights.net_admin = false, &[("RIGHT_NET_ADMIN", Broken)]),
        (|f| f.rights.net_raw = false, &[("RIGHT_NET_RAW", Warning)]),
        (|f| (f.rights.net_raw, f.driver) = (false, Driver::Kernel), &[("RIGHT_NET_RAW", Broken)]),
        (|f| f.rights.net_bind_service = false, &[("RIGHT_BIND_SERVICE", Broken)]),
        (
            |f| (f.rights.net_admin, f.rights.of_agent) = (false, false),
            &[("RIGHT_NET_ADMIN", Warning)],
        ),
        (|f| f.tun_error = Some("no".into()), &[("TUN_UNUSABLE", Broken)]),
        (
            |f| (f.tun_error, f.driver) = (Some("no".into()), Driver::Kernel),
            &[("TUN_UNUSABLE", Note)],
        ),
        (
            |f| (f.tun_error, f.driver) = (Some("no".into()), Driver::Auto),
            &[("TUN_UNUSABLE", Note)],
        ),
        (
            |f| {
                (f.tun_error, f.driver) = (Some("no".into()), Driver::Auto);
                f.driver_lacks = Some(vec![lack("GRE")]);
            },
            &[("TUN_UNUSABLE", Broken), ("KERNEL_DRIVER_LACKS", Note)],
        ),
        (|f| f.nft_error = Some("no".into()), &[("NFT_UNUSABLE", Broken)]),
        (
            |f| (f.nft_error, f.rights.net_admin) = (Some("no".into()), false),
            &[("RIGHT_NET_ADMIN", Broken), ("NFT_UNUSABLE", Note)],
        ),
        (|f| f.driver_lacks = None, &[("KERNEL_DRIVER_UNTRIED", Note)]),
        (|f| f.driver_lacks = Some(vec![lack("XFRM")]), &[("KERNEL_DRIVER_LACKS", Note)]),
        (
            |f| (f.driver_lacks, f.driver) = (Some(vec![lack("XFRM")]), Driver::Kernel),
            &[("KERNEL_DRIVER_LACKS", Broken)],
        ),
        (|f| f.sockets.segmentation = false, &[("UDP_NO_SEGMENTATION", Warning)]),
        (|f| f.sockets.coalescing = false, &[("UDP_NO_COALESCING", Warning)]),
        (|f| f.sockets.buffer_bytes = 212_992, &[("SOCKET_BUFFER_SMALL", Warning)]),
        (
            |f| f.settings = vec![setting("net.ipv4.ip_forward", "0", "1", true)],
            &[("FORWARDING_OFF", Broken)],
        ),
        (
            |f| f.settings = vec![setting("net.ipv4.conf.wan0/7.rp_filter", "1", "2", true)],
            &[("RP_FILTER_STRICT", Broken)],
        ),
        (|f| f.settings = vec![setting("net.ipv4.conf.wan0.rp_filter", "0", "2", true)], &[]),
        (
            |f| f.settings = vec![setting("net.ipv4.conf.wan0.src_valid_mark", "0", "1", false)],
            &[("UNDERLAY_UNMARKED", Warning)],
        ),
        (
            |f| f.settings = vec![setting("net.ipv6.conf.wan0.accept_ra", "1", "2", true)],
            &[("ROUTER_ADVERTS_IGNORED", Broken)],
        ),
        (
            |f| {
                f.agent = None;
                f.settings = vec![setting("net.ipv4.ip_forward", "0", "1", true)];
            },
            &[("AGENT_NOT_RUNNING", Warning), ("FORWARDING_OFF", Note), ("PATH_MTU_UNKNOWN", Note)],
        ),
        (
            |f| {
                f.agent = None;
                f.settings = vec![setting("net.ipv4.ip_forward", "0", "1", false)];
            },
            &[
                ("FORWARDING_OFF", Broken),
                ("AGENT_NOT_RUNNING", Warning),
                ("PATH_MTU_UNKNOWN", Note),
            ],
        ),
        (|f| f.state_dir.exists = false, &[("STATE_DIR_MISSING", Broken)]),
        (|f| f.state_dir.unreadable = Some("no".into()), &[("STATE_DIR_UNREADABLE", Warning)]),
        (|f| f.state_dir.mode = 0o755, &[("STATE_DIR_OPEN", Broken)]),
        (|f| f.state_dir.key_mode = Some(0o640), &[("KEY_OPEN", Broken)]),
        (|f| f.clock.synchronised = Some(false), &[("CLOCK_UNSYNCHRONISED", Warning)]),
        (|f| f.clock.synchronised = None, &[]),
        (|f| f.clock.offset_s = Some(-11), &[("CLOCK_OFF", Warning)]),
        (|f| f.clock.offset_s = Some(10), &[]),
        (|f| f.certificate = Certificate::NotEnrolled, &[("NOT_ENROLLED", Broken)]),
        (
            |f| {
                let (message, mend) = ("no".into(), "enrol".into());
                f.certificate = Certificate::Unusable { message, mend };
            },
            &[("IDENTITY_UNUSABLE", Broken)],
        ),
        (|f| f.certificate = certificate(1, 2, 3), &[("CERTIFICATE_NOT_YET_VALID", Broken)]),
        (|f| f.certificate = certificate(-3, -2, -1), &[("CERTIFICATE_EXPIRED", Broken)]),
        (|f| f.certificate = certificate(-70, -25, 20), &[("CERTIFICATE_NOT_RENEWED", Warning)]),
        (|f| f.certificate = certificate(-47, -2, 43), &[]),
        (
            |f| f.controllers = failure("CONTROLLER_NAME_UNRESOLVED"),
            &[("CONTROLLER_UNREACHABLE", Warning)],
        ),
        (
            |f| f.controllers = failure("CONTROLLER_NOT_TRUSTED"),
            &[("CONTROLLER_UNTRUSTED", Broken)],
        ),
        (|f| f.uplinks = None, &[("NO_GENERATION", Warning)]),
        (
            |f| {
                let paths = vec![path("p1", false, 0), path("p2", true, 1279), path("p3", true, 0)];
                f.agent = Some(Agent { paths });
            },
            &[("PATH_DOWN", Warning), ("PATH_MTU_SMALL", Warning)],
        ),
        (
            |f| {
                f.uplinks = Some(vec![
                    UplinkFacts { running: false, ..uplink(&[]) },
                    UplinkFacts { exists: false, ..uplink(&[]) },
                    uplink(&["fe80::1", "169.254.1.1"]),
                    uplink(&["10.0.0.2", "fd00::2"]),
                    uplink(&["100.127.0.2"]),
                    uplink(&["10.0.0.2", "2001:db8::2"]),
                    uplink(&["100.128.0.2"]),
                ]);
            },
            &[
                ("UPLINK_MISSING", Broken),
                ("UPLINK_NO_CARRIER", Warning),
                ("UPLINK_NO_ADDRESS", Warning),
                ("UPLINK_BEHIND_NAT", Note),
                ("UPLINK_BEHIND_NAT", Note),
            ],
        ),
        (|f| f.ike_tunnels = 0, &[("IKE_NOT_NEEDED", Note)]),
        (
            |f| (f.charon.program_exists, f.charon.answer) = (false, None),
            &[("IKE_UNAVAILABLE", Broken)],
        ),
        (|f| f.charon.answer = Some(Err("silent".into())), &[("IKE_UNAVAILABLE", Broken)]),
        (
            |f| f.charon.answer = Some(Ok(daemon("5.8.4", &["kernel-netlink", "socket-default"]))),
            &[("IKE_UNAVAILABLE", Broken), ("IKE_UNAVAILABLE", Broken)],
        ),
        (
            |f| (f.agent, f.charon.answer) = (None, Some(Err("nobody".into()))),
            &[("AGENT_NOT_RUNNING", Warning), ("PATH_MTU_UNKNOWN", Note)],
        ),
        (|f| f.gateways = vec![gateway(false)], &[]),
        (
            |f| {
                let ecdsa = Some(KeyKind::Ecdsa);
                let groups = vec!["ecp256".into(), "x25519".into()];
                f.gateways = vec![GatewayTunnel { key_kind: ecdsa, groups, ..gateway(false) }];
            },
            &[
                ("IKE_TUNNEL_PLUGIN", Broken),
                ("IKE_TUNNEL_PLUGIN", Broken),
                ("IKE_TUNNEL_PLUGIN", Broken),
            ],
        ),
        (
            |f| {
                let ailment = Some(("there is none".into(), "put it there".into()));
                f.gateways = vec![GatewayTunnel { ailment, ..gateway(true) }];
            },
            &[("GATEWAY_KEYS", Broken)],
        ),
        (
            |f| {
                (f.gateways, f.gateway_lacks) =
                    (vec![gateway(false)], vec![lack("xfrm interfaces")])
            },
            &[("GATEWAY_KERNEL_LACKS", Broken)],
        ),
        (
            |f| (f.gateways, f.driver_lacks) = (vec![gateway(false)], Some(vec![lack("XFRM")])),
            &[("GATEWAY_KERNEL_LACKS", Broken), ("KERNEL_DRIVER_LACKS", Note)],
        ),
        (
            |f| (f.gateways, f.rights.net_raw) = (vec![gateway(true)], false),
            &[("RIGHT_NET_RAW", Broken)],
        ),
    ]
};

#[test]
fn each_lack_is_found_with_its_level_its_cost_and_a_mend() {
    let mut seen = BTreeSet::new();
    for (row, (change, expected)) in TABLE.into_iter().enumerate() {
        let mut facts = sound();
        change(&mut facts);
        let found = judge(&facts);
        let short: Vec<_> = found.iter().map(|f| (f.code.as_str(), f.level)).collect();
        assert_eq!(short, expected, "row {row}: {found:#?}");
        for finding in found {
            assert!(!finding.message.is_empty() && !finding.cost.is_empty(), "{finding:?}");
            assert!(!finding.mend.is_empty() || finding.code == "IKE_NOT_NEEDED", "{finding:?}");
            seen.insert(finding.code);
        }
    }
    let all: BTreeSet<String> = KINDS.iter().map(|kind| kind.code.to_owned()).collect();
    assert_eq!(seen, all, "every kind has a row that finds it, and a finding is of a kind");
    assert_eq!(all.len(), KINDS.len(), "no code means two things");
}

#[test]
fn a_setting_is_mended_by_the_command_that_sets_it() {
    let mut facts = sound();
    facts.settings = vec![setting("net.ipv4.conf.wan0/7.rp_filter", "1", "2", true)];
    assert_eq!(judge(&facts)[0].mend, "sysctl -w net.ipv4.conf.wan0/7.rp_filter=2");
}

#[test]
fn the_reference_has_every_kind_in_order() {
    let reference = include_str!("../../../../docs/REFERENCE.md");
    let (_, section) = reference.split_once("## What the doctor finds").expect("its section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |kind: &Kind| format!("| `{}` | {} | {} |", kind.code, kind.when, kind.cost);
    let expected: Vec<String> = KINDS.iter().map(row).collect();
    assert_eq!(rows, expected, "docs/REFERENCE.md must have these rows:\n{}", expected.join("\n"));
}

#[test]
fn dates_of_http_are_read_and_nothing_else() {
    for (text, seconds) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Thu, 29 Feb 2024 23:59:60 GMT", Some(1_709_251_200)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, +6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("", None),
    ] {
        assert_eq!(http_date_unix_s(text), seconds, "{text}");
    }
}
