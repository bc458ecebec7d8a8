//! Each fault at its place, and several at once.

use crate::{Fault, Suite, code, expired_waivers, parse, validate};

const FAULTY: &str = include_str!("../../testdata/faulty.yaml");

/// A fleet without a fault; each case replaces one part of it.
const GOOD: &str = r#"
fleet: acme
segments: [{name: main}, {name: guest}]
transports: {pairs: [[internet, internet]]}
controllers: ["203.0.113.10:7443"]
fabric_port: 4510
sla_classes:
  - {name: voice, max_rtt_ms: 150, max_jitter_ms: 30, max_loss_pct: 1}
tunnel_profiles:
  - {name: fast, suite: aes-256-gcm, rekey_after_s: 60, replay_window_packets: 64, esn: false}
traffic_classes:
  - {name: voice, segment: main, match: [{dscp: [46], protocol: [udp]}], sla: voice}
sites:
  - name: hq
    lans: [{interface: lan0, prefixes: ["10.0.0.0/24"]}]
    edges:
      - uplinks:
          - {name: isp-a, addresses: ["192.0.2.10"], families: [ipv4]}
          - {name: isp-b, addresses: discover}
  - name: b1
    lans: [{interface: lan0, segment: main, prefixes: ["10.1.0.0/24"], vlan: 7}]
    edges: [{name: b1-a, uplinks: [{name: isp-a, gateways: ["192.0.2.1"]}]}]
topologies:
  - {name: hubs, kind: hub-spoke, hubs: [hq], spokes: all, profile: fast}
"#;

fn places(faults: &[Fault]) -> Vec<(&str, &str)> {
    faults.iter().map(|fault| (fault.code, fault.path.as_str())).collect()
}

/// What replaces what in [`GOOD`], and the faults that this makes.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

fn check(cases: &[Case]) {
    assert_eq!(validate(GOOD.as_bytes()), []);
    for (old, new, expected) in cases {
        assert!(GOOD.contains(old), "{old}");
        let faults = validate(GOOD.replacen(old, new, 1).as_bytes());
        assert_eq!(places(&faults), *expected, "{new}\n{faults:#?}");
        for fault in &faults {
            assert!(!fault.message.is_empty() && !fault.mend.is_empty(), "{fault:?}");
        }
    }
}

#[test]
fn fields_are_known_once_and_of_their_type() {
    check(&[
        ("fabric_port:", "fabric_prot:", &[("UNKNOWN_FIELD", "fabric_prot")]),
        ("vlan: 7", "vlan: 7, vlan: 8", &[("DUPLICATE_FIELD", "sites[1].lans[0].vlan")]),
        ("vlan: 7", "vlan: \"7\"", &[("WRONG_TYPE", "sites[1].lans[0].vlan")]),
        ("esn: false", "esn: no", &[("WRONG_TYPE", "tunnel_profiles[0].esn")]),
        ("fleet: acme", "fleet: 7", &[("WRONG_TYPE", "fleet")]),
        ("- name: hq\n", "- name: hq\n    drain: yes\n", &[("WRONG_TYPE", "sites[0].drain")]),
        ("{name: b1-a, ", "{name: b1-a, drain: 1, ", &[("WRONG_TYPE", "sites[1].edges[0].drain")]),
        (
            "{name: b1-a, ",
            "{name: b1-a, drained: true, ",
            &[("UNKNOWN_FIELD", "sites[1].edges[0].drained")],
        ),
        ("fleet: acme", "", &[("MISSING_FIELD", "fleet")]),
        ("fleet: acme", "? [a, b]\n: 1\nfleet: acme", &[("UNKNOWN_FIELD", "\"(a list)\"")]),
        ("interface: lan0, segment", "segment", &[("MISSING_FIELD", "sites[1].lans[0].interface")]),
        (
            "gateways: [\"192.0.2.1\"]",
            "gateways: 1",
            &[("WRONG_TYPE", "sites[1].edges[0].uplinks[0].gateways")],
        ),
        ("{name: guest}", "guest", &[("WRONG_TYPE", "segments[1]")]),
        (
            "- name: b1\n",
            "- nmae: b1\n",
            &[("UNKNOWN_FIELD", "sites[1].nmae"), ("MISSING_FIELD", "sites[1].name")],
        ),
    ]);
}

