use std::collections::BTreeMap;

use hawser_proto::config::v1::EdgeConfig;
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::allocate::{Allocations, allocate};
use crate::compile::{Plan, compile};
use crate::intent::{
    IkeAuth, IkeMode, IkeStart, IkeTunnel, IkeVersion, ManualProtocol, Members, ProfileName,
    Topology, TopologyKind, TunnelProfile,
};
use crate::parse;

const REGIONS: &str = include_str!("../../../testdata/regions.yaml");

fn regions() -> Fleet {
    parse(REGIONS.as_bytes()).unwrap()
}

/// Both with the same numbers.
fn configs(old: &Fleet, new: &Fleet) -> [BTreeMap<EdgeName, EdgeConfig>; 2] {
    let mut numbers = Allocations::default();
    allocate(old, &mut numbers).unwrap();
    let before = compile(old, &numbers).unwrap();
    allocate(new, &mut numbers).unwrap();
    assert_eq!(compile(old, &numbers).unwrap(), before, "new numbers change nothing old");
    [before, compile(new, &numbers).unwrap()]
}

/// What stands for the edges that are not affected, and is compiled for the others.
fn incremental(old: &Fleet, new: &Fleet) -> (Affected, BTreeMap<EdgeName, EdgeConfig>) {
    let mut numbers = Allocations::default();
    allocate(old, &mut numbers).unwrap();
    let mut standing = compile(old, &numbers).unwrap();
    allocate(new, &mut numbers).unwrap();
    let affected = affected(old, new);
    let plan = Plan::new(new, &numbers).unwrap();
    let names: BTreeSet<&EdgeName> = plan.edges().map(|(_, edge)| &edge.name).collect();
    standing.retain(|name, _| names.contains(name));
    for name in names {
        if affected.has(name) {
            standing.insert(name.clone(), plan.config_of(name).unwrap());
        }
    }
    (affected, standing)
}

fn only(names: &[&str]) -> Affected {
    Affected::Only(names.iter().map(|name| EdgeName::new(*name)).collect())
}

fn changed(change: impl Fn(&mut Fleet)) -> Affected {
    let (old, mut new) = (regions(), regions());
    change(&mut new);
    affected(&old, &new)
}

fn site<'a>(fleet: &'a mut Fleet, name: &str) -> &'a mut Site {
    fleet.sites.iter_mut().find(|site| site.name.as_str() == name).unwrap()
}

#[test]
fn a_change_concerns_those_who_see_it() {
    assert_eq!(changed(|_| {}), only(&[]));
    let cost = |fleet: &mut Fleet| site(fleet, "w1").edges[0].uplinks[0].cost = 77;
    assert_eq!(changed(cost), only(&["w1-1"]));
    let vlan = |fleet: &mut Fleet| site(fleet, "w1").lans[1].vlan = 21;
    assert_eq!(changed(vlan), only(&["w1-1"]));
    let provider = |fleet: &mut Fleet| site(fleet, "w1").edges[0].uplinks[0].provider = "x".into();
    assert_eq!(changed(provider), only(&["backup-1", "w1-1", "w2-1", "west-1"]));
    let alone = |fleet: &mut Fleet| {
        site(fleet, "lone").edges[0].uplinks[0].transport = TransportName::new("mpls");
    };
    assert_eq!(changed(alone), only(&["lone-1"]));
    let prefix = |fleet: &mut Fleet| {
        site(fleet, "w1").lans[0].prefixes.push("10.44.0.0/24".parse().unwrap());
    };
    assert_eq!(changed(prefix), Affected::All);
    assert_eq!(changed(|fleet| fleet.fabric_port = 5000), Affected::All);
    assert_eq!(changed(|fleet| fleet.sites.swap(0, 1)), Affected::All);
    assert_eq!(changed(|fleet| drop(fleet.sites.pop())), Affected::All);
}

/// A hub's uplink that is shared tells every spoke how many paths it carries.
#[test]
fn the_number_of_a_hubs_paths_is_seen_by_all_of_its_peers() {
    let mut old = regions();
    site(&mut old, "west").edges[0].uplinks[0].probe_budget_bytes_per_s = 1_000;
    let mut new = old.clone();
    let edge = &mut site(&mut new, "w1").edges[0];
    let second = Uplink { name: UplinkName::new("second"), ..edge.uplinks[0].clone() };
    edge.uplinks.push(second);
    let [before, after] = configs(&old, &new);
    assert_ne!(before["w2-1"], after["w2-1"]);
    let Affected::Only(affected) = affected(&old, &new) else { panic!("all") };
    assert!(affected.contains("w2-1") && !affected.contains("lone-1"), "{affected:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Compiling what is affected, and keeping the rest, gives what compiling all gives.
    #[test]
    fn what_is_compiled_in_part_is_what_is_compiled_whole(seed in any::<u64>(), changes in 0..4_usize) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut old = regions();
        for _ in 0..random.random_range(0..25) {
            change(&mut random, &mut old);
        }
        let mut new = old.clone();
        for _ in 0..changes {
            change(&mut random, &mut new);
        }
        let [_, whole] = configs(&old, &new);
        let (affected, partial) = incremental(&old, &new);
        for (name, config) in &whole {
            prop_assert_eq!(Some(config), partial.get(name), "{} {:?}", name, affected);
        }
        prop_assert_eq!(whole.len(), partial.len());
    }
}

