//! Tunnels under manual keys with a plain Linux peer, whose associations and policies are made here by `ip xfrm`.

use super::Verdict;
use super::survival::at;
use crate::fleet::{Fleet, FleetError, FleetSpec, Flow, GATEWAY_ADDRESS, GATEWAY_HOST, Guards};
use serde_json::{Value, json};
use std::time::Duration;

/// The lab's kernel has one slow processor for everything.
const SOON: Duration = Duration::from_secs(150);
/// So long traffic is offered to a tunnel that is not there.
const WITHOUT: Duration = Duration::from_secs(5);
const PEER: &str = "gateway";
const SITE_ADDRESS: &str = "198.51.100.2";
/// Octets of a key of the peer's tools, by purpose: from `openssl rand -hex 32`, only for labs.
const KEYS: [&str; 4] = [
    "5d1c0e7ab94f2368d07b1155c3e6a9f4827d3b60e91fac5847206bd3f8c4159e",
    "e1b7480f26c95a3dd81f64b0972ecf5318a6e47bd0925c3faf7016842bd8c963",
    "0f93d6a851be7c24e76a3f1d8cb05924d35e90f76b1284aacd4617be58f30291",
    "b46e25c8f90d7a13521eb7dc684fa0937ec8054d1bf69a32e0847fd5296cb81a",
];
const SPI_IN: u32 = 0x1001;
const SPI_OUT: u32 = 0x2002;

/// How a tunnel is protected, in the fleet's words and in those of `ip xfrm`.
struct Kind {
    protocol: &'static str,
    mode: &'static str,
    suite: &'static str,
    /// Octets of the encryption key; the HMAC's has 32.
    cipher_octets: usize,
}

const ESP: Kind =
    Kind { protocol: "esp", mode: "tunnel", suite: "aes-256-cbc-sha256-128", cipher_octets: 32 };
const AH: Kind =
    Kind { protocol: "ah", mode: "tunnel", suite: "null-sha256-128", cipher_octets: 0 };
const AH_GRE: Kind =
    Kind { protocol: "ah", mode: "gre", suite: "null-sha256-128", cipher_octets: 0 };

impl Kind {
    /// What it carries can't be read on the way.
    fn hides(&self) -> bool {
        self.cipher_octets > 0
    }
}

/// ESP and AH in tunnel mode, protected by the kernel.
pub fn kernel() -> Verdict {
    each(&[ESP, AH], "kernel")
}

/// The same by the agent.
pub fn userspace() -> Verdict {
    each(&[ESP, AH], "userspace")
}

/// GRE in transport mode under AH, by either.
pub fn ah_transport() -> Verdict {
    let kernel = each(&[AH_GRE], "kernel")?;
    Ok(json!({"kernel": kernel, "userspace": each(&[AH_GRE], "userspace")?}))
}

fn each(kinds: &[Kind], driver: &'static str) -> Verdict {
    let mut facts = serde_json::Map::new();
    for kind in kinds {
        let name = format!("{}-{}", kind.protocol, kind.mode);
        let spec = spec(kind, driver).map_err(|error| error.line())?;
        let mut fleet = Fleet::up(spec).map_err(|error| format!("{name}: {}", error.line()))?;
        let passed = passes(&mut fleet, kind).map_err(|error| {
            eprintln!("{}", fleet.log_tails());
            for command in [
                "ip -s xfrm state",
                "ip xfrm policy",
                "cat /proc/net/xfrm_stat",
                "ip -s link",
                "nft list ruleset",
            ] {
                for node in ["left", PEER] {
                    let words: Vec<&str> = command.split(' ').collect();
                    eprintln!("── {node}: {command}\n{:?}", at(&fleet, node, &words));
                }
            }
            format!("{name}: {}", error.line())
        })?;
        facts.insert(name, passed);
    }
    Ok(Value::Object(facts))
}