/// A tunnel of b1-a with a gateway, beside others' fields.
fn with_gateway(fields: &str) -> String {
    let tunnel = format!(
        "ike_tunnels: [{{name: dc, peer_addresses: [192.0.2.99], local_id: b1.example.net, psk: dc, \
         remote_prefixes: [10.9.0.0/24]{fields}}}]"
    );
    GOOD.replace("{name: b1-a, ", &format!("{{name: b1-a, {tunnel}, "))
}

#[test]
fn tunnels_with_gateways_are_checked_where_they_stand() {
    let at = |field: &str| format!("sites[1].edges[0].ike_tunnels[0]{field}");
    assert_eq!(validate(with_gateway("").as_bytes()), []);
    let all = ", version: ikev1, uplink: isp-a, remote_id: gw@example.net, profile: fast, dh_groups: [ecp256], \
               segment: main, local_prefixes: [10.1.0.128/25], start: trap, dpd_s: 0";
    assert_eq!(validate(with_gateway(all).as_bytes()), []);
    let links = ", uplinks: [isp-a], probe: {by: twamp-light, port: 862, interval_ms: 200, inside: 10.9.0.10}, \
                 sla: voice, failback_hold_s: 60";
    assert_eq!(validate(with_gateway(links).as_bytes()), []);
    let pem = "-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n";
    for ca in ["dc-ca", pem] {
        let by =
            format!("certificate: fleet, peer_ca: \"{ca}\", remote_id: \"CN=gw, O=Example\", ");
        let certified = with_gateway("").replacen("local_id: b1.example.net, psk: dc, ", &by, 1);
        assert_eq!(validate(certified.as_bytes()), []);
    }
    for (fields, code, field) in [
        (", certificate: fleet, peer_ca: dc-ca", "FIELD_CONFLICT", ".psk"),
        (", peer_ca: dc-ca", "FIELD_CONFLICT", ".peer_ca"),
        (", remote_id: \"CN=gw\"", "IKE_IDENTITY_INVALID", ".remote_id"),
        (", mode: bridge", "UNKNOWN_WORD", ".mode"),
        (", version: ikev3", "UNKNOWN_WORD", ".version"),
        (", uplink: isp-b", "UNKNOWN_UPLINK", ".uplink"),
        (", uplinks: [isp-a, isp-b]", "UNKNOWN_UPLINK", ".uplinks[1]"),
        (", uplinks: [isp-a, isp-a]", "DUPLICATE_VALUE", ".uplinks[1]"),
        (", uplinks: []", "MISSING_FIELD", ".uplinks"),
        (", uplink: isp-a, uplinks: [isp-a]", "FIELD_CONFLICT", ".uplink"),
        (", probe: icmp", "WRONG_TYPE", ".probe"),
        (", probe: {by: http}", "UNKNOWN_WORD", ".probe.by"),
        (", probe: {port: 862}", "FIELD_CONFLICT", ".probe.port"),
        (", probe: {interval_ms: 10}", "OUT_OF_RANGE", ".probe.interval_ms"),
        (", probe: {inside: 10.1.0.1}", "IKE_PROBE_NOT_BEYOND", ".probe.inside"),
        (", sla: none-such", "UNKNOWN_SLA_CLASS", ".sla"),
        (", failback_hold_s: 0", "OUT_OF_RANGE", ".failback_hold_s"),
        (", remote_id: \"%any\"", "IKE_IDENTITY_INVALID", ".remote_id"),
        (", profile: slow", "UNKNOWN_TUNNEL_PROFILE", ".profile"),
        (", dh_groups: [modp768]", "UNKNOWN_WORD", ".dh_groups[0]"),
        (", dh_groups: [ecp256, ecp256]", "DUPLICATE_VALUE", ".dh_groups[1]"),
        (", local_prefixes: [10.2.0.0/24]", "IKE_PREFIX_NOT_LOCAL", ".local_prefixes[0]"),
        (", segment: guest", "IKE_PREFIXES_UNPAIRED", ".remote_prefixes"),
        (", dpd_s: 3601", "OUT_OF_RANGE", ".dpd_s"),
        (", reauth_after_s: 59", "OUT_OF_RANGE", ".reauth_after_s"),
        (", psk_file: /etc/psk", "UNKNOWN_FIELD", ".psk_file"),
    ] {
        let faults = validate(with_gateway(fields).as_bytes());
        assert_eq!(places(&faults), [(code, at(field).as_str())], "{fields}\n{faults:#?}");
    }
    for (old, new, code, field) in [
        ("[192.0.2.99]", "[]", "MISSING_FIELD", ".peer_addresses"),
        ("[192.0.2.99]", "[gw.example.net]", "ADDRESS_INVALID", ".peer_addresses[0]"),
        ("local_id: b1.example.net, ", "", "MISSING_FIELD", ".local_id"),
        ("psk: dc, ", "", "MISSING_FIELD", ".psk"),
        ("psk: dc, ", "certificate: dc, ", "MISSING_FIELD", ".peer_ca"),
        (
            "peer_addresses: [192.0.2.99]",
            "mode: gre, peer_addresses: [192.0.2.99, 192.0.2.98]",
            "IKE_MODE_CONFLICT",
            ".mode",
        ),
        ("name: dc, ", "name: dc, standby: warm, ", "IKE_MODE_CONFLICT", ".standby"),
        ("name: dc, ", "name: dc, mode: route, standby: warm, ", "IKE_MODE_CONFLICT", ".standby"),
        ("name: dc, ", "name: dc, protocol: ah, ", "IKE_SUITE_UNSUPPORTED", ".profile"),
        ("psk: dc, ", "certificate: ../dc, peer_ca: ca, ", "NAME_INVALID", ".certificate"),
        ("psk: dc, ", "certificate: dc, peer_ca: /etc/ca, ", "NAME_INVALID", ".peer_ca"),
        (
            "psk: dc, ",
            "certificate: dc, peer_ca: -----BEGIN PRIVATE KEY-----, ",
            "IKE_CERTIFICATE_INVALID",
            ".peer_ca",
        ),
        ("[10.9.0.0/24]", "[192.0.2.0/24]", "IKE_PEER_INSIDE", ".remote_prefixes"),
        ("[10.9.0.0/24]", "[10.9.0.0/24, 10.9.0.0/24]", "DUPLICATE_PREFIX", ".remote_prefixes[1]"),
        ("[10.9.0.0/24]", "[0.0.0.0/0]", "PREFIX_NOT_USABLE", ".remote_prefixes[0]"),
        ("[10.9.0.0/24]", "[\"fd09::/64\"]", "IKE_PREFIXES_UNPAIRED", ".remote_prefixes"),
        ("[10.9.0.0/24]", "[10.0.0.0/24]", "PREFIX_OVERLAP", ".remote_prefixes[0]"),
    ] {
        let document = with_gateway("").replacen(old, new, 1);
        let faults = validate(document.as_bytes());
        assert_eq!(places(&faults), [(code, at(field).as_str())], "{new}\n{faults:#?}");
    }
    let twice = with_gateway(
        "}, {name: dc, peer_addresses: [192.0.2.98], local_id: b1, psk: dc, remote_prefixes: [10.8.0.0/24]",
    );
    let place = "sites[1].edges[0].ike_tunnels[1].name";
    assert_eq!(places(&validate(twice.as_bytes())), [("DUPLICATE_IKE_TUNNEL", place)]);
    let sm4 = with_gateway(", profile: fast").replace("aes-256-gcm", "sm4-gcm");
    let expected = at(".profile");
    assert_eq!(places(&validate(sm4.as_bytes())), [("IKE_SUITE_UNSUPPORTED", expected.as_str())]);
}

