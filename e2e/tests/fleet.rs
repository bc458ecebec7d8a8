//! Real controllers and agents in a lab: what must hold when things break, and when somebody is hostile. Needs root.
//!
//! Nothing here is about speed: the limits are generous, the figures are the demo's.

use std::time::Duration;

use hawser_e2e::clock;
use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow, Guards};
use hawser_e2e::wan::Impairment;

const UP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);

type Outcome = Result<(), FleetError>;

fn fleet(name: &str) -> Fleet {
    let mut spec = FleetSpec::demo().expect("the bundled fleet");
    spec.lab_name = Some(format!("test-{name}-{}", std::process::id()));
    let fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    fleet.wait_all_up(UP).unwrap_or_else(|error| panic!("{error}\n{}", fleet.log_tails()));
    fleet
}

/// Runs a scenario; a failure brings the logs' ends along.
fn scenario(name: &str, body: impl FnOnce(&mut Fleet) -> Outcome) {
    let mut fleet = fleet(name);
    if let Err(error) = body(&mut fleet) {
        panic!("{error}\n{}", fleet.log_tails());
    }
}

fn until(what: &str, look: impl FnMut() -> Result<Look<()>, FleetError>) -> Outcome {
    wait::until(what, SOON, look)
}

fn done_if(yes: bool, last: impl FnOnce() -> String) -> Look<()> {
    if yes { Look::Done(()) } else { Look::Not(last()) }
}

#[test]
fn traffic_goes_everywhere_heals_and_is_never_in_clear() {
    scenario("traffic", |fleet| {
        for (from, to) in [("b1-host", "hq-host"), ("hq-host", "b2-host"), ("b1-host", "b2-host")] {
            for ipv6 in [false, true] {
                assert!(fleet.ping(from, to, ipv6, 5)? >= 4, "{from} to {to}, IPv6 {ipv6}");
            }
        }
        // The narrowest path of a tunnel sets its MTU: GRE in ESP in UDP over 1492 leaves 1422.
        let mtu = |edge: &str| -> Result<u32, FleetError> {
            Ok(fleet.agent(edge)?.paths()?.iter().map(|p| p.inner_mtu_bytes).min().unwrap_or(0))
        };
        assert_eq!((mtu("b1-1")?, mtu("b2-1")?), (1430, 1422));
        whole_packets_pass(fleet)?;

        let guards = Guards::start(fleet, "b1-host")?;
        let flow = Flow::start(fleet, "b1-host", "hq-host", 7001, false)?;
        flow.wait_flowing(SOON)?;
        let used = fleet.agent("b1-1")?.path_in_use("hq-1", "default")?;
        let link = fleet.branch_link("b1-1", &used)?;
        let dark = clock::mono_ns();
        fleet.lab().impair(&link, &Impairment::blackhole(true))?;
        let silence_ms = flow.silence_after(dark, Duration::from_secs(10))?;
        assert!(silence_ms.is_some(), "the stream did not heal");
        fleet.lab().reset(&link)?;
        fleet.wait_edge_up("b1-1", SOON)?;

        fleet.kill_agent("b1-1")?;
        std::thread::sleep(Duration::from_secs(2));
        fleet.start_agent("b1-1")?;
        fleet.wait_edge_up("b1-1", SOON)?;
        flow.wait_flowing(SOON)?;
        let clear = guards.look()?;
        assert_eq!(clear.on_wan, 0, "in clear on {:?}", clear.leaking);
        assert!(clear.on_lan > 200, "the search itself works: {clear:?}");
        Ok(())
    });
}

/// Full-sized TCP segments through the narrow path, whatever the hosts' own MTU.
fn whole_packets_pass(fleet: &Fleet) -> Outcome {
    let server = "import socket;s=socket.create_server(('10.1.0.10',7100));c,_=s.accept();\
                  n=0\nwhile (b:=c.recv(65536)): n+=len(b)\nprint(n)";
    let client = "import socket;c=socket.create_connection(('10.1.0.10',7100),10);\
                  c.sendall(bytes(3_000_000));c.close()";
    let task = hawser_e2e::lab::Task::new("python3")
        .args(["-c", server])
        .stdout(hawser_e2e::lab::Sink::Pipe);
    let server = fleet.lab().spawn("hq-host", &task)?;
    std::thread::sleep(Duration::from_secs(1));
    fleet.lab().exec("b2-host", &["python3", "-c", client])?;
    let received = server.output(SOON)?.stdout_text();
    assert_eq!(received.trim(), "3000000");
    Ok(())
}

