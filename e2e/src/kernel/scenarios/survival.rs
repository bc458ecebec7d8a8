//! What must not hurt: tables flushed, an agent killed.

use super::Verdict;
use super::fabric::{SOON, dual, pings, with_fleet};
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError, Flow, Guards};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Longer than a look of the driver at the kernel.
const DEAD: Duration = Duration::from_secs(5);

/// With the driver's next look.
const LONG: Duration = Duration::from_secs(90);
const LATE: Duration = Duration::from_secs(10);

/// A program may have to be read, and a module to be loaded, by a processor that has much else to do.
const COMMAND: Duration = Duration::from_secs(90);

/// States and policies flushed under traffic: nothing in clear, and traffic comes back under fresh keys.
pub fn flush() -> Verdict {
    with_fleet(dual(&["left-1", "right-1"])?, |fleet| {
        let guards = Guards::start(fleet, "left-host")?;
        let flow = Flow::start(fleet, "left-host", "right-host", 7001, false)?;
        flow.wait_flowing(SOON)?;
        let before = spis(fleet, "left")?;
        let sent_before = flow.sent()?;
        for what in ["policy", "state"] {
            at(fleet, "left", &["ip", "xfrm", what, "flush"])?;
        }
        std::thread::sleep(Duration::from_millis(500));
        flow.wait_flowing(SOON)?;
        fleet.wait_edges_up(SOON)?;
        let after = spis(fleet, "left")?;
        assert!(before.is_disjoint(&after), "what was flushed came back: {before:?} {after:?}");
        remove_interfaces(fleet, "right")?;
        flow.wait_flowing(LONG)?;
        let seen = guards.look()?;
        assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
        assert!(seen.on_lan > 100, "the search finds what it looks for: {seen:?}");
        pings(fleet)?;
        let loss = flow.loss(sent_before, flow.sent()?)?;
        Ok(json!({"marked_on_wan": 0, "lost_meanwhile": loss.lost}))
    })
}

/// What arrives for them is decrypted and belongs to nothing: the kernel answers such packets with errors that quote them.
fn remove_interfaces(fleet: &Fleet, node: &str) -> Result<(), FleetError> {
    let listing = at(fleet, node, &["ip", "-o", "link"])?;
    let names =
        listing.lines().filter_map(|line| line.split_whitespace().nth(1)?.split('@').next());
    let carrying: Vec<&str> =
        names.filter(|name| name.starts_with("hw") && name.ends_with("s1")).collect();
    assert!(!carrying.is_empty(), "no interface of a path in {listing}");
    for name in carrying {
        at(fleet, node, &["ip", "link", "del", name])?;
    }
    // So long their packets find none, unless they are back before.
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Its agent dead, a site goes on; the next agent takes over what it finds.
pub fn agent_killed() -> Verdict {
    with_fleet(dual(&["left-1", "right-1"])?, |fleet| {
        let flow = Flow::start(fleet, "left-host", "right-host", 7001, false)?;
        let back = Flow::start(fleet, "right-host", "left-host", 7002, true)?;
        flow.wait_flowing(SOON)?;
        back.wait_flowing(SOON)?;
        let before = spis(fleet, "left")?;
        let (from, from_back) = (flow.sent()?, back.sent()?);
        fleet.kill_agent("left-1")?;
        std::thread::sleep(DEAD);
        fleet.start_agent("left-1")?;
        fleet.wait_edge_up("left-1", SOON)?;
        std::thread::sleep(DEAD);
        let (to, to_back) = (flow.sent()?, back.sent()?);
        let packets = to - from + to_back - from_back;
        // The emulated processors stand still at times: what is late is not lost.
        let arrived = wait::until("all that was sent arrives", LATE, || {
            let (there, back) = (flow.loss(from, to)?, back.loss(from_back, to_back)?);
            let all = there.lost + back.lost == 0;
            let seen = || {
                format!(
                    "of {packets}: there from {from}: {there:?}, back from {from_back}: {back:?}"
                )
            };
            Ok(if all { Look::Done(()) } else { Look::Not(seen()) })
        });
        arrived.inspect_err(|_| eprintln!("{}", drops(fleet)))?;
        let after = spis(fleet, "left")?;
        let new: Vec<&String> = after.difference(&before).collect();
        assert!(!after.is_empty() && new.is_empty(), "{new:?} beside {before:?}");
        Ok(json!({
            "packets": packets,
            "lost": 0,
            "spis": after.len(),
        }))
    })
}

/// What may tell where a packet was lost: counters of both edges, and of the emulated links.
fn drops(fleet: &Fleet) -> String {
    let counters = [
        "cat /proc/net/xfrm_stat",
        "cat /proc/net/softnet_stat",
        "cat /proc/net/snmp",
        "cat /proc/net/netstat",
        "cat /proc/net/snmp6",
        "ip -s -s link",
        "nft list ruleset",
    ];
    let mut told = format!("── links\n{:?}\n", fleet.lab().status());
    for node in ["left", "right", "left-host", "right-host", "isp-a", "isp-b"] {
        for counter in counters {
            let said = at(fleet, node, &counter.split(' ').collect::<Vec<_>>());
            told.push_str(&format!("── {node}: {counter}\n{}\n", said.unwrap_or_default()));
        }
    }
    told
}

/// All associations of a node.
fn spis(fleet: &Fleet, node: &str) -> Result<BTreeSet<String>, FleetError> {
    let said = at(fleet, node, &["ip", "xfrm", "state"])?;
    let words = said.split_whitespace().collect::<Vec<_>>();
    let found = words.windows(2).filter(|pair| pair[0] == "spi" && pair[1] != "0x00000000");
    Ok(found.map(|pair| pair[1].to_owned()).collect())
}

pub(super) fn at(fleet: &Fleet, node: &str, argv: &[&str]) -> Result<String, FleetError> {
    let output = fleet.lab().exec_within(node, argv, COMMAND)?;
    if output.status.success() {
        return Ok(output.stdout_text());
    }
    Err(FleetError::Command {
        command: argv.join(" "),
        code: output.status.code(),
        said: output.stderr_text(),
    })
}