/// Beside a tunnel with a gateway.
fn with_manual() -> String {
    let tunnels = "manual_tunnels: [{name: old, peer_address: 192.0.2.99, profile: slow, \
                   remote_prefixes: [10.9.0.0/24], inbound: {spi: 4096, key: old-in}, \
                   outbound: {spi: 4097, key: old-out}}]";
    let edge = "{name: b1-a, ";
    with_gateway("")
        .replace("[10.9.0.0/24]", "[10.7.0.0/24]")
        .replace(edge, &format!("{edge}{tunnels}, "))
        .replace(
            "tunnel_profiles:\n",
            "tunnel_profiles:\n  - {name: slow, suite: aes-256-cbc-sha256-128}\n",
        )
}

#[test]
fn tunnels_under_manual_keys_are_checked_where_they_stand() {
    let at = |field: &str| format!("sites[1].edges[0].manual_tunnels[0]{field}");
    let base = with_manual();
    assert_eq!(validate(base.as_bytes()), [], "{base}");
    let all = "name: old, protocol: esp, mode: gre, uplink: isp-a, segment: main, ";
    assert_eq!(validate(base.replace("name: old, ", all).as_bytes()), []);
    for (old, new, code, field) in [
        ("peer_address: 192.0.2.99, ", "", "MISSING_FIELD", ".peer_address"),
        ("peer_address: 192.0.2.99", "peer_address: peer", "ADDRESS_INVALID", ".peer_address"),
        ("name: old, ", "name: old, protocol: ipcomp, ", "UNKNOWN_WORD", ".protocol"),
        ("name: old, ", "name: old, mode: vti, ", "UNKNOWN_WORD", ".mode"),
        ("name: old, ", "name: old, uplink: none-such, ", "UNKNOWN_UPLINK", ".uplink"),
        ("profile: slow, ", "", "MANUAL_SUITE", ".profile"),
        ("name: old, ", "name: old, protocol: ah, ", "MANUAL_SUITE", ".profile"),
        ("spi: 4096", "spi: 255", "OUT_OF_RANGE", ".inbound.spi"),
        ("spi: 4097", "spi: 4294967296", "OUT_OF_RANGE", ".outbound.spi"),
        ("spi: 4096, ", "", "MISSING_FIELD", ".inbound.spi"),
        ("key: old-out", "key: old-in", "MANUAL_KEY_TWICE", ".outbound.key"),
        ("name: old, ", "name: dc, ", "DUPLICATE_MANUAL_TUNNEL", ".name"),
        ("[10.9.0.0/24]", "[192.0.2.0/24]", "IKE_PEER_INSIDE", ".remote_prefixes"),
    ] {
        let document = base.replacen(old, new, 1);
        assert_ne!(document, base, "{old}");
        let faults = validate(document.as_bytes());
        assert_eq!(places(&faults), [(code, at(field).as_str())], "{new}\n{faults:#?}");
    }
    let secret = "0x".to_owned() + &"a1b2c3d4".repeat(6);
    for key in [secret.as_str(), &secret[2..]] {
        let faults =
            validate(base.replacen("key: old-in", &format!("key: \"{key}\""), 1).as_bytes());
        let expected = at(".inbound.key");
        assert_eq!(places(&faults), [("MANUAL_KEY_NOT_A_NAME", expected.as_str())]);
        assert!(!format!("{faults:?}").contains("a1b2c3d4"), "the key is repeated");
    }
    for (profile, fits_ah) in [("3des-cbc-sha1-96", false), ("null-sha256-128", true)] {
        let waiver = if fits_ah { "" } else { ", waiver: {until: 2040-01-31, reason: old}" };
        let other = base.replace("aes-256-cbc-sha256-128}", &format!("{profile}{waiver}}}"));
        let ah = other.replacen("name: old, ", "name: old, protocol: ah, ", 1);
        assert_eq!(validate(ah.as_bytes()).is_empty(), fits_ah, "{profile}");
        assert_eq!(validate(other.as_bytes()).is_empty(), fits_ah, "{profile}");
    }
}

