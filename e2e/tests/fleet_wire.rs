//! What is on the wire of a real fleet: copies, forgeries, translated addresses, both address families. Needs root.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use hawser_e2e::clock;
use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow};
use hawser_e2e::wan::{Dir, Impairment};
use hawser_e2e::watch::{Watch, WatchOptions};

const UP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);
const FABRIC_PORT: u16 = 4510;
/// hq's address at isp-a.
const HUB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

type Outcome = Result<(), FleetError>;

/// Runs a scenario; a failure brings the logs' ends along.
fn scenario(spec: Result<FleetSpec, FleetError>, body: impl FnOnce(&mut Fleet) -> Outcome) {
    let spec = spec.expect("the bundled fleet");
    let mut fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    let done = fleet.wait_all_up(UP).and_then(|_| body(&mut fleet));
    if let Err(error) = done {
        panic!("{}\n{}", error.line(), fleet.log_tails());
    }
}

fn counters(fleet: &Fleet) -> Result<BTreeMap<String, u64>, FleetError> {
    Ok(fleet.agent("hq-1")?.status()?.counters)
}

/// Waits until counters of hq have risen by as much as is wanted.
fn wait_risen(fleet: &Fleet, before: &BTreeMap<String, u64>, wanted: &[(&str, u64)]) -> Outcome {
    wait::until("hq counts what was thrown at it", SOON, || {
        let now = counters(fleet)?;
        let of = |all: &BTreeMap<String, u64>, name: &str| all.get(name).copied().unwrap_or(0);
        let risen = wanted.iter().all(|(name, by)| of(&now, name) >= of(before, name) + by);
        Ok(if risen { Look::Done(()) } else { Look::Not(format!("{before:?}, then {now:?}")) })
    })
}

#[test]
fn copies_and_forgeries_of_real_packets_move_nothing_and_are_counted_by_reason() {
    scenario(FleetSpec::demo(), |fleet| {
        a_translated_branch_is_known_by_its_outer_address(fleet)?;
        let flow = Flow::start(fleet, "b1-host", "hq-host", 7001, false)?;
        flow.wait_flowing(SOON)?;
        old_copies_and_forgeries(fleet, &flow)?;
        the_newest_packet_from_elsewhere(fleet)?;
        flow.wait_flowing(SOON)
    });
}

fn a_translated_branch_is_known_by_its_outer_address(fleet: &Fleet) -> Outcome {
    let paths = fleet.agent("hq-1")?.paths()?;
    let translated: Vec<&str> = paths
        .iter()
        .filter(|path| path.peer_edge == "b1-1" && path.remote_uplink == "isp-b")
        .map(|path| path.remote_endpoint.as_str())
        .collect();
    assert_eq!(translated.len(), 2);
    for endpoint in translated {
        assert!(endpoint.starts_with("203.0.113.18:"), "{endpoint}");
    }
    Ok(())
}

/// Nothing of the real traffic is lost meanwhile.
fn old_copies_and_forgeries(fleet: &Fleet, flow: &Flow) -> Outcome {
    let packets = capture(fleet, "hq", "isp-a", Duration::from_secs(1))?;
    let sample: Vec<&Vec<u8>> = packets.iter().rev().take(40).collect();
    assert_eq!(sample.len(), 40, "the stream crosses this link");
    let before = counters(fleet)?;
    let from_seq = flow.sent()?;
    let exact = sample.iter().map(|packet| packet.to_vec());
    throw(fleet, "isp-b", exact)?;
    let cut = sample.iter().map(|packet| packet[..12].to_vec());
    throw(fleet, "isp-b", cut)?;
    // A sequence number ahead of all others passes the window, and fails the integrity check.
    let ahead = sample.iter().map(|packet| with_sequence_ahead(packet, 1_000_000));
    throw(fleet, "isp-b", ahead)?;
    wait_risen(fleet, &before, &[("drop_replayed", 40), ("drop_short", 40), ("drop_bad_icv", 40)])?;
    let to_seq = flow.sent()?;
    std::thread::sleep(Duration::from_millis(500));
    let loss = flow.loss(from_seq, to_seq)?;
    assert_eq!(loss.lost, 0, "{loss:?}");
    Ok(())
}

/// The original is held back, so its copy is authentic and new: the address is challenged, and can't answer.
fn the_newest_packet_from_elsewhere(fleet: &Fleet) -> Outcome {
    let blackhole = Impairment::blackhole(true).toward(Dir::AToB);
    fleet.lab().impair("b1-isp-a", &blackhole)?;
    let held_back = capture(fleet, "b1", "isp-a", Duration::from_millis(700))?;
    assert!(!held_back.is_empty());
    let before = counters(fleet)?;
    throw(fleet, "isp-b", held_back.iter().rev().take(20).rev().cloned())?;
    wait_risen(fleet, &before, &[("endpoint_challenged", 1)])?;
    // Longer than a challenge may take to be answered.
    std::thread::sleep(Duration::from_millis(1_500));
    let hub = fleet.agent("hq-1")?;
    let of_b1 = |path: &&hawser_e2e::fleet::views::PathView| {
        path.peer_edge == "b1-1" && path.remote_uplink == "isp-a"
    };
    for path in hub.paths()?.iter().filter(of_b1) {
        assert_eq!(path.remote_endpoint, format!("198.51.100.18:{FABRIC_PORT}"));
    }
    fleet.lab().reset("b1-isp-a")?;
    fleet.wait_edge_up("b1-1", SOON)?;
    fleet.wait_edge_up("hq-1", SOON)
}

