//! The one place that calls the pure core: a document to faults, or to what each edge must make
//! true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_controller_core::{
    Affected, Allocations, Fleet, Plan, Role, SiteName, affected, allocate, expired_waivers, parse,
};
use hawser_proto::agent::v1::Fault;
use hawser_proto::config::v1::EdgeConfig;
use prost::Message as _;

use super::ServiceError;
use super::state::{EdgeState, own_part};
use crate::clock::now_unix_ms;

/// What a document means for the whole fleet.
pub struct Compiled {
    pub fleet: Fleet,
    /// The fleet with its drains, which the edges' configurations were compiled from.
    pub basis: Arc<Fleet>,
    pub allocations: Allocations,
    /// Every edge of the fleet.
    pub edges: BTreeSet<String>,
    /// Those whose configuration is new, or differs from the present one.
    pub changed: BTreeMap<String, CompiledEdge>,
}

/// What one edge is to get.
pub struct CompiledEdge {
    /// The controller's own part of it.
    pub config: EdgeConfig,
    pub bytes: Vec<u8>,
}

/// Every fault of the document; none: it may be applied to the fleet of this name.
pub fn validate(document: &[u8], name: &str) -> Result<Fleet, Vec<Fault>> {
    let fleet = read(document, name)?;
    let expired = expired_waivers(&fleet, now_unix_ms() / 1_000);
    if expired.is_empty() { Ok(fleet) } else { Err(expired.into_iter().map(Fault::from).collect()) }
}

/// The same of a document that was applied before: waivers that ended meanwhile are no hindrance to going back to it.
pub fn read(document: &[u8], name: &str) -> Result<Fleet, Vec<Fault>> {
    let fleet = parse(document)
        .map_err(|faults| faults.into_iter().map(Fault::from).collect::<Vec<_>>())?;
    if fleet.name != name {
        return Err(vec![Fault {
            code: "FLEET_MISMATCH".into(),
            path: "fleet".into(),
            message: format!("the document is for fleet {:?}", fleet.name),
            mend: format!("this controller's fleet is {name:?}; use its controller or its name"),
        }]);
    }
    Ok(fleet)
}

/// What edges have now.
pub struct Standing {
    pub edges: BTreeMap<String, Arc<EdgeState>>,
    /// What this very process has compiled all of them from; none: some may be of elsewhere.
    pub basis: Option<Arc<Fleet>>,
}

/// Blocks for as long as a big fleet takes, if the change concerns all of it. `drained`: sites, edges and `EDGE/UPLINK` that traffic is led away from,
/// whatever the document says.
pub fn run(
    fleet: Fleet,
    mut allocations: Allocations,
    controllers: &[String],
    drained: &BTreeSet<String>,
    standing: &Standing,
) -> Result<Result<Compiled, Vec<Fault>>, ServiceError> {
    if let Err(exhausted) = allocate(&fleet, &mut allocations) {
        let fault: hawser_controller_core::Fault = exhausted.into();
        return Ok(Err(vec![fault.into()]));
    }
    let led_away = Arc::new(with_drains(&fleet, drained));
    let concerned = match &standing.basis {
        Some(basis) => affected(basis, &led_away),
        None => Affected::All,
    };
    let failed =
        |error: hawser_controller_core::NotAllocated| ServiceError::Compile(error.to_string());
    let plan = Plan::new(&led_away, &allocations).map_err(failed)?;
    let (mut edges, mut changed) = (BTreeSet::new(), BTreeMap::new());
    // One at a time: all configurations of a large fleet take a lot of room.
    for (_, edge) in plan.edges() {
        let name = edge.name.to_string();
        let present = standing.edges.get(&name);
        if present.is_some() && !concerned.has(&edge.name) {
            edges.insert(name);
            continue;
        }
        let mut config = plan.config_of(&edge.name).map_err(failed)?;
        if config.controllers.is_empty() {
            config.controllers = controllers.to_vec();
        }
        let bytes = config.encode_to_vec();
        if present.is_none_or(|state| state.bytes != bytes) {
            changed.insert(name.clone(), CompiledEdge { config: own_part(config), bytes });
        }
        edges.insert(name);
    }
    drop(plan);
    Ok(Ok(Compiled { fleet, basis: led_away, allocations, edges, changed }))
}

/// The fleet with these drained too.
fn with_drains(fleet: &Fleet, drained: &BTreeSet<String>) -> Fleet {
    let mut fleet = fleet.clone();
    for site in &mut fleet.sites {
        site.drained |= drained.contains(site.name.as_str());
        for edge in &mut site.edges {
            edge.drained |= drained.contains(edge.name.as_str());
            for uplink in &mut edge.uplinks {
                uplink.drained |= drained.contains(&format!("{}/{}", edge.name, uplink.name));
            }
        }
    }
    fleet
}

/// Whether the fleet has such a site, edge or `EDGE/UPLINK`.
pub fn has_target(fleet: &Fleet, target: &str) -> bool {
    let edges = || fleet.sites.iter().flat_map(|site| &site.edges);
    match target.split_once('/') {
        None => {
            fleet.sites.iter().any(|site| site.name.as_str() == target)
                || edges().any(|edge| edge.name.as_str() == target)
        }
        Some((name, uplink)) => edges()
            .filter(|edge| edge.name.as_str() == name)
            .any(|edge| edge.uplinks.iter().any(|u| u.name.as_str() == uplink)),
    }
}

/// What each site is to the others.
pub fn roles(fleet: &Fleet, allocations: &Allocations) -> BTreeMap<String, &'static str> {
    let Ok(plan) = Plan::new(fleet, allocations) else {
        return BTreeMap::new();
    };
    let role = |name: &SiteName| plan.role(name).map_or("", Role::name);
    let sites = fleet.sites.iter();
    sites.map(|s| (s.name.to_string(), role(&s.name))).collect()
}