#[test]
fn names_are_labels_used_once_and_known_where_they_are_used() {
    check(&[
        ("fleet: acme", "fleet: \"\"", &[("NAME_INVALID", "fleet")]),
        ("fleet: acme", "fleet: -acme", &[("NAME_INVALID", "fleet")]),
        ("name: guest", "name: Guest", &[("NAME_INVALID", "segments[1].name")]),
        ("name: guest", "name: main", &[("DUPLICATE_SEGMENT", "segments[1].name")]),
        ("- name: b1\n", "- name: hq\n", &[("DUPLICATE_SITE", "sites[1].name")]),
        ("name: b1-a", "name: hq-1", &[("DUPLICATE_EDGE", "sites[1].edges[0].name")]),
        (
            "name: isp-b",
            "name: isp-a",
            &[
                ("DUPLICATE_UPLINK", "sites[0].edges[0].uplinks[1].name"),
                ("INTERFACE_CLASH", "sites[0].edges[0].uplinks[1].interface"),
            ],
        ),
        (
            "segment: main, match",
            "segment: mian, match",
            &[("UNKNOWN_SEGMENT", "traffic_classes[0].segment")],
        ),
        ("sla: voice", "sla: voise", &[("UNKNOWN_SLA_CLASS", "traffic_classes[0].sla")]),
        ("profile: fast", "profile: slow", &[("UNKNOWN_TUNNEL_PROFILE", "topologies[0].profile")]),
        (
            "sla: voice",
            "prefer_uplinks: [isp-a, isp-c]",
            &[("UNKNOWN_UPLINK", "traffic_classes[0].prefer_uplinks[1]")],
        ),
        (
            "[internet, internet]]",
            "[internet, internet], [mpls, internet]]",
            &[("UNKNOWN_TRANSPORT", "transports.pairs[1][0]")],
        ),
    ]);
}