/// The site left, alone, with such a tunnel to the plain peer instead of one by IKE.
fn spec(kind: &Kind, driver: &'static str) -> Result<FleetSpec, FleetError> {
    let mut spec = FleetSpec::with_gateway("")?.left_alone().with_driver("left-1", driver);
    let begin = spec.document.find("        ike_tunnels:\n").unwrap_or_default();
    let end = begin + spec.document[begin..].match_indices('\n').nth(1).map_or(0, |(at, _)| at + 1);
    let tunnel = format!(
        "        manual_tunnels:\n          - {{name: old, uplink: isp-a, peer_address: {GATEWAY_ADDRESS}, \
         protocol: {}, mode: {}, profile: by-hand, local_prefixes: [10.1.0.0/24], remote_prefixes: [10.9.0.0/24], \
         inbound: {{spi: {SPI_IN}, key: old-in}}, outbound: {{spi: {SPI_OUT}, key: old-out}}}}\n",
        kind.protocol, kind.mode
    );
    spec.document.replace_range(begin..end, &tunnel);
    let profile = format!("tunnel_profiles:\n  - {{name: by-hand, suite: {}}}\n", kind.suite);
    spec.document = spec.document.replacen("tunnel_profiles:\n", &profile, 1);
    assert!(spec.document.contains("name: by-hand"), "{}", spec.document);
    Ok(spec)
}

/// Nothing passes and nothing leaks without keys; with them traffic passes both ways; when the peer's states are gone, and
/// when the edge's are, nothing is in clear; and it comes back.
fn passes(fleet: &mut Fleet, kind: &Kind) -> Result<Value, FleetError> {
    let keys = [key(kind, 0), key(kind, 1)];
    fleet.wait_ike("old", SOON, |tunnel| tunnel.state == "blocked")?;
    let guards = Guards::start(fleet, "left-host")?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    std::thread::sleep(WITHOUT);
    assert_eq!(there.since(0)?.arrivals, 0, "without a tunnel");
    by_hand(fleet, kind, &keys)?;
    let agent = fleet.agent("left-1")?;
    agent.set_secret(fleet, "old-in", &keys[0])?;
    agent.set_secret(fleet, "old-out", &format!("0x{}", keys[1]))?;
    fleet.wait_ike("old", SOON, |tunnel| tunnel.state == "up")?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    assert!(fleet.ping("left-host", GATEWAY_HOST, false, 5)? >= 4);
    let carried = fleet.wait_ike("old", SOON, |t| t.tx_bytes > 10_000 && t.rx_bytes > 10_000)?;
    let states = at(fleet, PEER, &["ip", "-s", "xfrm", "state"])?;
    assert_eq!(states.matches(&format!("proto {}", kind.protocol)).count(), 2, "{states}");

    let seen = without(fleet, kind, &guards, &there)?;
    by_hand(fleet, kind, &keys)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    let last = guards.look()?;
    assert!(!kind.hides() || last.on_wan == 0, "in clear on {:?}", last.leaking);
    assert!(last.on_lan > 500, "the search finds what it looks for: {last:?}");
    Ok(json!({
        "marked_on_wan": last.on_wan,
        "marked_on_lan": last.on_lan,
        "marked_on_wan_without_states": seen,
        "tx_bytes": carried.tx_bytes,
        "rx_bytes": carried.rx_bytes,
    }))
}

/// Takes states and policies away at both ends, under traffic. What AH carries can be read by everybody; but the peer,
/// which has no policy now, would hand on what comes without it.
fn without(fleet: &Fleet, kind: &Kind, guards: &Guards, there: &Flow) -> Result<u64, FleetError> {
    for command in ["ip xfrm state flush", "ip xfrm policy flush"] {
        at(fleet, "left", &command.split(' ').collect::<Vec<_>>())?;
    }
    tear_down(fleet, kind)?;
    // What was let in before has a second to arrive.
    std::thread::sleep(Duration::from_secs(1));
    let from = crate::clock::mono_ns();
    std::thread::sleep(WITHOUT);
    assert_eq!(there.since(from)?.arrivals, 0, "handed on without protection");
    let seen = guards.look()?;
    assert!(!kind.hides() || seen.on_wan == 0, "in clear without states, on {:?}", seen.leaking);
    Ok(seen.on_wan)
}

