//! Our own two ends, with everything switched on that a real edge would have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hawser_edge::dataplane::{
    Choice, ClassMatch, ClassSpec, DataPlane, Family, ForwardingSpec, InboundSaSpec, KeyMaterial,
    Lanes, OutboundSaSpec, PathSpec, RouteSpec, SegmentSpec, Suite, TunnelSpec, UplinkSpec,
    UserspaceDataPlane,
};
use hawser_edge_core::id::{ClassId, EdgeId, PathId, SegmentId, Spi, TunnelId, UplinkId};
use hawser_edge_core::keys::MAX_LANES;
use hawser_esp::Carrier;
use hawser_esp::wire::GRE_LEN;

use crate::Fault;
use crate::net::Net;
use crate::rig::{Rig, lans, nets};
use crate::run::HAWSER;

const PORT: u16 = 4510;
const PATH: PathId = PathId(1);
const TUNNEL: TunnelId = TunnelId(1);
const UPLINK: UplinkId = UplinkId(1);
const SEGMENT: SegmentId = SegmentId(1);
/// The last of them takes everything; the traffic here fits no other.
const CLASSES: u32 = 5;
const WINDOW_PACKETS: u32 = 4_096;
const ESN: bool = true;

/// Paths that lie idle beside the one that is measured, each with an SA for either direction.
const IDLE_PATHS: u32 = 500;
const IDLE_PATHS_PER_TUNNEL: u32 = 50;

/// What is switched on.
#[derive(Debug, Clone, Copy)]
pub struct Features {
    pub suite: Suite,
    pub replay_window_packets: u32,
    pub esn: bool,
    pub lanes: usize,
    pub classes: u32,
    pub sas_loaded: u32,
    pub bytes_per_1000_sas: u64,
}

impl Default for Features {
    fn default() -> Self {
        Features {
            suite: Suite::Aes128Gcm,
            replay_window_packets: WINDOW_PACKETS,
            esn: ESN,
            lanes: 1,
            classes: CLASSES,
            sas_loaded: 2 * IDLE_PATHS,
            bytes_per_1000_sas: 0,
        }
    }
}

pub struct Hawser {
    pub nets: [Arc<Net>; 2],
    pub features: Features,
    ends: [UserspaceDataPlane; 2],
    epoch: AtomicU32,
}

impl Hawser {
    pub fn new(lanes: Lanes) -> Result<Hawser, Fault> {
        let nets = nets();
        let ends = [end(&nets[0], 1, lanes)?, end(&nets[1], 2, lanes)?];
        let mut features = Features { lanes: lanes.count(), ..Features::default() };
        let before = resident_bytes()?;
        load(&ends[0], features.suite)?;
        let grown = resident_bytes()?.saturating_sub(before);
        features.bytes_per_1000_sas = grown * 1_000 / u64::from(features.sas_loaded);
        load(&ends[1], features.suite)?;
        let hawser = Hawser { nets, features, ends, epoch: AtomicU32::new(0) };
        hawser.rekey(features.suite)?;
        Ok(hawser)
    }

    pub fn rig(&self) -> Result<Rig, Fault> {
        Rig::new(HAWSER, &self.nets, lans(), ())
    }

    /// Fresh keys of a suite on the path that is measured, in the order of the architecture.
    pub fn rekey(&self, suite: Suite) -> Result<(), Fault> {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        for ((net, end), peer) in self.nets.iter().zip(&self.ends).zip([2, 1]) {
            // Devices are found by name in the caller's namespace.
            net.enter(|| end.apply(table(peer, suite)))?;
        }
        let spi = |receiver: u8, epoch: u32| {
            Spi(0x1000 + (2 * epoch + u32::from(receiver) - 1) * u32::from(MAX_LANES))
        };
        let key = |sender: u8, lane: u8| key_material(suite, sender ^ lane << 4, epoch);
        let further = |sender: u8| (1..self.features.lanes as u8).map(|k| key(sender, k)).collect();
        for (end, number) in self.ends.iter().zip([1, 2]) {
            let peer = 3 - number;
            let sa = inbound(PATH, spi(number, epoch), suite, key(peer, 0));
            end.install_inbound(InboundSaSpec { further_lanes: further(peer), ..sa })?;
        }
        for (end, number) in self.ends.iter().zip([1, 2]) {
            let spi = spi(3 - number, epoch);
            let key_material = key(number, 0);
            end.install_outbound(OutboundSaSpec {
                path: PATH,
                spi,
                suite,
                key_material,
                further_lanes: further(number),
                esn: ESN,
            })?;
        }
        for (end, number) in self.ends.iter().zip([1, 2]) {
            end.remove_inbound(spi(number, epoch - 1));
        }
        Ok(())
    }

    /// What each end dropped, by reason.
    pub fn drops(&self) -> [std::collections::BTreeMap<&'static str, u64>; 2] {
        self.ends.each_ref().map(|end| {
            let drops = end.counters().drops.into_iter().filter(|(_, count)| *count > 0);
            drops.map(|(reason, count)| (reason.label(), count)).collect()
        })
    }
}

