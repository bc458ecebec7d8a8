//! Both ends prove anew who they are, under traffic.

use super::Verdict;
use super::ike::{GROUP, SOON, key, up, with_left};
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError, Flow, GATEWAY_HOST, Gateway, Guards};
use serde_json::{Value, json};
use std::time::Duration;

/// A few of the shortest intervals, on a slow processor.
const TWICE: Duration = Duration::from_secs(300);

/// The new association is there before the old one goes: nothing is in clear, and what is lost is told.
pub fn make_before_break() -> Verdict {
    with_left(", reauth_after_s: 60", body)
}

fn body(fleet: &mut Fleet) -> Result<Value, FleetError> {
    let gateway = Gateway::by_hand(fleet, 2, GROUP)?;
    gateway.guard(fleet)?;
    key(fleet)?;
    up(fleet, &gateway)?;
    let guards = Guards::start(fleet, "left-host")?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    let from = [there.sent()?, back.sent()?];
    let before = proven(&gateway);
    wait::until("two reauthentications", TWICE, || {
        let times = proven(&gateway) - before;
        Ok(if times >= 2 { Look::Done(()) } else { Look::Not(format!("{times} times")) })
    })?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    let to = [there.sent()?, back.sent()?];
    // What was sent last has arrived.
    std::thread::sleep(Duration::from_secs(2));
    let lost = [there.loss(from[0], to[0])?.lost, back.loss(from[1], to[1])?.lost];
    let sent = to[0] - from[0] + to[1] - from[1];
    let lost = lost[0] + lost[1];
    // Break before make would lose all that is sent while four messages are exchanged, twice.
    assert!(lost * 200 < sent, "{lost} of {sent} lost\n{}", gateway.log());
    up(fleet, &gateway)?;
    let seen = guards.look()?;
    assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
    assert!(seen.on_lan > 500, "the search finds what it looks for: {seen:?}");
    Ok(json!({
        "reauthentications": proven(&gateway) - before,
        "packets": sent,
        "lost": lost,
        "marked_on_wan": seen.on_wan,
        "marked_on_lan": seen.on_lan,
    }))
}

/// How often the edge has shown that it has the key.
fn proven(gateway: &Gateway) -> usize {
    gateway
        .log()
        .matches("authentication of 'left.example.net' with pre-shared key successful")
        .count()
}
