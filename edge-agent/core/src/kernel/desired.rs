//! From what the engine asked for to what the kernel must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{
    Class, Direction, Ends, GreLink, Inputs, KernelState, MARK_PREFERENCE, NEXT_HOP_BASE,
    NEXT_HOPS, NextHop, PROBE_MTU_BYTES, Policy, Route, RouteKind, Rule, StateId, Tunnel,
    UNMARKED_PREFERENCE, class_mark, class_table, script,
};
use crate::id::{ClassId, PathId, SegmentId, TunnelId, gre_key};
use crate::select::Choice;

/// Next hops of one group weigh at most so much each (an octet holds the weight less one).
const MAX_WEIGHT: u32 = 256;

/// Everything of ours. `states` are those that the kernel holds: they stay as long as their path does, at its ends once
/// those are known.
pub fn desired(
    inputs: &Inputs,
    states: &BTreeMap<StateId, (SocketAddr, SocketAddr)>,
) -> KernelState {
    let mut state = KernelState { script: Some(script(inputs)), ..KernelState::default() };
    for tunnel in inputs.tunnels.values() {
        for &path in &tunnel.paths {
            if let Some(ends) = inputs.ends.get(&path) {
                add_path(&mut state, inputs, tunnel, path, ends);
            }
        }
    }
    let known: BTreeSet<PathId> =
        inputs.tunnels.values().flat_map(|tunnel| tunnel.paths.iter().copied()).collect();
    for (&id, &at) in states.iter().filter(|(id, _)| known.contains(&id.path)) {
        let ends = inputs.ends.get(&id.path).map(|ends| (ends.local, ends.remote));
        state.states.insert(id, ends.unwrap_or(at));
    }
    let hops = Hops::of(inputs);
    for ipv6 in [false, true] {
        state.next_hops.insert(hops.blackhole(ipv6), NextHop::Blackhole { ipv6 });
        for &link in state.links.keys().filter(|key| **key & 0xff != 0) {
            state.next_hops.insert(hops.device(ipv6, link), NextHop::Device { ipv6, link });
        }
    }
    state.next_hops.extend(groups_by(inputs, &hops, |_| true));
    add_routes(&mut state, inputs, &hops);
    add_rules(&mut state, inputs);
    state
}

/// The groups that a tunnel's choices are part of, as they must be now.
pub fn groups(inputs: &Inputs, tunnel: TunnelId) -> BTreeMap<u32, NextHop> {
    groups_by(inputs, &Hops::of(inputs), |tunnels| tunnels.contains(&tunnel))
}

/// What a former run had chosen, as the kernel's groups tell it: until something better is known it goes on.
pub fn choices_of(inputs: &Inputs, seen: &KernelState) -> BTreeMap<(TunnelId, ClassId), Choice> {
    let hops = Hops::of(inputs);
    let mut choices = BTreeMap::new();
    for (_, class) in inputs.marked_classes() {
        for (segment, prefix, tunnels) in inputs.routes.iter().filter(|(_, _, t)| !t.is_empty()) {
            let id = hops.group(prefix.addr().is_ipv6(), *segment, class, tunnels);
            let Some(NextHop::Group(members)) = seen.next_hops.get(&id) else { continue };
            let path = |(id, weight): &(u32, u16)| match seen.next_hops.get(id) {
                Some(NextHop::Device { link, .. }) => Some((PathId(link >> 8), u32::from(*weight))),
                _ => None,
            };
            let paths: Vec<(PathId, u32)> = members.iter().filter_map(path).collect();
            let of = |tunnel: &&TunnelId| {
                let tunnel = inputs.tunnels.get(tunnel);
                let has = |(path, _): &(PathId, u32)| {
                    tunnel.is_some_and(|tunnel| tunnel.paths.contains(path))
                };
                !paths.is_empty() && paths.iter().all(has)
            };
            let Some(tunnel) = tunnels.iter().find(of) else { continue };
            let choice = match &paths[..] {
                [(path, _)] => Choice::Path(*path),
                _ => Choice::Spread(paths.clone()),
            };
            choices.entry((*tunnel, class.id)).or_insert(choice);
        }
    }
    choices
}

