//! The one place that calls the pure core: a document to faults, or to what each edge must make
//! true.

use std::collections::BTreeMap;

use hawser_controller_core::{
    Allocations, Fleet, Plan, Role, SiteName, allocate, compile, expired_waivers, parse,
};
use hawser_proto::agent::v1::Fault;
use hawser_proto::config::v1::EdgeConfig;

use super::ServiceError;
use crate::clock::now_unix_ms;

/// What a document means for the whole fleet.
pub struct Compiled {
    pub fleet: Fleet,
    pub allocations: Allocations,
    pub configs: BTreeMap<String, EdgeConfig>,
}

/// Every fault of the document; none: it may be applied to the fleet of this name.
pub fn validate(document: &[u8], name: &str) -> Result<Fleet, Vec<Fault>> {
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
    let expired = expired_waivers(&fleet, now_unix_ms() / 1_000);
    if expired.is_empty() { Ok(fleet) } else { Err(expired.into_iter().map(Fault::from).collect()) }
}

/// Blocks for as long as a big fleet takes.
pub fn run(
    fleet: Fleet,
    mut allocations: Allocations,
    controllers: &[String],
) -> Result<Result<Compiled, Vec<Fault>>, ServiceError> {
    if let Err(exhausted) = allocate(&fleet, &mut allocations) {
        let fault: hawser_controller_core::Fault = exhausted.into();
        return Ok(Err(vec![fault.into()]));
    }
    let compiled =
        compile(&fleet, &allocations).map_err(|error| ServiceError::Compile(error.to_string()))?;
    let configs = compiled
        .into_iter()
        .map(|(name, mut config)| {
            if config.controllers.is_empty() {
                config.controllers = controllers.to_vec();
            }
            (name.to_string(), config)
        })
        .collect();
    Ok(Ok(Compiled { fleet, allocations, configs }))
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
