//! Canaries that have lost an uplink in use, or have one more.

use super::*;

/// The ends differ for at least so long.
const SOAK: &str = "10s";

fn without_isp_a_at_left(document: &str) -> String {
    let line = r#"          - {name: isp-a, transport: isp-a, addresses: [198.51.100.2, "2001:db8:a:1::2"]}"#;
    replaced(document, &format!("{line}\n"), "")
}

/// Whether an edge sends by this uplink, and how many paths it holds, those that depart included.
fn sends_by(fleet: &Fleet, edge: &str, peer: &str) -> Result<(String, usize), FleetError> {
    let agent = fleet.agent(edge)?;
    Ok((agent.path_in_use(peer, "default")?.local_uplink, agent.paths()?.len()))
}

/// Both ends send by isp-b, and hold nothing else.
fn narrowed(fleet: &Fleet) -> Outcome {
    until("both ends are on what is left", SOON, || {
        let ends = [sends_by(fleet, "left-1", "right-1")?, sends_by(fleet, "right-1", "left-1")?];
        let narrow = |(uplink, paths): &(String, usize)| uplink == "isp-b" && *paths == 2;
        Ok((ends.iter().all(narrow), format!("{ends:?}")))
    })
}

fn loses_the_uplink_in_use(fleet: &Fleet, canary: &str, other: &str) -> Outcome {
    let document = fleet.spec().document.clone();
    let traffic = Traffic::start(fleet, 7411)?;
    // Whichever came up first, isp-a is preferred.
    until("both ends are on what will go", SOON, || {
        let ends = [sends_by(fleet, "left-1", "right-1")?, sends_by(fleet, "right-1", "left-1")?];
        let wide = |(uplink, paths): &(String, usize)| uplink == "isp-a" && *paths == 4;
        Ok((ends.iter().all(wide), format!("{ends:?}")))
    })?;
    let (before, others) = (applied(fleet, canary)?, applied(fleet, other)?);
    apply_staged(fleet, &without_isp_a_at_left(&document), canary, SOAK)?;
    applies(fleet, canary, &before)?;
    // Whichever end has it first, both leave what is about to go.
    until("both ends have moved", SOON, || {
        let by = [sends_by(fleet, canary, other)?.0, sends_by(fleet, other, canary)?.0];
        Ok((by.iter().all(|uplink| uplink == "isp-b"), format!("{by:?}")))
    })?;
    assert_eq!(applied(fleet, other)?, others, "they are a generation apart");
    let departing = fleet.agent(canary)?.paths()?;
    assert_eq!(departing.iter().filter(|path| path.state == "departing").count(), 2);
    traffic.assert_none_lost(&format!("{canary} is without"))?;
    applies(fleet, other, &others)?;
    rollout_ends(fleet)?;
    narrowed(fleet)?;
    traffic.assert_none_lost("it is gone")
}

#[test]
fn the_uplink_in_use_goes_at_its_own_end_first_and_nothing_is_lost() {
    scenario("gone-here", |_| {}, |fleet| loses_the_uplink_in_use(fleet, "left-1", "right-1"));
}

#[test]
fn the_uplink_in_use_goes_at_the_peer_first_and_nothing_is_lost() {
    scenario("gone-there", |_| {}, |fleet| loses_the_uplink_in_use(fleet, "right-1", "left-1"));
}

#[test]
fn an_uplink_that_is_added_or_comes_back_in_time_loses_nothing() {
    scenario(
        "back-again",
        |_| {},
        |fleet| {
            let document = fleet.spec().document.clone();
            let narrow = without_isp_a_at_left(&document);
            let traffic = Traffic::start(fleet, 7421)?;
            // It comes back while it departs: with the keys that it had.
            fleet.apply(&narrow, "without")?;
            until("it departs", SOON, || {
                let paths = fleet.agent("left-1")?.paths()?;
                let departing = paths.iter().filter(|path| path.state == "departing").count();
                Ok((departing == 2, format!("{departing}")))
            })?;
            fleet.apply(&document, "with")?;
            fleet.wait_all_up(SOON)?;
            let paths = fleet.agent("left-1")?.paths()?;
            assert_eq!(paths.iter().map(|path| path.rekeys).collect::<Vec<_>>(), [0; 4]);
            traffic.assert_none_lost("it came back")?;
            // It goes for good, and is added: the ends differ meanwhile.
            fleet.apply(&narrow, "without, again")?;
            narrowed(fleet)?;
            let before = applied(fleet, "right-1")?;
            apply_staged(fleet, &document, "right-1", "5s")?;
            applies(fleet, "right-1", &before)?;
            rollout_ends(fleet)?;
            fleet.wait_all_up(SOON)?;
            traffic.assert_none_lost("it was added")
        },
    );
}