/// ESP packets to the hub's address at isp-a, as datagrams' payloads, oldest first.
fn capture(
    fleet: &Fleet,
    node: &str,
    interface: &str,
    time: Duration,
) -> Result<Vec<Vec<u8>>, FleetError> {
    let file = fleet.folder().join(format!("{node}-{interface}.pcap"));
    let options = WatchOptions { markers: Vec::new(), pcap: Some(file.clone()) };
    let watch = Watch::start(fleet.lab(), node, interface, &options)?;
    std::thread::sleep(time);
    watch.stop()?;
    Ok(esp_to_hub(&file))
}

fn esp_to_hub(file: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(file).expect("the capture is there");
    let mut rest = &bytes[24..];
    let mut found = Vec::new();
    while rest.len() >= 16 {
        let len = u32::from_le_bytes(rest[8..12].try_into().expect("four octets")) as usize;
        found.extend(esp_payload(&rest[16..16 + len]));
        rest = &rest[16 + len..];
    }
    found
}

/// Ethernet, IPv4 without options, UDP to the fabric port, and neither a keepalive nor a peer connection's packet.
fn esp_payload(frame: &[u8]) -> Option<Vec<u8>> {
    let ip = frame.get(14..)?;
    let udp = ip.get(20..)?;
    let payload = udp.get(8..usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?])))?;
    let to_hub = ip[0] == 0x45 && ip[9] == 17 && ip[16..20] == HUB.octets();
    let port = u16::from_be_bytes([udp[2], udp[3]]);
    let esp = payload.len() > 40 && payload[..4] != [0; 4];
    (to_hub && port == FABRIC_PORT && esp).then(|| payload.to_vec())
}

/// RFC 4303 §2: the sequence number follows the SPI.
fn with_sequence_ahead(packet: &[u8], by: u32) -> Vec<u8> {
    let mut forged = packet.to_vec();
    let sequence = u32::from_be_bytes(forged[4..8].try_into().expect("four octets"));
    forged[4..8].copy_from_slice(&sequence.wrapping_add(by).to_be_bytes());
    forged
}

/// Sends datagrams to the hub's fabric port from the address of another node.
fn throw(fleet: &Fleet, node: &str, packets: impl Iterator<Item = Vec<u8>>) -> Outcome {
    let hex = |packet: Vec<u8>| packet.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let file = fleet.folder().join("throw.hex");
    let lines: Vec<String> = packets.map(hex).collect();
    fs::write(&file, lines.join("\n")).expect("the fleet's folder can be written");
    let program = format!(
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         for line in open('{}'): s.sendto(bytes.fromhex(line.strip()),('{HUB}',{FABRIC_PORT}))",
        file.display()
    );
    let output = fleet.lab().exec(node, &["python3", "-c", &program])?;
    assert!(output.status.success(), "{}", output.stderr_text());
    Ok(())
}

#[test]
fn both_families_outside_are_paths_of_their_own_and_stand_in_for_each_other() {
    scenario(FleetSpec::dual(), |fleet| {
        let paths = fleet.operator()?.paths()?;
        let mut families: Vec<(&str, &str)> =
            paths.iter().map(|path| (path.a.uplink.as_str(), path.family.as_str())).collect();
        families.sort_unstable();
        let expected = [("isp-a", "4"), ("isp-a", "6"), ("isp-b", "4"), ("isp-b", "6")];
        assert_eq!(families, expected);
        for ipv6 in [false, true] {
            assert!(fleet.ping("left-host", "right-host", ipv6, 5)? >= 4, "IPv6 inside: {ipv6}");
        }
        let flow = Flow::start(fleet, "left-host", "right-host", 7001, true)?;
        flow.wait_flowing(SOON)?;
        let dark = clock::mono_ns();
        fleet.lab().impair("right-isp-a", &Impairment::blackhole(true))?;
        let silence = flow.silence_after(dark, Duration::from_secs(10))?;
        assert!(silence.is_some(), "the stream did not heal");
        fleet.lab().reset("right-isp-a")?;
        fleet.wait_edges_up(SOON)?;

        // No provider carries UDP over IPv4 any more: what is left is IPv6 outside, and the controller is out of reach.
        let rules = "add table ip wall\nadd chain ip wall forward \
                     { type filter hook forward priority 0; }\nadd rule ip wall forward drop\n";
        let file = fleet.folder().join("wall.nft");
        fs::write(&file, rules).expect("the fleet's folder can be written");
        let dark = clock::mono_ns();
        for isp in ["isp-a", "isp-b"] {
            let output = fleet.lab().exec(isp, &["nft", "-f", &file.to_string_lossy()])?;
            assert!(output.status.success(), "{}", output.stderr_text());
        }
        let silence = flow.silence_after(dark, Duration::from_secs(10))?;
        assert!(silence.is_some(), "the stream did not heal over IPv6");
        for ipv6 in [false, true] {
            assert!(fleet.ping("left-host", "right-host", ipv6, 5)? >= 4, "IPv6 inside: {ipv6}");
        }
        nothing_is_left_when_the_lab_is_killed(fleet)
    });
}

fn nothing_is_left_when_the_lab_is_killed(fleet: &mut Fleet) -> Outcome {
    let pids: Vec<u32> = fleet.agents().filter_map(hawser_e2e::fleet::Agent::pid).collect();
    assert_eq!(pids.len(), 2);
    let supervisor = fleet.lab().pid().to_string();
    let killed = std::process::Command::new("kill").args(["-9", &supervisor]).status();
    assert!(killed.expect("kill runs").success());
    wait::until("the agents end with their lab", SOON, || {
        let left = pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).count();
        Ok(if left == 0 { Look::Done(()) } else { Look::Not(format!("{left} agents are left")) })
    })?;
    assert!(fleet.lab().status().is_err());
    Ok(())
}
