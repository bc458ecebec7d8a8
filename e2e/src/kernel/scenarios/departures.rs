//! The uplink in use is removed by a revision that reaches one end before the other.

use super::Verdict;
use super::fabric::{dual, pings, with_fleet};
use super::streams::Streams;
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError};
use serde_json::{Value, json};
use std::time::Duration;

const BOTH_WAYS: [(&str, &str, bool); 2] =
    [("left-host", "right-host", false), ("right-host", "left-host", true)];
const REMOVED: &str =
    "          - {name: isp-a, transport: isp-a, addresses: [198.51.100.2, \"2001:db8:a:1::2\"]}\n";
/// A rollout of two waves, and what departs, on a slow processor.
const GONE: Duration = Duration::from_secs(180);

/// The kernel forwards at both ends.
pub fn kernel_kernel() -> Verdict {
    removed(&["left-1", "right-1"])
}

/// And at one.
pub fn kernel_userspace() -> Verdict {
    removed(&["left-1"])
}

fn removed(kernel: &[&str]) -> Verdict {
    with_fleet(dual(kernel)?, |fleet| {
        let streams = Streams::start(fleet, &BOTH_WAYS)?;
        let used = fleet.agent("left-1")?.path_in_use("right-1", "default")?;
        assert_eq!(used.local_uplink, "isp-a", "traffic flows by what will be removed");
        let figures = streams.over("it is removed", || remove(fleet), || Ok(Look::Done(())))?;
        pings(fleet)?;
        let lost =
            figures.as_object().into_iter().flatten().filter_map(|(_, f)| f["lost"].as_u64());
        assert_eq!(lost.collect::<Vec<_>>(), [0, 0], "{figures}");
        Ok(json!({"streams": figures, "in_clear": streams.none_in_clear()?}))
    })
}

/// At the left end first, and then at both: done once nothing of it is left.
fn remove(fleet: &Fleet) -> Result<(), FleetError> {
    let document = fleet.spec().document.clone();
    assert!(document.contains(REMOVED), "{document}");
    let path = fleet.folder().join("narrow.yaml");
    std::fs::write(&path, document.replace(REMOVED, "")).expect("the document is written");
    let path = path.display().to_string();
    let args = ["apply", &path, "--staged", "--canary", "left", "--soak", "10s"];
    fleet.operator()?.text(&args)?;
    wait::until("what was removed is gone", GONE, || {
        let text = fleet.operator()?.text(&["--json", "rollout"])?;
        let rollout: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut held = Vec::new();
        for agent in fleet.agents() {
            held.push(agent.peek_paths()?.len());
        }
        let gone = rollout["phase"] == "done" && held == [2, 2];
        Ok(if gone {
            Look::Done(())
        } else {
            Look::Not(format!("{}, paths: {held:?}", rollout["phase"]))
        })
    })
}