#[test]
fn without_its_controller_a_fleet_moves_rekeys_and_restarts() {
    scenario("headless", |fleet| {
        let short = fleet.spec().document.replace("rekey_after_s: 3600", "rekey_after_s: 5");
        let applied = fleet.apply(&short, "short rekeys")?;
        assert_eq!(applied.revision, 2);
        // The acknowledged revision outlives a controller that dies right after it.
        fleet.kill_controller();
        fleet.restart_controller()?;
        fleet.wait_converged(SOON)?;
        assert_eq!(fleet.operator()?.status()?.revision, 2);

        fleet.kill_controller();
        let flow = Flow::start(fleet, "b1-host", "hq-host", 7002, false)?;
        flow.wait_flowing(SOON)?;
        let rekeys = |fleet: &Fleet| -> Result<u64, FleetError> {
            Ok(fleet.agent("b1-1")?.paths()?.iter().map(|p| p.rekeys).min().unwrap_or(0))
        };
        let before = rekeys(fleet)?;
        until("every path gets fresh keys twice", || {
            let now = rekeys(fleet)?;
            Ok(done_if(now >= before + 2, || format!("{before} before, {now} now")))
        })?;
        let used = fleet.agent("b1-1")?.path_in_use("hq-1", "default")?;
        let dark = clock::mono_ns();
        let link = fleet.branch_link("b1-1", &used)?;
        fleet.lab().impair(&link, &Impairment::blackhole(true))?;
        assert!(flow.silence_after(dark, Duration::from_secs(10))?.is_some(), "did not heal");
        fleet.lab().reset(&link)?;

        fleet.kill_agent("b1-1")?;
        fleet.start_agent("b1-1")?;
        fleet.wait_edge_up("b1-1", SOON)?;
        flow.wait_flowing(SOON)?;
        fleet.restart_controller()?;
        until("every edge is back at the controller", || {
            let status = fleet.operator()?.status()?;
            Ok(done_if(status.edges_connected == 3, || format!("{status:?}")))
        })
    });
}

#[test]
fn a_generation_that_can_not_be_applied_is_refused_and_the_confirmed_one_stays() {
    scenario("refusal", |fleet| {
        let before = fleet.agent("b2-1")?.status()?.generations;
        let (head, b2) = fleet.spec().document.split_once("  - name: b2").expect("b2 is last");
        let bad =
            format!("{head}  - name: b2{}", b2.replacen("interface: isp-b", "interface: dsl9", 1));
        fleet.apply(&bad, "an interface that is not there")?;
        until("b2-1 says what is wrong", || {
            let edges = fleet.operator()?.edges()?;
            let nack = edges.iter().find(|e| e.name == "b2-1").map(|e| e.last_nack.clone());
            let codes: Vec<String> = nack.unwrap_or_default().into_iter().map(|f| f.code).collect();
            Ok(done_if(codes.iter().any(|c| c == "INTERFACE_MISSING"), || format!("{codes:?}")))
        })?;
        let after = fleet.agent("b2-1")?.status()?.generations;
        assert_eq!(after.confirmed, before.confirmed);
        assert_eq!(after.applied, before.confirmed);
        assert_eq!(after.refused.len(), 1);
        assert!(fleet.ping("b2-host", "hq-host", false, 5)? >= 4, "traffic goes on");

        // Faulty documents are refused whole, before any edge hears of them.
        let faulty = fleet.spec().document.replace("10.3.0.0/24", "10.2.0.0/25");
        assert!(fleet.apply(&faulty, "overlapping LANs").is_err());
        assert_eq!(fleet.operator()?.status()?.revision, 2);
        wrong_tokens_are_refused(fleet)
    });
}