fn add_path(state: &mut KernelState, inputs: &Inputs, tunnel: &Tunnel, path: PathId, ends: &Ends) {
    let (local, remote) = (ends.local.ip(), ends.remote.ip());
    // IPv6 policies can't tell paths by their keys: only addresses do.
    let heard_from = remote.is_ipv6().then_some(remote);
    for (direction, remote) in [(Direction::In, heard_from), (Direction::Out, Some(remote))] {
        state.policies.insert(Policy { direction, path, local, remote });
    }
    for segment in inputs.segments.keys().copied().chain([SegmentId::INFRASTRUCTURE]) {
        let link = GreLink {
            key: gre_key(path, segment),
            local,
            remote,
            underlay: ends.interface.clone(),
            // Probes find out how long packets may be: the interface that sends them must not refuse what is longer.
            mtu_bytes: if segment == SegmentId::INFRASTRUCTURE {
                PROBE_MTU_BYTES
            } else {
                tunnel.inner_mtu_bytes
            },
            up: true,
        };
        state.links.insert(link.key, link);
    }
}

fn add_routes(state: &mut KernelState, inputs: &Inputs, hops: &Hops) {
    for (place, class) in inputs.marked_classes() {
        for (&segment, own) in inputs.segments.iter().filter(|(id, _)| fits(class, **id)) {
            let table = class_table(segment, place);
            for &prefix in &own.own {
                state.routes.insert(Route { table, prefix, kind: RouteKind::Throw });
            }
            let of_segment = inputs.routes.iter().filter(|(id, ..)| *id == segment);
            for (_, prefix, tunnels) in of_segment.filter(|(_, _, t)| !t.is_empty()) {
                let ipv6 = prefix.addr().is_ipv6();
                let id = hops.group(ipv6, segment, class, tunnels);
                let (prefix, kind) = (prefix.trunc(), RouteKind::NextHop(id));
                // A LAN of this site is nobody else's.
                if !own.own.contains(&prefix) {
                    state.routes.insert(Route { table, prefix, kind });
                }
            }
        }
    }
}

fn add_rules(state: &mut KernelState, inputs: &Inputs) {
    let main = inputs.main_segment();
    let last = inputs.marked_classes().map(|(place, _)| place).last();
    for ipv6 in [false, true] {
        for (place, class) in inputs.marked_classes() {
            for &segment in inputs.segments.keys().filter(|id| fits(class, **id)) {
                state.rules.insert(Rule {
                    ipv6,
                    preference: MARK_PREFERENCE,
                    mark: Some(class_mark(segment, place)),
                    table: class_table(segment, place),
                });
            }
        }
        if let (Some(main), Some(last)) = (main, last) {
            let table = class_table(main, last);
            state.rules.insert(Rule { ipv6, preference: UNMARKED_PREFERENCE, mark: None, table });
        }
    }
}

fn fits(class: &Class, segment: SegmentId) -> bool {
    class.segment.is_none_or(|of| of == segment)
}

fn groups_by(
    inputs: &Inputs,
    hops: &Hops,
    wanted: impl Fn(&[TunnelId]) -> bool,
) -> BTreeMap<u32, NextHop> {
    let mut groups = BTreeMap::new();
    for (_, class) in inputs.marked_classes() {
        for (segment, prefix, tunnels) in &inputs.routes {
            if !fits(class, *segment) || tunnels.is_empty() || !wanted(tunnels) {
                continue;
            }
            let ipv6 = prefix.addr().is_ipv6();
            let id = hops.group(ipv6, *segment, class, tunnels);
            groups.entry(id).or_insert_with(|| {
                let members = members(inputs, class, tunnels);
                NextHop::Group(if members.is_empty() {
                    vec![(hops.blackhole(ipv6), 1)]
                } else {
                    let device =
                        |(path, weight)| (hops.device(ipv6, gre_key(path, *segment)), weight);
                    members.into_iter().map(device).collect()
                })
            });
        }
    }
    groups
}