#[test]
fn prefixes_and_addresses_are_whole_and_do_not_clash() {
    const AT: &str = "sites[1].lans[0].prefixes[0]";
    check(&[
        ("10.1.0.0/24", "10.1.0.0/33", &[("PREFIX_INVALID", AT)]),
        ("10.1.0.0/24", "10.1.0.0", &[("PREFIX_INVALID", AT)]),
        ("10.1.0.0/24", "10.1.0.1/24", &[("HOST_BITS_SET", AT)]),
        ("10.1.0.0/24", "fd00::1/64", &[("HOST_BITS_SET", AT)]),
        ("10.1.0.0/24", "0.0.0.0/0", &[("PREFIX_NOT_USABLE", AT)]),
        ("10.1.0.0/24", "fe80::/64", &[("PREFIX_NOT_USABLE", AT)]),
        ("10.1.0.0/24", "224.0.0.0/8", &[("PREFIX_NOT_USABLE", AT)]),
        ("10.1.0.0/24", "10.0.0.0/24", &[("PREFIX_OVERLAP", AT)]),
        ("10.1.0.0/24", "10.0.0.128/25", &[("PREFIX_OVERLAP", AT)]),
        ("10.1.0.0/24", "10.0.0.0/8", &[("PREFIX_OVERLAP", "sites[0].lans[0].prefixes[0]")]),
        (
            "[\"10.1.0.0/24\"]",
            "[\"10.1.0.0/24\", \"10.1.0.0/24\"]",
            &[("DUPLICATE_PREFIX", "sites[1].lans[0].prefixes[1]")],
        ),
        ("[\"10.1.0.0/24\"]", "[]", &[("LAN_WITHOUT_PREFIX", "sites[1].lans[0]")]),
        (
            "addresses: discover",
            "addresses: [\"192.0.2.10\"]",
            &[("ADDRESS_CLASH", "sites[0].edges[0].uplinks[1].addresses[0]")],
        ),
        (
            "addresses: discover",
            "addresses: [\"192.0.2.10/24\"]",
            &[("ADDRESS_INVALID", "sites[0].edges[0].uplinks[1].addresses[0]")],
        ),
        (
            "addresses: discover",
            "addresses: [\"127.0.0.1\"]",
            &[("ADDRESS_NOT_USABLE", "sites[0].edges[0].uplinks[1].addresses[0]")],
        ),
        (
            "addresses: discover",
            "addresses: discovered",
            &[("UNKNOWN_WORD", "sites[0].edges[0].uplinks[1].addresses")],
        ),
        (
            "families: [ipv4]",
            "families: [ipv6]",
            &[("ADDRESS_FAMILY", "sites[0].edges[0].uplinks[0].addresses[0]")],
        ),
        (
            "gateways: [\"192.0.2.1\"]",
            "gateways: [\"2001:db8::1\"]",
            &[("ADDRESS_FAMILY", "sites[1].edges[0].uplinks[0].gateways[0]")],
        ),
        ("203.0.113.10:7443", "203.0.113.10", &[("ENDPOINT_INVALID", "controllers[0]")]),
        ("203.0.113.10:7443", "203.0.113.300:7443", &[("ENDPOINT_INVALID", "controllers[0]")]),
    ]);
}

#[test]
fn a_prefix_may_be_shared_only_if_both_say_so() {
    let shared = "prefixes: [\"10.0.0.0/24\"], shared_origin: true";
    let both = GOOD.replacen("prefixes: [\"10.0.0.0/24\"]", shared, 1).replacen(
        "prefixes: [\"10.1.0.0/24\"]",
        shared,
        1,
    );
    assert_eq!(validate(both.as_bytes()), []);
    let one = GOOD.replacen("prefixes: [\"10.0.0.0/24\"]", shared, 1).replacen(
        "\"10.1.0.0/24\"",
        "\"10.0.0.0/25\"",
        1,
    );
    let expected = [("PREFIX_OVERLAP", "sites[1].lans[0].prefixes[0]")];
    assert_eq!(places(&validate(one.as_bytes())), expected);
}

