//! Uplinks that rest, with real controllers and agents in a lab. Needs root. Nothing here is about speed.

use std::time::Duration;

use hawser_e2e::clock;
use hawser_e2e::fleet::views::PathView;
use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow};
use hawser_e2e::wan::Impairment;

const UP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);
/// A last resort is given up 30 s after another path is proven and nothing is on it, a failed path is taken back after 10 s.
const GIVEN_UP: Duration = Duration::from_secs(120);

type Outcome = Result<(), FleetError>;

/// Runs a scenario on two sites whose second uplinks have this `use`; a failure brings the logs' ends along.
fn scenario(usage: &str, body: impl FnOnce(&mut Fleet) -> Outcome) {
    let mut spec = FleetSpec::dual().expect("the bundled fleet");
    let second = "{name: isp-b, transport: isp-b,";
    assert_eq!(spec.document.matches(second).count(), 2);
    spec.document = spec.document.replace(second, &format!("{second} use: {usage},"));
    let mut fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    if let Err(error) = body(&mut fleet) {
        panic!("{}\n{}", error.line(), fleet.log_tails());
    }
}

/// An edge's paths over one of its uplinks.
fn over(fleet: &Fleet, edge: &str, uplink: &str) -> Result<Vec<PathView>, FleetError> {
    let paths = fleet.agent(edge)?.paths()?;
    Ok(paths.into_iter().filter(|path| path.local_uplink == uplink).collect())
}

fn wait_states(
    fleet: &Fleet,
    uplink: &str,
    limit: Duration,
    wanted: impl Fn(&PathView) -> bool,
) -> Outcome {
    wait::until(&format!("paths over {uplink} are as they should be"), limit, || {
        let mut paths = over(fleet, "left-1", uplink)?;
        paths.extend(over(fleet, "right-1", uplink)?);
        let good = paths.len() == 4 && paths.iter().all(&wanted);
        Ok(if good { Look::Done(()) } else { Look::Not(format!("{paths:?}")) })
    })
}

fn sent(fleet: &Fleet, uplink: &str) -> Result<u64, FleetError> {
    let both = [over(fleet, "left-1", uplink)?, over(fleet, "right-1", uplink)?];
    Ok(both.iter().flatten().map(|path| path.tx_bytes).sum())
}

fn blackhole(fleet: &Fleet, dark: bool) -> Outcome {
    Ok(fleet.lab().impair("left-isp-a", &Impairment::blackhole(dark))?)
}

#[test]
fn nothing_is_sent_on_a_last_resort_until_it_is_needed_and_nothing_after() {
    scenario("last-resort", |fleet| {
        wait_states(fleet, "isp-a", UP, PathView::is_up)?;
        let flow = Flow::start(fleet, "left-host", "right-host", 7001, false)?;
        flow.wait_flowing(SOON)?;
        std::thread::sleep(Duration::from_secs(15));
        assert_eq!(sent(fleet, "isp-b")?, 0, "{:?}", over(fleet, "left-1", "isp-b")?);

        let dark = clock::mono_ns();
        blackhole(fleet, true)?;
        let silence_ms = flow.silence_after(dark, SOON)?;
        assert!(silence_ms.is_some(), "the stream did not heal");
        let used = fleet.agent("left-1")?.path_in_use("right-1", "default")?;
        assert_eq!(used.local_uplink, "isp-b");

        fleet.lab().reset("left-isp-a")?;
        wait_states(fleet, "isp-a", SOON, PathView::is_up)?;
        wait_states(fleet, "isp-b", GIVEN_UP, |path| path.state == "connecting")?;
        flow.wait_flowing(SOON)?;
        let before = sent(fleet, "isp-b")?;
        std::thread::sleep(Duration::from_secs(10));
        assert_eq!(sent(fleet, "isp-b")?, before);
        Ok(())
    });
}

#[test]
fn a_standby_rests_at_next_to_nothing_and_is_taken_when_it_is_needed() {
    scenario("standby", |fleet| {
        wait_states(fleet, "isp-a", UP, PathView::is_up)?;
        wait_states(fleet, "isp-b", UP, PathView::is_up)?;
        let flow = Flow::start(fleet, "left-host", "right-host", 7001, false)?;
        flow.wait_flowing(SOON)?;
        // New paths are probed as idle ones for ten seconds.
        std::thread::sleep(Duration::from_secs(15));
        let before = sent(fleet, "isp-b")?;
        std::thread::sleep(Duration::from_secs(30));
        let rested = sent(fleet, "isp-b")? - before;
        // A bare probe and its reply are 184 octets inside the path; at their profile's idle pace, four paths of two ends would
        // send over 60,000.
        assert!(rested < 20 * 184, "{rested}");
        wait_states(fleet, "isp-b", SOON, PathView::is_up)?;

        let dark = clock::mono_ns();
        blackhole(fleet, true)?;
        let silence_ms = flow.silence_after(dark, SOON)?;
        assert!(silence_ms.is_some(), "the stream did not heal");
        let used = fleet.agent("left-1")?.path_in_use("right-1", "default")?;
        assert_eq!(used.local_uplink, "isp-b");
        Ok(())
    });
}
