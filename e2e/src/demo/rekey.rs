//! Keys change while traffic flows, and nothing is lost.

use super::outcome::Outcome;
use super::story::{Stage, Traffic};
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError};
use std::collections::BTreeMap;
use std::time::Duration;

/// The shortest life of keys that a profile may ask for.
const SHORT: &str = "rekey_after_s: 5,";
const LONG: &str = "rekey_after_s: 3600,";
/// On each path that carries a stream.
const WANTED: u64 = 5;
const LIMIT: Duration = Duration::from_secs(75);
const CONVERGE_LIMIT: Duration = Duration::from_secs(30);
/// What is under way when sending is noted has arrived after this.
const IN_FLIGHT: Duration = Duration::from_millis(500);

pub(super) fn measure(stage: &Stage<'_>, outcome: &mut Outcome) -> Result<(), FleetError> {
    let document = stage.fleet.spec().document.clone();
    let step = stage.screen.step("hawser apply");
    let revision = apply(stage, &document.replace(LONG, SHORT), "keys live 5 s")?;
    step.done(&format!("revision {revision}: keys live 5 s, a fresh handshake each time"));

    let step = stage.screen.step("rekeys");
    let mut before = BTreeMap::new();
    let mut sent_before = Vec::new();
    for traffic in &stage.flows {
        counts(&stage.fleet, traffic, &mut before)?;
        sent_before.push(traffic.flow.sent()?);
    }
    let reached = wait::until("keys change under every stream", stage.pace.within(LIMIT), || {
        let fewest = stage.flows.iter().map(|traffic| since(&stage.fleet, traffic, &before));
        let fewest = fewest.collect::<Result<Vec<u64>, FleetError>>()?;
        let fewest = fewest.into_iter().min().unwrap_or(0);
        step.now(format!("{fewest} of {WANTED} under every stream"));
        let why = format!("{fewest} of {WANTED}");
        Ok(if fewest >= WANTED { Look::Done(()) } else { Look::Not(why) })
    });
    let (mut lost, mut sent) = (0, 0);
    for (traffic, from) in stage.flows.iter().zip(sent_before) {
        outcome.rekeys += since(&stage.fleet, traffic, &before)?;
        let to = traffic.flow.sent()?;
        std::thread::sleep(stage.pace.within(IN_FLIGHT));
        let loss = traffic.flow.loss(from, to)?;
        lost += loss.lost;
        sent += loss.expected;
    }
    outcome.rekey_lost = Some(lost);
    let rekeys = outcome.rekeys;
    step.told(
        reached.is_ok() && lost == 0,
        &format!("{rekeys} under the three streams; {lost} of {sent} packets lost"),
    );
    let step = stage.screen.step("hawser apply");
    let revision = apply(stage, &document, "keys live an hour")?;
    step.done(&format!("revision {revision}: as before"));
    Ok(())
}

fn apply(stage: &Stage<'_>, document: &str, comment: &str) -> Result<u64, FleetError> {
    let revision = stage.fleet.apply(document, comment)?.revision;
    stage.fleet.wait_converged(stage.pace.within(CONVERGE_LIMIT))?;
    Ok(revision)
}

type Counts = BTreeMap<(String, u32), u64>;

/// How often each path of the stream's tunnel has been keyed anew.
fn counts(fleet: &Fleet, traffic: &Traffic, counts: &mut Counts) -> Result<(), FleetError> {
    for path in fleet.agent(traffic.sender)?.paths()? {
        counts.insert((traffic.sender.to_owned(), path.path_id), path.rekeys);
    }
    Ok(())
}

/// How often the path that carries the stream has been keyed since.
fn since(fleet: &Fleet, traffic: &Traffic, before: &Counts) -> Result<u64, FleetError> {
    let path = fleet.agent(traffic.sender)?.path_in_use(traffic.peer, "default")?;
    let then = before.get(&(traffic.sender.to_owned(), path.path_id)).copied().unwrap_or(0);
    Ok(path.rekeys.saturating_sub(then))
}