#[test]
fn a_prefix_may_be_in_two_segments() {
    let other = "segment: guest, prefixes: [\"10.0.0.0/24\"]";
    let document = GOOD.replacen("segment: main, prefixes: [\"10.1.0.0/24\"]", other, 1);
    assert_eq!(validate(document.as_bytes()), []);
}

#[test]
fn numbers_words_and_ports_are_within_bounds() {
    check(&[
        ("vlan: 7", "vlan: 4095", &[("OUT_OF_RANGE", "sites[1].lans[0].vlan")]),
        ("vlan: 7", "vlan: -1", &[("OUT_OF_RANGE", "sites[1].lans[0].vlan")]),
        ("fabric_port: 4510", "fabric_port: 500", &[("PORT_RESERVED", "fabric_port")]),
        ("fabric_port: 4510", "fabric_port: 65536", &[("OUT_OF_RANGE", "fabric_port")]),
        (
            "packets: 64",
            "packets: 65",
            &[("OUT_OF_RANGE", "tunnel_profiles[0].replay_window_packets")],
        ),
        (
            "rekey_after_s: 60",
            "rekey_after_s: 1",
            &[("OUT_OF_RANGE", "tunnel_profiles[0].rekey_after_s")],
        ),
        (
            "esn: false",
            "probe_interval_ms: 400, probe_idle_interval_ms: 300",
            &[("OUT_OF_RANGE", "tunnel_profiles[0].probe_idle_interval_ms")],
        ),
        ("aes-256-gcm", "3des-cbc", &[("SUITE_WEAK", "tunnel_profiles[0].suite")]),
        ("aes-256-gcm", "rot13", &[("SUITE_UNKNOWN", "tunnel_profiles[0].suite")]),
        ("aes-256-gcm", "3des-cbc-sha1-96", &[("WAIVER_MISSING", "tunnel_profiles[0].suite")]),
        (
            "aes-256-gcm",
            "sm4-gcm, waiver: {until: 2026-12-31, reason: none}",
            &[("WAIVER_UNUSED", "tunnel_profiles[0].waiver")],
        ),
        (
            "aes-256-gcm",
            "des-cbc-md5-96, waiver: {until: 2026-02-29, reason: \"an old peer\"}",
            &[("DATE_INVALID", "tunnel_profiles[0].waiver.until")],
        ),
        (
            "aes-256-gcm",
            "des-cbc-md5-96, waiver: {until: 2026-02-28}",
            &[("MISSING_FIELD", "tunnel_profiles[0].waiver.reason")],
        ),
        (
            "aes-256-gcm",
            "des-cbc-md5-96, waiver: {until: 2026-02-28, reason: \" \"}",
            &[("OUT_OF_RANGE", "tunnel_profiles[0].waiver.reason")],
        ),
        ("max_rtt_ms: 150", "max_rtt_ms: 0", &[("SLA_LIMIT_ZERO", "sla_classes[0].max_rtt_ms")]),
        ("max_loss_pct: 1", "max_loss_pct: -1", &[("OUT_OF_RANGE", "sla_classes[0].max_loss_pct")]),
        (
            ", max_rtt_ms: 150, max_jitter_ms: 30, max_loss_pct: 1",
            "",
            &[("SLA_WITHOUT_LIMIT", "sla_classes[0]")],
        ),
        ("dscp: [46]", "dscp: [64]", &[("OUT_OF_RANGE", "traffic_classes[0].match[0].dscp[0]")]),
        (
            "sla: voice}",
            "sla: voice, wan_dscp: 64}",
            &[("OUT_OF_RANGE", "traffic_classes[0].wan_dscp")],
        ),
        ("dscp: [46]", "dscp: [af44]", &[("OUT_OF_RANGE", "traffic_classes[0].match[0].dscp[0]")]),
        (
            "protocol: [udp]",
            "protocol: [upd]",
            &[("UNKNOWN_WORD", "traffic_classes[0].match[0].protocol[0]")],
        ),
        (
            "protocol: [udp]",
            "destination_ports: [\"90-80\"]",
            &[("PORT_RANGE_INVALID", "traffic_classes[0].match[0].destination_ports[0]")],
        ),
        (
            "protocol: [udp]",
            "protocol: [icmp], source_ports: [1]",
            &[("MATCH_NEVER", "traffic_classes[0].match[0]")],
        ),
        ("{dscp: [46], protocol: [udp]}", "{}", &[("MATCH_EMPTY", "traffic_classes[0].match[0]")]),
        (
            ", match: [{dscp: [46], protocol: [udp]}]",
            "",
            &[("MATCH_EMPTY", "traffic_classes[0].match")],
        ),
        (
            "{name: voice, segment",
            "{name: default, segment",
            &[
                ("DEFAULT_CLASS_MATCHES", "traffic_classes[0].match"),
                ("DEFAULT_CLASS_MATCHES", "traffic_classes[0].segment"),
            ],
        ),
        (
            "sla: voice",
            "when_none_meets: least_bad",
            &[("UNKNOWN_WORD", "traffic_classes[0].when_none_meets")],
        ),
    ]);
}