/// Hexadecimal, as both `hawser-edge secret set` and `ip xfrm` take it: the cipher's and then the HMAC's.
fn key(kind: &Kind, direction: usize) -> String {
    let (cipher, hmac) = (KEYS[2 * direction], KEYS[2 * direction + 1]);
    format!("{}{hmac}", &cipher[..2 * kind.cipher_octets])
}

/// What an administrator of the peer types. `keys`: to the site, and from it.
fn by_hand(fleet: &Fleet, kind: &Kind, keys: &[String; 2]) -> Result<(), FleetError> {
    let transport = kind.mode == "gre";
    let (mode, protocol) = (if transport { "transport" } else { "tunnel" }, kind.protocol);
    for (from, to, spi, key) in [
        (GATEWAY_ADDRESS, SITE_ADDRESS, SPI_IN, &keys[0]),
        (SITE_ADDRESS, GATEWAY_ADDRESS, SPI_OUT, &keys[1]),
    ] {
        let (cipher, hmac) = key.split_at(2 * kind.cipher_octets);
        let cipher =
            if cipher.is_empty() { String::new() } else { format!("enc cbc(aes) 0x{cipher}") };
        // Without it Linux pads AH to 8 octets in IPv4 too, and refuses what is not (RFC 4302 section 3.3.3.2.1 has 4).
        let align = if protocol == "ah" { "flag align4" } else { "" };
        ip(
            fleet,
            &format!(
                "xfrm state add src {from} dst {to} proto {protocol} spi {spi} reqid 9 mode {mode} {align} \
             auth-trunc hmac(sha256) 0x{hmac} 128 {cipher}"
            ),
        )?;
        let ways: &[&str] = match (from == GATEWAY_ADDRESS, transport) {
            (true, _) => &["out"],
            (false, true) => &["in"],
            (false, false) => &["in", "fwd"],
        };
        let selector = match (from == GATEWAY_ADDRESS, transport) {
            (_, true) => format!("src {from} dst {to} proto gre"),
            (true, false) => "src 10.9.0.0/24 dst 10.1.0.0/24".to_owned(),
            (false, false) => "src 10.1.0.0/24 dst 10.9.0.0/24".to_owned(),
        };
        for way in ways {
            ip(
                fleet,
                &format!(
                    "xfrm policy add {selector} dir {way} tmpl src {from} dst {to} proto {protocol} \
                 reqid 9 mode {mode}"
                ),
            )?;
        }
    }
    if transport {
        ip(
            fleet,
            &format!("link add hand type gre local {GATEWAY_ADDRESS} remote {SITE_ADDRESS} ttl 64"),
        )?;
        ip(fleet, "link set hand mtu 1400 up")?;
        ip(fleet, "route replace 10.1.0.0/24 dev hand")?;
    } else {
        ip(fleet, "route replace 10.1.0.0/24 via 198.51.100.49")?;
    }
    Ok(())
}

/// And what takes it away again: its way to the site first, for it has no guard of its own.
fn tear_down(fleet: &Fleet, kind: &Kind) -> Result<(), FleetError> {
    ip(fleet, "route replace unreachable 10.1.0.0/24")?;
    if kind.mode == "gre" {
        ip(fleet, "link del hand")?;
    }
    ip(fleet, "xfrm state flush")?;
    ip(fleet, "xfrm policy flush")?;
    Ok(())
}

fn ip(fleet: &Fleet, words: &str) -> Result<String, FleetError> {
    let argv: Vec<&str> = ["ip"].into_iter().chain(words.split_whitespace()).collect();
    at(fleet, PEER, &argv)
}