/// One random change of one place, of any kind that a document can make.
fn change(random: &mut ChaCha8Rng, fleet: &mut Fleet) {
    if random.random_bool(0.1) {
        return change_frame(random, fleet);
    }
    let at = random.random_range(0..fleet.sites.len());
    let profile = fleet.topologies.first().map(|t| t.profile.clone()).unwrap_or_default();
    let site = &mut fleet.sites[at];
    let number = random.random_range(0..5_u8);
    let segment = || SegmentName::new(["main", "guest"][usize::from(number % 2)]);
    match random.random_range(0..7) {
        0 => site.drained = !site.drained,
        1 => {
            let prefixes = vec![format!("10.{}.{number}.0/24", 50 + at).parse().unwrap()];
            let segment = segment();
            site.lans.push(Lan { interface: "lan9".into(), segment, prefixes, ..Lan::default() });
        }
        2 if site.lans.len() > 1 => drop(site.lans.pop()),
        3 => site.lans[0].vlan = u16::from(number),
        4 if site.edges.len() < 3 => {
            let name = EdgeName::new(format!("{}-{}", site.name, site.edges.len() + 1));
            let edge = Edge { name, ..site.edges[0].clone() };
            site.edges.push(edge);
        }
        5 => {
            let uplinks = vec![site.edges[0].uplinks[0].name.clone()];
            site.edges[0].ike_tunnels = vec![ike_tunnel(uplinks, profile, segment())];
        }
        _ => {
            let edge = random.random_range(0..site.edges.len());
            change_edge(random, &mut site.edges[edge]);
        }
    }
}

/// Of it only the segment is seen elsewhere.
fn ike_tunnel(uplinks: Vec<UplinkName>, profile: ProfileName, segment: SegmentName) -> IkeTunnel {
    IkeTunnel {
        name: "gateway".into(),
        version: IkeVersion::V2,
        uplinks,
        peer_addresses: vec![IpAddr::from([198, 51, 100, 7])],
        local_id: String::new(),
        remote_id: String::new(),
        auth: IkeAuth::Psk("dc".into()),
        mode: IkeMode::Policy,
        profile,
        dh_groups: Vec::new(),
        segment,
        local_prefixes: Vec::new(),
        remote_prefixes: Vec::new(),
        start: IkeStart::Now,
        dpd_delay_s: 0,
        probe: None,
        sla: None,
        failback_hold_ms: 0,
        protocol: ManualProtocol::Esp,
        warm: false,
        reauth_after_s: 0,
    }
}

fn change_edge(random: &mut ChaCha8Rng, edge: &mut Edge) {
    let at = random.random_range(0..edge.uplinks.len());
    let number = random.random_range(0..4_u8);
    let count = edge.uplinks.len();
    let uplink = &mut edge.uplinks[at];
    match random.random_range(0..14) {
        0 => edge.drained = !edge.drained,
        1 => uplink.cost = number.into(),
        2 => uplink.metered = !uplink.metered,
        3 => uplink.drained = !uplink.drained,
        4 => uplink.provider = format!("p{number}"),
        5 => uplink.transport = TransportName::new(["internet", "mpls"][usize::from(number % 2)]),
        6 => uplink.addresses = vec![IpAddr::from([192, 0, 2, number])],
        7 => uplink.bandwidth_down_kbps = number.into(),
        8 => uplink.bandwidth_up_kbps = number.into(),
        9 => uplink.probe_budget_bytes_per_s = number.into(),
        10 => uplink.usage = [UplinkUse::Normal, UplinkUse::Standby][usize::from(number % 2)],
        11 => uplink.interface = format!("wan{number}"),
        12 if count < 3 => {
            let name = UplinkName::new(format!("isp{}", count + 1));
            let uplink = Uplink { name, ..uplink.clone() };
            edge.uplinks.push(uplink);
        }
        13 if count > 1 => drop(edge.uplinks.pop()),
        _ => {
            let family = if number % 2 == 0 { Family::Ipv4 } else { Family::Ipv6 };
            uplink.families = BTreeSet::from([Family::Ipv4, family]);
        }
    }
}

fn change_frame(random: &mut ChaCha8Rng, fleet: &mut Fleet) {
    match random.random_range(0..6) {
        0 => fleet.fabric_port += 1,
        1 => fleet.traffic_classes[0].dwell_ms += 1,
        2 if fleet.sites.len() > 5 => drop(fleet.sites.pop()),
        3 => fleet.sites.swap(0, 1),
        4 => fleet.tunnel_profiles = vec![TunnelProfile::default()],
        _ => {
            let sites =
                Members::Listed(vec![fleet.sites[0].name.clone(), fleet.sites[4].name.clone()]);
            let profile = fleet.topologies[0].profile.clone();
            let kind = TopologyKind::FullMesh { sites };
            fleet.topologies.push(Topology { name: None, kind, profile });
        }
    }
}