#[test]
fn interfaces_belong_to_one_purpose() {
    const UPLINK: &str = "sites[0].edges[0].uplinks[1].interface";
    check(&[
        ("addresses: discover", "interface: lan0", &[("INTERFACE_CLASH", UPLINK)]),
        ("addresses: discover", "interface: isp-a", &[("INTERFACE_CLASH", UPLINK)]),
        ("addresses: discover", "interface: hawser1", &[("INTERFACE_INVALID", UPLINK)]),
        ("addresses: discover", "interface: a-name-too-long-", &[("INTERFACE_INVALID", UPLINK)]),
        ("addresses: discover", "interface: \"../x\"", &[("INTERFACE_INVALID", UPLINK)]),
    ]);
}

#[test]
fn topologies_join_sites_that_exist_and_can_be_joined() {
    let hubs = "{name: hubs, kind: hub-spoke, hubs: [hq], spokes: all, profile: fast}";
    let again =
        "{kind: full-mesh, sites: [hq, b1]}\n  - {kind: hub-spoke, hubs: [hq], profile: fast}";
    check(&[
        ("hubs: [hq]", "hubs: []", &[("HUB_MISSING", "topologies[0].hubs")]),
        ("hubs: [hq], ", "", &[("HUB_MISSING", "topologies[0].hubs")]),
        ("hubs: [hq]", "hubs: [hk]", &[("UNKNOWN_SITE", "topologies[0].hubs[0]")]),
        ("hubs: [hq]", "hubs: [hq, hq]", &[("DUPLICATE_MEMBER", "topologies[0].hubs[1]")]),
        ("spokes: all", "spokes: [b1, hq]", &[("HUB_IS_SPOKE", "topologies[0].spokes[1]")]),
        ("spokes: all", "spokes: some", &[("UNKNOWN_WORD", "topologies[0].spokes")]),
        ("spokes: all", "spokes: []", &[("TOPOLOGY_TOO_SMALL", "topologies[0]")]),
        ("spokes: all", "pairs: []", &[("UNKNOWN_FIELD", "topologies[0].pairs")]),
        ("kind: hub-spoke", "kind: star", &[("UNKNOWN_WORD", "topologies[0].kind")]),
        ("kind: hub-spoke, ", "", &[("MISSING_FIELD", "topologies[0].kind")]),
        (hubs, "{kind: full-mesh, sites: [hq]}", &[("TOPOLOGY_TOO_SMALL", "topologies[0]")]),
        (hubs, "{kind: partial, pairs: [[hq]]}", &[("PAIR_INVALID", "topologies[0].pairs[0]")]),
        (hubs, "{kind: partial, pairs: [[hq, hq]]}", &[("PAIR_INVALID", "topologies[0].pairs[0]")]),
        (
            hubs,
            "{kind: partial, pairs: [[hq, b1], [b1, hq]]}",
            &[("DUPLICATE_MEMBER", "topologies[0].pairs[1]")],
        ),
        (hubs, "{kind: partial, pairs: []}", &[("TOPOLOGY_TOO_SMALL", "topologies[0].pairs")]),
        (hubs, again, &[("PROFILE_CONFLICT", "topologies[1].profile")]),
        (
            "gateways: [\"192.0.2.1\"]",
            "families: [ipv6]",
            &[("TUNNEL_WITHOUT_PATH", "topologies[0]")],
        ),
        (
            "uplinks: [{name: isp-a, gateways: [\"192.0.2.1\"]}]",
            "uplinks: []",
            &[("EDGE_WITHOUT_UPLINK", "sites[1].edges[0]")],
        ),
        (
            "edges: [{name: b1-a, uplinks: [{name: isp-a, gateways: [\"192.0.2.1\"]}]}]",
            "",
            &[("SITE_WITHOUT_EDGE", "sites[1]")],
        ),
    ]);
}