fn wrong_tokens_are_refused(fleet: &Fleet) -> Outcome {
    let token = fleet.operator()?.enrolment_token("b1-1")?;
    let agent = fleet.agent("b1-1")?;
    // Not from the state directory of the running agent: a token is consumed by the first key that comes.
    let elsewhere = |node: &str, folder: &str, token: &str| {
        let program = fleet.programs().edge.display().to_string();
        let state = fleet.folder().join(folder).display().to_string();
        let task = hawser_e2e::lab::Task::new(program)
            .args(["--state-dir", &state, "enrol", "--timeout", "10"])
            .env("HAWSER_ENROL_TOKEN", token)
            .stdout(hawser_e2e::lab::Sink::Pipe)
            .stderr(hawser_e2e::lab::Sink::Pipe);
        fleet.lab().spawn(node, &task)?.output(SOON)
    };
    let node = agent.place().node.clone();
    let refused = elsewhere(&node, "forged", "hawser1.AAAA")?;
    assert!(!refused.status.success(), "no token at all");
    let first = elsewhere(&node, "first", &token)?;
    assert!(first.status.success(), "{}", first.stderr_text());
    let second = elsewhere(&node, "second", &token)?;
    assert!(second.stderr_text().contains("TOKEN_USED"), "{}", second.stderr_text());
    Ok(())
}

#[test]
fn hostile_packets_on_the_fabric_port_are_counted_and_harm_nothing() {
    scenario("hostile", |fleet| {
        let hq = fleet.agent("hq-1")?;
        let counters = || -> Result<_, FleetError> { Ok(hq.status()?.counters) };
        let before = counters()?;
        throw_garbage(fleet)?;
        until("garbage is counted by reason", || {
            let now = counters()?;
            let rose = |name: &str| {
                now.get(name).copied().unwrap_or(0) > before.get(name).copied().unwrap_or(0)
            };
            let reasons = ["drop_short", "drop_bad_spi", "drop_unknown_spi", "drop_keepalive"];
            Ok(done_if(reasons.iter().all(|r| rose(r)), || format!("{now:?}")))
        })?;
        // Every datagram twice: the second copy of each is a replay.
        fleet
            .lab()
            .impair("b1-isp-a", &Impairment { duplicate_pct: Some(100.0), ..Default::default() })?;
        assert!(fleet.ping("b1-host", "hq-host", false, 5)? >= 4);
        until("replays are counted", || {
            let replayed = counters()?.get("drop_replayed").copied().unwrap_or(0);
            Ok(done_if(replayed > 10, || format!("{replayed}")))
        })?;
        fleet.lab().reset("b1-isp-a")?;
        fleet.wait_edge_up("b1-1", SOON)?;
        assert!(fleet.ping("b1-host", "hq-host", false, 5)? >= 4);
        let log = std::fs::read_to_string(hq.log()).unwrap_or_default();
        assert!(log.lines().count() < 2_000, "no log flood: {} lines", log.lines().count());
        Ok(())
    });
}

/// From the host of a provider, at the hub's fabric port: bounded, and to the lab's own address only.
fn throw_garbage(fleet: &Fleet) -> Outcome {
    let sender = "import os,socket\n\
        s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
        to=('198.51.100.2',4510)\n\
        for i in range(50):\n\
        \x20 s.sendto(os.urandom(1+i*20),to)\n\
        \x20 s.sendto(b'\\xff',to)\n\
        \x20 s.sendto(b'\\0\\0\\0\\7'+os.urandom(60),to)\n\
        \x20 s.sendto(b'\\0\\0\\0\\0'+os.urandom(60),to)\n\
        \x20 s.sendto(b'\\x40\\1\\2\\3'+os.urandom(200),to)\n\
        \x20 s.sendto(b'ab',to)\n";
    fleet.lab().exec("isp-a", &["python3", "-c", sender])?;
    Ok(())
}

