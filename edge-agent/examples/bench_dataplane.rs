//! How fast one TCP stream goes through two data planes, beside the bare veth between them.
//!
//! `bench_dataplane [ROUNDS [SECONDS]]` makes two network namespaces, a veth pair and two drivers keyed by itself, and runs
//! iperf3 over veth and tunnel in turns. Prints one JSON object; the figures are medians, in Gbit/s of TCP payload.
//! Needs root and iperf3.

use std::error::Error;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hawser_edge::dataplane::{
    Choice, ClassSpec, DataPlane, Family, ForwardingSpec, InboundSaSpec, KeyMaterial,
    OutboundSaSpec, PathSpec, RouteSpec, SegmentSpec, Suite, TunnelSpec, UplinkSpec,
    UserspaceDataPlane,
};
use hawser_edge_core::id::{ClassId, EdgeId, PathId, SegmentId, Spi, TunnelId, UplinkId};
use hawser_esp::wire::inner_mtu;

#[path = "../src/dataplane/tests/net.rs"]
mod net;
use net::Net;

const PORT: u16 = 4510;
const PATH: PathId = PathId(1);
const TUNNEL: TunnelId = TunnelId(1);
const CLASS: ClassId = ClassId(1);
const UPLINK: UplinkId = UplinkId(1);
const SUITE: Suite = Suite::Aes128Gcm;
const MAX_ROUNDS: usize = 20;
const MAX_SECONDS: usize = 30;
/// Of one stream; what a branch's uplinks seldom have.
const GOAL_GBPS: f64 = 1.5;

type Fault = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize, most: usize| -> Result<usize, Fault> {
        let given = arguments.next().map(|text| text.parse()).transpose()?;
        Ok(given.unwrap_or(default).clamp(1, most))
    };
    let (rounds, seconds) = (number(3, MAX_ROUNDS)?, number(3, MAX_SECONDS)?);

    let (a, b) = (Net::new(), Net::new());
    a.connect("wan0", &["192.0.2.1/24"], &b, "wan0", &["192.0.2.2/24"]);
    let planes = [edge(&a, 1)?, edge(&b, 2)?];
    wait_for_ping(&a)?;

    let (mut veth, mut hawser) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        veth.push(gbps(&a, &b, "192.0.2.1", "192.0.2.2", seconds)?);
        hawser.push(gbps(&a, &b, "10.1.0.1", "10.2.0.1", seconds)?);
    }
    let drops = planes.iter().map(|plane| {
        let drops = plane.counters().drops.into_iter().filter(|(_, count)| *count > 0);
        drops.map(|(reason, count)| (reason.label().to_string(), count.into())).collect()
    });
    let drops: Vec<serde_json::Map<String, serde_json::Value>> = drops.collect();
    let hawser_gbps = median(&hawser);
    let report = serde_json::json!({
        "veth_gbps": median(&veth),
        "hawser_gbps": hawser_gbps,
        "runs": { "veth_gbps": veth, "hawser_gbps": hawser },
        "seconds_per_run": seconds,
        "suite": SUITE.name(),
        "drops": { "a": drops[0], "b": drops[1] },
        "goals": {
            "hawser_gbps": {
                "goal": format!(">= {GOAL_GBPS}"),
                "value": hawser_gbps,
                "met": hawser_gbps >= GOAL_GBPS,
            },
        },
    });
    println!("{report:#}");
    Ok(())
}

/// A driver for edge 1 or 2, ready to forward to the other; the LAN is an address on its loopback.
fn edge(net: &Net, number: u8) -> Result<UserspaceDataPlane, Fault> {
    let peer = 3 - number;
    let (plane, receivers) = UserspaceDataPlane::new();
    // Nobody reads the events: what does not fit is dropped and counted.
    drop(receivers);
    net.ip(&format!("address add 10.{number}.0.1/32 dev lo"));
    let uplink =
        UplinkSpec { id: UPLINK, interface: "wan0".into(), port: PORT, v4: true, v6: false };
    net.enter(|| plane.add_uplink(uplink))?;
    net.enter(|| plane.apply(table(peer)))?;
    let key = |sender: u8| KeyMaterial::new(vec![sender; SUITE.key_material_len()]);
    plane.install_inbound(InboundSaSpec {
        spi: Spi(0x1000 + u32::from(number)),
        path: PATH,
        suite: SUITE,
        key_material: key(peer),
        esn: true,
        replay_window_packets: 1024,
    })?;
    plane.install_outbound(OutboundSaSpec {
        path: PATH,
        spi: Spi(0x1000 + u32::from(peer)),
        suite: SUITE,
        key_material: key(number),
        esn: true,
    })?;
    plane.set_remote(PATH, Some(SocketAddr::from(([192, 0, 2, peer], PORT))));
    plane.select(TUNNEL, CLASS, Choice::Path(PATH));
    net.ip(&format!("route add 10.{peer}.0.0/16 dev hawser1 src 10.{number}.0.1"));
    Ok(plane)
}

fn table(peer: u8) -> ForwardingSpec {
    let segment = SegmentId(1);
    let prefix = format!("10.{peer}.0.0/16").parse().expect("a prefix");
    let mtu_bytes = inner_mtu(1500, false) as u16;
    ForwardingSpec {
        segments: vec![SegmentSpec { id: segment, tun_name: "hawser1".into(), mtu_bytes }],
        tunnels: vec![TunnelSpec {
            id: TUNNEL,
            peer: EdgeId(u32::from(peer)),
            paths: vec![PathSpec { id: PATH, uplink: UPLINK, family: Family::V4 }],
            peer_sources: [(segment, vec![prefix])].into(),
            inner_mtu_bytes: mtu_bytes,
        }],
        routes: vec![RouteSpec { segment, prefix, next_hops: vec![TUNNEL] }],
        classes: vec![ClassSpec { id: CLASS, segment: None, matches: vec![] }],
        lans: vec![],
    }
}

fn wait_for_ping(net: &Net) -> Result<(), Fault> {
    let answered = || net.run("ping -n -c 1 -W 0.2 10.2.0.1").status.success();
    if (0..25).any(|_| answered()) { Ok(()) } else { Err("no ping through the tunnel".into()) }
}

/// One stream from A to B, as the receiver counts it.
fn gbps(a: &Net, b: &Net, from: &str, to: &str, seconds: usize) -> Result<f64, Fault> {
    let mut server = Server::start(b, to)?;
    let line = format!("iperf3 -c {to} -B {from} -t {seconds} --connect-timeout 2000 -J");
    let output = a.run(&line);
    server.wait();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.ok_or_else(|| format!("iperf3: {}", report["error"]))? / 1e9)
}

/// An iperf3 server for one test; ended with the value.
struct Server(Child);

impl Server {
    fn start(net: &Net, address: &str) -> Result<Server, Fault> {
        let mut command = Command::new("iperf3");
        command.args(["-s", "-1", "-B", address]).stdout(Stdio::null());
        let server = Server(net.enter(move || command.spawn())?);
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let listening = net.run("ss -Htln sport = :5201");
            if !listening.stdout.is_empty() {
                return Ok(server);
            }
            if Instant::now() > deadline {
                return Err("iperf3 does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait(&mut self) {
        // It ends by itself after one test; what is left is ended below.
        for _ in 0..100 {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