/// A driver for edge 1 or 2, ready to forward to the other but for its keys.
fn end(net: &Net, number: u8, lanes: Lanes) -> Result<UserspaceDataPlane, Fault> {
    let peer = 3 - number;
    let (plane, receivers) = UserspaceDataPlane::with_lanes(lanes);
    // Nobody reads the events: what does not fit is dropped and counted.
    drop(receivers);
    let interface = "wan0".into();
    let uplink = UplinkSpec { id: UPLINK, interface, port: PORT, v4: true, v6: false };
    net.enter(|| plane.add_uplink(uplink))?;
    net.enter(|| plane.apply(table(peer, Suite::Aes128Gcm)))?;
    plane.set_remote(PATH, Some(SocketAddr::from(([192, 0, 2, peer], PORT))));
    plane.select(TUNNEL, ClassId(CLASSES), Choice::Path(PATH));
    net.ip(&format!("route add 10.{peer}.0.0/16 dev hawser1 src 10.{number}.0.1"));
    Ok(plane)
}

fn table(peer: u8, suite: Suite) -> ForwardingSpec {
    let prefix = format!("10.{peer}.0.0/16").parse().expect("a prefix");
    let mtu_bytes = suite.layout().inner_mtu(1500, false, Carrier::Udp, GRE_LEN) as u16;
    let path = |id: PathId| PathSpec { id, uplink: UPLINK, family: Family::V4 };
    let measured = TunnelSpec {
        id: TUNNEL,
        peer: EdgeId(u32::from(peer)),
        paths: vec![path(PATH)],
        peer_sources: [(SEGMENT, vec![prefix])].into(),
        inner_mtu_bytes: mtu_bytes,
    };
    let idle = |tunnel: u32| TunnelSpec {
        id: TunnelId(100 + tunnel),
        peer: EdgeId(100 + tunnel),
        paths: (0..IDLE_PATHS_PER_TUNNEL)
            .map(|index| path(idle_path(tunnel * IDLE_PATHS_PER_TUNNEL + index)))
            .collect(),
        peer_sources: [].into(),
        inner_mtu_bytes: mtu_bytes,
    };
    ForwardingSpec {
        lans: vec![],
        segments: vec![SegmentSpec { id: SEGMENT, tun_name: "hawser1".into(), mtu_bytes }],
        tunnels: [measured]
            .into_iter()
            .chain((0..IDLE_PATHS / IDLE_PATHS_PER_TUNNEL).map(idle))
            .collect(),
        routes: vec![RouteSpec { segment: SEGMENT, prefix, next_hops: vec![TUNNEL] }],
        classes: classes(),
    }
}

fn classes() -> Vec<ClassSpec> {
    let of =
        |id: u32, matches| ClassSpec { id: ClassId(id), segment: None, matches, wan_dscp: None };
    let nothing = ClassMatch::default;
    vec![
        of(1, vec![ClassMatch { dscps: vec![46], ..nothing() }]),
        of(
            2,
            vec![ClassMatch { protocols: vec![17], destination_ports: vec![53..=53], ..nothing() }],
        ),
        of(
            3,
            vec![ClassMatch {
                destinations: vec!["10.9.0.0/16".parse().expect("a prefix")],
                ..nothing()
            }],
        ),
        of(
            4,
            vec![ClassMatch {
                protocols: vec![6],
                destination_ports: vec![443..=443],
                ..nothing()
            }],
        ),
        of(CLASSES, vec![]),
    ]
}

fn idle_path(index: u32) -> PathId {
    PathId(1_000 + index)
}

/// An SA for either direction of every idle path.
fn load(plane: &UserspaceDataPlane, suite: Suite) -> Result<(), Fault> {
    for index in 0..IDLE_PATHS {
        let (path, spi) = (idle_path(index), Spi(0x10_0000 + index));
        let key = |sender| key_material(suite, sender, index);
        plane.install_inbound(inbound(path, spi, suite, key(3)))?;
        let key_material = key(4);
        plane.install_outbound(OutboundSaSpec {
            path,
            spi,
            suite,
            key_material,
            further_lanes: vec![],
            esn: ESN,
        })?;
    }
    Ok(())
}

fn inbound(path: PathId, spi: Spi, suite: Suite, key_material: KeyMaterial) -> InboundSaSpec {
    InboundSaSpec {
        spi,
        path,
        suite,
        key_material,
        further_lanes: vec![],
        esn: ESN,
        replay_window_packets: WINDOW_PACKETS,
    }
}

/// Fresh for each sender and epoch, as counter modes ask.
fn key_material(suite: Suite, sender: u8, epoch: u32) -> KeyMaterial {
    let mix =
        |place: usize| (place as u8).wrapping_mul(37) ^ epoch.to_be_bytes()[place % 4] ^ sender;
    KeyMaterial::new((0..suite.key_material_len()).map(mix).collect())
}

/// Of this process (proc(5), statm).
fn resident_bytes() -> Result<u64, Fault> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("no second field in statm")?.parse()?;
    // Four KiB on every machine that this runs on; what is measured is far above one page.
    Ok(pages * 4_096)
}