#[test]
fn an_uplink_that_changes_its_address_keeps_its_paths() {
    scenario("lease", |fleet| {
        let flow = Flow::start(fleet, "b1-host", "hq-host", 7003, false)?;
        flow.wait_flowing(SOON)?;
        for line in [
            "ip addr del 198.51.100.18/28 dev isp-a",
            "ip addr add 198.51.100.19/28 dev isp-a",
            "ip route replace default via 198.51.100.17 dev isp-a metric 100",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let output = fleet.lab().exec("b1", &words)?;
            assert!(output.status.success(), "{line}: {}", output.stderr_text());
        }
        until("the hub follows to the new address", || {
            let paths = fleet.agent("hq-1")?.paths()?;
            let at = |address: &str| {
                paths.iter().filter(|p| p.remote_endpoint.starts_with(address)).count()
            };
            Ok(done_if(at("198.51.100.19:") == 2, || format!("{paths:?}")))
        })?;
        fleet.wait_edge_up("b1-1", SOON)?;
        flow.wait_flowing(SOON)
    });
}

#[test]
fn an_operator_learns_why_traffic_moved_and_why_it_stays_and_takes_the_probes_home() {
    scenario("why", |fleet| {
        let used = fleet.agent("b1-1")?.path_in_use("hq-1", "default")?;
        let link = fleet.branch_link("b1-1", &used)?;
        let dark = std::time::Instant::now();
        fleet.lab().impair(&link, &Impairment::blackhole(true))?;
        // The moment just before the fault: what was in force then, and what came right after it.
        let then = || format!("-{}s", dark.elapsed().as_secs() + 1);
        until("the moment of the fault is explained", || {
            let text = fleet.operator()?.text(&["why", "b1", "--peer", "hq", "--at", &then()])?;
            let parts = ["In force then", "later:", "because the path it was on went down"];
            Ok(done_if(parts.iter().all(|part| text.contains(part)), || text))
        })?;
        let text = fleet
            .operator()?
            .text(&["--json", "why", "b1", "--class", "default", "--at", "-1s"])?;
        let now: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(now["accounts"][0]["in_force"]["cause"], "PATH_DOWN", "{text}");

        fleet.lab().reset(&link)?;
        until("what nothing moved for is explained", || {
            let text = fleet.operator()?.text(&["why", "b1"])?;
            let held = text.contains("WHY NOTHING MOVES") && text.contains("is better but waits");
            Ok(done_if(held, || text))
        })?;
        let advice = fleet.operator()?.text(&["advice"])?;
        assert!(advice.starts_with("No trouble is seen across sites"), "{advice}");
        take_the_probes_home(fleet)
    });
}

/// The same from the controller and on the edge: both uplinks side by side, with the fault in it.
fn take_the_probes_home(fleet: &Fleet) -> Outcome {
    let (far, near) = (fleet.folder().join("far"), fleet.folder().join("near"));
    let far_text = far.display().to_string();
    // The agent writes every half minute, and a trace has at least ten seconds.
    wait::until("the history can be exported", Duration::from_secs(90), || {
        let args = ["record", "b1", "--since", "10m", "--tunnel", "hq", "--out", &far_text];
        let output = fleet.operator()?.run(&args)?;
        Ok(done_if(output.status.success(), || output.stderr_text()))
    })?;
    let agent = fleet.agent("b1-1")?;
    let output = std::process::Command::new(&fleet.programs().edge)
        .arg("--state-dir")
        .arg(agent.state_dir())
        .args(["record", "--since", "10m", "--tunnel", "hq-1", "--out"])
        .arg(&near)
        .output()
        .expect("hawser-edge runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for folder in [far, near] {
        let files: Vec<_> = std::fs::read_dir(&folder).expect("a folder").flatten().collect();
        let text: String = files
            .iter()
            .map(|file| std::fs::read_to_string(file.path()).expect("a trace"))
            .collect();
        assert!(text.starts_with("t_ms,isp-a,isp-b\n0,"), "{text}");
        let rows = |wanted: fn(&str) -> bool| text.lines().filter(|line| wanted(line)).count();
        assert!(rows(|line| line.contains(",,") && !line.ends_with(',')) > 5, "the fault: {text}");
        assert!(rows(|line| !line.contains(",,") && !line.ends_with(',')) > 50, "{text}");
    }
    Ok(())
}
