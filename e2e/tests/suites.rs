//! Suites beyond the default, with real controllers and agents in a lab. Needs root. Nothing here is about speed.

use std::time::Duration;

use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow};

const UP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);

type Outcome = Result<(), FleetError>;

/// Two sites whose tunnel is of this suite; a failure brings the logs' ends along.
fn scenario(suite: &str, body: impl FnOnce(&mut Fleet) -> Outcome) {
    let mut spec = FleetSpec::dual().expect("the bundled fleet");
    spec.document = with(&spec.document, suite);
    let mut fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    let outcome = fleet.wait_all_up(UP).map(drop).and_then(|()| body(&mut fleet));
    if let Err(error) = outcome {
        panic!("{}\n{}", error.line(), fleet.log_tails());
    }
}

fn with(document: &str, suite: &str) -> String {
    assert_eq!(document.matches("aes-128-gcm").count(), 1);
    document.replace("aes-128-gcm", suite)
}

/// The inner MTU tells suites apart: both ends have the one that is meant, and carry its longest packets.
fn carries(fleet: &Fleet, least_mtu_bytes: u32) -> Outcome {
    wait::until("both ends have the suite's MTU", SOON, || {
        let mut mtus = Vec::new();
        for edge in ["left-1", "right-1"] {
            mtus.extend(fleet.agent(edge)?.paths()?.iter().map(|path| path.inner_mtu_bytes));
        }
        let least = mtus.iter().copied().min();
        Ok(if least == Some(least_mtu_bytes) {
            Look::Done(())
        } else {
            Look::Not(format!("{mtus:?}"))
        })
    })?;
    fleet.wait_edges_up(SOON)?;
    for ipv6 in [false, true] {
        assert!(fleet.ping("left-host", "right-host", ipv6, 5)? >= 4, "IPv6 inside: {ipv6}");
    }
    let size = (least_mtu_bytes - 28).to_string();
    let ping =
        ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do", "-s", &size, "10.2.0.10"];
    let output = fleet.lab().exec("left-host", &ping)?;
    assert!(output.status.success(), "{}", output.stdout_text());
    Ok(())
}

fn wait_event(fleet: &Fleet, code: &str) -> Outcome {
    wait::until(&format!("the event {code} of both ends"), SOON, || {
        let events = fleet.operator()?.events(200)?;
        let edges = events.iter().filter(|e| e.code == code).map(|e| e.edge.clone());
        let edges: std::collections::BTreeSet<String> = edges.collect();
        Ok(if edges.len() == 2 { Look::Done(()) } else { Look::Not(format!("{edges:?}")) })
    })
}

#[test]
fn a_fleet_changes_from_cbc_to_sm4_under_traffic() {
    // IPv6 outside is the narrower: 1500 less headers, down to whole blocks, less trailer and GRE.
    scenario("aes-256-cbc-sha256-128", |fleet| {
        carries(fleet, 1_398)?;
        let flow = Flow::start(fleet, "left-host", "right-host", 7001, false)?;
        flow.wait_flowing(SOON)?;
        let sm4 = fleet.spec().document.replace("aes-256-cbc-sha256-128", "sm4-gcm");
        fleet.apply(&sm4, "another suite")?;
        carries(fleet, 1_410)?;
        flow.wait_flowing(SOON)
    });
}

#[test]
fn an_old_suite_runs_under_a_waiver_is_told_of_and_is_refused_without() {
    let waived = "3des-cbc-sha1-96, waiver: {until: 2999-12-31, reason: an old peer}";
    scenario(waived, |fleet| {
        carries(fleet, 1_414)?;
        wait_event(fleet, "SUITE_UNDER_WAIVER")?;
        // Keys of 3DES are replaced every few megabytes.
        let rekeys = |fleet: &Fleet| -> Result<u64, FleetError> {
            Ok(fleet.agent("left-1")?.paths()?.iter().map(|path| path.rekeys).max().unwrap_or(0))
        };
        let before = rekeys(fleet)?;
        let three_megabytes = "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
                               for _ in range(2400): s.sendto(bytes(1300),('10.2.0.10',7009)); time.sleep(0.001)";
        fleet.lab().exec("left-host", &["python3", "-c", three_megabytes])?;
        wait::until("fresh keys by octets", SOON, || {
            let now = rekeys(fleet)?;
            Ok(if now > before { Look::Done(()) } else { Look::Not(format!("{now}")) })
        })?;

        let document = fleet.spec().document.clone();
        for (old, new, code) in [
            (waived, "3des-cbc-sha1-96", "WAIVER_MISSING"),
            ("2999-12-31", "2026-01-31", "WAIVER_EXPIRED"),
        ] {
            let refused = fleet.apply(&document.replace(old, new), "refused");
            let said = refused.err().map(|error| error.line()).unwrap_or_default();
            assert!(said.contains(code), "{code}: {said}");
        }
        Ok(())
    });
}