/// The paths of the first tunnel that has one for the class.
fn members(inputs: &Inputs, class: &Class, tunnels: &[TunnelId]) -> Vec<(PathId, u16)> {
    for tunnel in tunnels {
        let Some(of_tunnel) = inputs.tunnels.get(tunnel) else { continue };
        let choice = inputs.choices.get(&(*tunnel, class.id)).cloned().unwrap_or_default();
        let chosen = match choice {
            Choice::Nothing => continue,
            Choice::Path(path) => vec![(path, 1)],
            Choice::Spread(paths) => paths,
            // The kernel sends no packet twice: the better one of the two carries it.
            Choice::Both(first, _) => vec![(first, 1)],
        };
        let there =
            |path: &PathId| of_tunnel.paths.contains(path) && inputs.ends.contains_key(path);
        let chosen: Vec<(PathId, u32)> =
            chosen.into_iter().filter(|(path, _)| there(path)).collect();
        let most = chosen.iter().map(|(_, weight)| *weight).max().unwrap_or(1).max(1);
        let scaled = |weight: u32| {
            let weight = if most > MAX_WEIGHT { weight / (most / MAX_WEIGHT + 1) } else { weight };
            weight.clamp(1, MAX_WEIGHT) as u16
        };
        if !chosen.is_empty() {
            return chosen.into_iter().map(|(path, weight)| (path, scaled(weight))).collect();
        }
    }
    Vec::new()
}

/// IDs of next hops. They follow from what a next hop is, not from what else there is: an ID that stays in use never
/// changes its meaning, so no packet is led astray between two steps.
struct Hops(BTreeMap<Vec<u32>, u32>);

const DEVICE: u32 = 0;
const BLACKHOLE: u32 = 1;
const GROUP: u32 = 2;

impl Hops {
    fn of(inputs: &Inputs) -> Hops {
        let mut all: Vec<Vec<u32>> = Vec::new();
        for ipv6 in [0, 1] {
            all.push(vec![BLACKHOLE, ipv6]);
            for path in inputs.tunnels.values().flat_map(|tunnel| &tunnel.paths) {
                for &segment in inputs.segments.keys() {
                    all.push(vec![DEVICE, ipv6, gre_key(*path, segment)]);
                }
            }
        }
        for (_, class) in inputs.marked_classes() {
            for (segment, prefix, tunnels) in &inputs.routes {
                if fits(class, *segment) && !tunnels.is_empty() {
                    let ipv6 = prefix.addr().is_ipv6();
                    all.push(group_key(ipv6, *segment, class, tunnels));
                }
            }
        }
        all.sort();
        all.dedup();
        let mut taken = BTreeSet::new();
        let mut ids = BTreeMap::new();
        for key in all {
            let mut id = hash(&key);
            // Two of the same hash are rare; the second one's ID may then depend on the first.
            while taken.contains(&id) {
                id = NEXT_HOP_BASE + (id - NEXT_HOP_BASE + 1) % NEXT_HOPS;
            }
            taken.insert(id);
            ids.insert(key, id);
        }
        Hops(ids)
    }

    fn device(&self, ipv6: bool, link: u32) -> u32 {
        self.id(vec![DEVICE, u32::from(ipv6), link])
    }

    fn blackhole(&self, ipv6: bool) -> u32 {
        self.id(vec![BLACKHOLE, u32::from(ipv6)])
    }

    fn group(&self, ipv6: bool, segment: SegmentId, class: &Class, tunnels: &[TunnelId]) -> u32 {
        self.id(group_key(ipv6, segment, class, tunnels))
    }

    fn id(&self, key: Vec<u32>) -> u32 {
        self.0.get(&key).copied().unwrap_or_else(|| hash(&key))
    }
}

fn group_key(ipv6: bool, segment: SegmentId, class: &Class, tunnels: &[TunnelId]) -> Vec<u32> {
    let head = [GROUP, u32::from(ipv6), u32::from(segment.0), class.id.0];
    head.into_iter().chain(tunnels.iter().map(|tunnel| tunnel.0)).collect()
}

/// FNV-1a: stable from run to run, so that a restarted agent finds its own.
fn hash(key: &[u32]) -> u32 {
    let octets = key.iter().flat_map(|word| word.to_be_bytes());
    let hash = octets.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    NEXT_HOP_BASE + (hash >> 40) as u32 % NEXT_HOPS
}