#[test]
fn a_waiver_ends_with_its_last_day_and_its_document_can_still_be_read() {
    let waived = "3des-cbc-sha1-96, waiver: {until: 2026-03-31, reason: \"the old plant\"}";
    let fleet = parse(GOOD.replacen("aes-256-gcm", waived, 1).as_bytes()).unwrap();
    let first_of_april = 1_775_001_600;
    assert_eq!(expired_waivers(&fleet, first_of_april - 1), []);
    let faults = expired_waivers(&fleet, first_of_april);
    assert_eq!(places(&faults), [("WAIVER_EXPIRED", "tunnel_profiles[0].waiver.until")]);
}

#[test]
fn suites_and_what_needs_a_waiver_are_those_of_the_engine() {
    use hawser_esp::Suite as Engine;
    let ours = Suite::ALL.map(|suite| (suite.name(), suite.requires_waiver()));
    assert_eq!(ours, Engine::ALL.map(|suite| (suite.name(), suite.requires_waiver())));
}

#[test]
fn every_fault_of_a_document_is_reported_at_once() {
    let faults = parse(FAULTY.as_bytes()).unwrap_err();
    let expected = [
        ("NAME_INVALID", "fleet"),
        ("PORT_RESERVED", "fabric_port"),
        ("SLA_LIMIT_ZERO", "sla_classes[0].max_rtt_ms"),
        ("OUT_OF_RANGE", "sla_classes[0].max_loss_pct"),
        ("SLA_WITHOUT_LIMIT", "sla_classes[1]"),
        ("SUITE_WEAK", "tunnel_profiles[0].suite"),
        ("OUT_OF_RANGE", "traffic_classes[0].match[0].dscp[0]"),
        ("HOST_BITS_SET", "sites[0].lans[0].prefixes[1]"),
        ("UNKNOWN_FIELD", "sites[0].edges[0].uplniks"),
        ("ADDRESS_INVALID", "sites[0].edges[0].uplinks[0].addresses[0]"),
        ("DUPLICATE_SITE", "sites[1].name"),
        ("OUT_OF_RANGE", "sites[1].lans[0].vlan"),
        ("PREFIX_INVALID", "sites[1].lans[0].prefixes[1]"),
        ("SITE_WITHOUT_EDGE", "sites[1]"),
        ("UNKNOWN_SLA_CLASS", "traffic_classes[0].sla"),
        ("UNKNOWN_SITE", "topologies[0].hubs[0]"),
        ("PREFIX_OVERLAP", "sites[1].lans[0].prefixes[0]"),
    ];
    assert_eq!(places(&faults), expected);
    let mends = [
        ("sites[0].edges[0].uplniks", "did you mean \"uplinks\"?"),
        ("traffic_classes[0].sla", "did you mean \"voice\"?"),
        ("sites[0].lans[0].prefixes[1]", "write 10.0.0.0/24"),
        ("sites[1].lans[0].prefixes[1]", "add a length, e.g. 10.7.0.0/32"),
    ];
    for (path, mend) in mends {
        assert_eq!(faults.iter().find(|fault| fault.path == path).unwrap().mend, mend);
    }
}

#[test]
fn the_number_of_faults_is_bounded_and_the_rest_is_counted() {
    let sites: String = (0..5_000).map(|_| "  - {name: x}\n").collect();
    let faults = validate(format!("fleet: acme\nsites:\n{sites}").as_bytes());
    assert_eq!(faults.len(), crate::limits::MAX_FAULTS);
    let last = faults.last().unwrap();
    assert_eq!(last.code, code::TOO_MANY_FAULTS);
    // Each of 5,000 has no edge, and all but one have a name that is taken.
    let left_out = 9_999 - (crate::limits::MAX_FAULTS - 1);
    assert!(last.message.starts_with(&format!("{left_out} more")), "{}", last.message);
}

#[test]
fn text_of_the_document_can_not_reach_a_terminal_as_it_is() {
    let document = GOOD.replacen("fleet: acme", "\"\\e[31m\\n\": 1\nfleet: \"\\e]0;x\\a\"", 1);
    for fault in validate(document.as_bytes()) {
        let text = format!("{fault} {}", fault.mend);
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}
