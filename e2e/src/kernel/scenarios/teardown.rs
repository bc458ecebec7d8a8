//! What `hawser-edge teardown` leaves behind: nothing of ours, and all that others put there.

use super::Verdict;
use super::fabric::{SOON, dual};
use super::survival::at;
use super::tools::run;
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const KERNEL: &str = "left-1";
const USERSPACE: &str = "right-1";
/// Longer than what the kernel keeps of an association that was wanted and did not come (`xfrm_acq_expires`, 30 s).
const ACQUIRES_END: Duration = Duration::from_secs(60);
const LOOKS: [&str; 7] = [
    "ip -d link",
    "ip xfrm state",
    "ip xfrm policy",
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "nft list ruleset",
];
/// Somebody else's, which looks a little like ours.
const OTHERS: [&str; 4] = [
    "ip rule add pref 7301 fwmark 0x7 lookup 77",
    "ip route add 192.0.2.128/25 dev lan0 proto 117 table 77",
    "ip xfrm policy add src 192.0.2.1 dst 192.0.2.2 proto gre dir out tmpl proto esp mode transport reqid 77",
    "nft add table inet hawser_other",
];

/// Both drivers: before the agents started, and after they were killed and torn down.
pub fn leaves_nothing() -> Verdict {
    // Their modules make interfaces of their own in every namespace.
    for module in ["ip_gre", "ip6_gre", "ip6_tunnel"] {
        run(&format!("modprobe {module}"))?;
    }
    let spec = dual(&[KERNEL])?;
    let mut fleet = Fleet::lay_out(spec).map_err(|error| error.line())?;
    compare(&mut fleet).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

fn compare(fleet: &mut Fleet) -> Result<Value, FleetError> {
    for node in ["left", "right"] {
        for command in OTHERS {
            at(fleet, node, &command.split(' ').collect::<Vec<_>>())?;
        }
    }
    let before = [looks(fleet, "left")?, looks(fleet, "right")?];
    fleet.start_controller()?;
    fleet.apply(&fleet.spec().document.clone(), "first")?;
    fleet.enrol_all()?;
    fleet.start_agents()?;
    fleet.wait_all_up(2 * SOON)?;
    let during = looks(fleet, "left")?;
    let mut said = Vec::new();
    for edge in [KERNEL, USERSPACE] {
        let refused = teardown(fleet, edge);
        assert!(refused.is_err(), "it must not be done under a running agent: {refused:?}");
        fleet.kill_agent(edge)?;
        said.push(teardown(fleet, edge)?);
        // A second time there is nothing to do.
        teardown(fleet, edge)?;
    }
    for look in LOOKS {
        assert_ne!(before[0][look], during[look], "{look} would not show what is left");
    }
    for (node, before) in ["left", "right"].into_iter().zip(&before) {
        wait::until(&format!("{node} is as it was"), ACQUIRES_END, || {
            let now = looks(fleet, node)?;
            let differs = LOOKS.into_iter().find(|look| now[look] != before[look]);
            Ok(match differs {
                None => Look::Done(()),
                Some(look) => Look::Not(format!("{look}: {}; it was: {}", now[look], before[look])),
            })
        })?;
    }
    Ok(json!({"compared": LOOKS, "said": said}))
}

pub fn teardown(fleet: &Fleet, edge: &str) -> Result<String, FleetError> {
    let state = fleet.folder().join("edges").join(edge);
    let (program, state) = (fleet.programs().edge.to_string_lossy(), state.to_string_lossy());
    let node = edge.trim_end_matches("-1");
    at(fleet, node, &[&program, "--state-dir", &state, "teardown"])
}

fn looks(fleet: &Fleet, node: &str) -> Result<BTreeMap<&'static str, String>, FleetError> {
    let look = |command: &'static str| -> Result<_, FleetError> {
        Ok((command, at(fleet, node, &command.split(' ').collect::<Vec<_>>())?))
    };
    LOOKS.into_iter().map(look).collect()
}
