//! Labs as they are used. Needs root: without it every test fails and says so.

use hawser_e2e::clock::mono_ns;
use hawser_e2e::lab::{Lab, LabError, Output, Sink, Status, Task, Topology};
use hawser_e2e::stream::{Receiver, Sender, StreamSpec};
use hawser_e2e::wan::{Dir, Impairment};
use hawser_e2e::watch::{Watch, WatchOptions};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn up(name: &str) -> Lab {
    Lab::up(&Topology::bundled(name).unwrap()).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Pings until the neighbours know each other's addresses, so that what follows has ordinary delays.
fn ping(lab: &Lab, node: &str, args: &[&str]) -> Output {
    let warm = [&["ping", "-n", "-c1", "-W2"], args].concat();
    lab.exec(node, &warm).unwrap();
    let argv = [&["ping", "-n", "-c5", "-i0.1", "-W2"], args].concat();
    lab.exec(node, &argv).unwrap()
}

/// The smallest round trip: what the links add, whatever this machine adds.
fn least_rtt_ms(output: &Output) -> f64 {
    let text = output.stdout_text();
    let figures = text.split("mdev = ").nth(1).unwrap_or_else(|| panic!("no answer: {text}"));
    figures.split('/').next().unwrap().parse().unwrap()
}

fn assert_near(measured_ms: f64, expected_ms: f64) {
    let over_ms = measured_ms - expected_ms;
    assert!((0.0..5.0).contains(&over_ms), "{measured_ms} ms, expected {expected_ms}");
}

#[test]
fn round_trips_of_the_demo_are_those_of_its_description() {
    let lab = up("demo");
    for (node, args, expected_ms) in [
        ("hq-host", &["10.1.0.1"][..], 0.0),
        ("hq", &["192.0.2.18"], 0.0),
        ("b1", &["198.51.100.2"], 20.0),
        ("b2", &["-6", "2001:db8:a:1::2"], 20.0),
        ("b2", &["-I", "isp-b", "203.0.113.1"], 35.0),
        ("b1", &["-I", "isp-b", "203.0.113.1"], 35.0),
        // Crosswise: out by one provider, in by the other.
        ("b2", &["-I", "isp-b", "192.0.2.18"], 35.0),
    ] {
        let output = ping(&lab, node, args);
        assert!(output.status.success(), "{node} {args:?}: {}", output.stdout_text());
        assert_near(least_rtt_ms(&output), expected_ms);
    }
}

#[test]
fn an_uplink_of_mtu_1492_carries_1492_and_no_more() {
    let lab = up("demo");
    for (uplink, target, payload, fits) in [
        ("isp-b", "203.0.113.33", "1464", true),
        ("isp-b", "203.0.113.33", "1465", false),
        ("isp-a", "198.51.100.33", "1472", true),
    ] {
        let output = ping(&lab, "b2", &["-M", "do", "-s", payload, "-I", uplink, target]);
        assert_eq!(output.status.success(), fits, "{uplink} {payload}: {}", output.stdout_text());
    }
}

#[test]
fn a_blackhole_swallows_everything_until_it_heals() {
    let lab = up("demo");
    let target = &["198.51.100.17"];
    assert!(ping(&lab, "b1", target).status.success());
    lab.impair("b1-isp-a", &Impairment::blackhole(true)).unwrap();
    assert!(!ping(&lab, "b1", target).status.success());
    let status = lab.status().unwrap();
    assert!(status.links["b1-isp-a"][0].counters.drops.blackhole > 0);
    assert_eq!(status.links["b1-isp-b"][0].counters.drops.total(), 0);
    lab.reset("b1-isp-a").unwrap();
    let output = ping(&lab, "b1", target);
    assert_near(least_rtt_ms(&output), 20.0);
}

#[test]
fn faults_of_one_direction_leave_the_other_alone() {
    let lab = up("demo");
    let delay = Impairment::delay(40.0).toward(Dir::BToA);
    lab.impair("b1-isp-a", &delay).unwrap();
    assert_near(least_rtt_ms(&ping(&lab, "b1", &["198.51.100.17"])), 50.0);
    lab.impair("b1-isp-a", &Impairment::blackhole(true).toward(Dir::AToB)).unwrap();
    ping(&lab, "b1", &["198.51.100.17"]);
    let [forth, back] = lab.status().unwrap().links["b1-isp-a"].clone();
    assert!(forth.counters.drops.blackhole > 0);
    assert_eq!(back.counters.drops.blackhole, 0);
}

#[test]
fn a_carrier_that_is_taken_away_is_seen_by_the_node() {
    let lab = up("demo");
    let carrier = |node: &str, interface: &str| {
        let path = format!("/sys/class/net/{interface}/carrier");
        lab.exec(node, &["cat", &path]).unwrap().stdout_text().trim().to_owned()
    };
    assert_eq!(carrier("b1", "isp-a"), "1");
    let cut = Impairment { carrier_down: Some(true), dir: Dir::AToB, ..Impairment::default() };
    lab.impair("b1-isp-a", &cut).unwrap();
    assert_eq!((carrier("b1", "isp-a"), carrier("isp-a", "b1")), ("0".into(), "1".into()));
    lab.reset("b1-isp-a").unwrap();
    assert_eq!(carrier("b1", "isp-a"), "1");
    assert!(ping(&lab, "b1", &["198.51.100.17"]).status.success());
}

#[test]
fn a_nat_hides_the_branch_and_changes_its_ports() {
    let lab = up("demo");
    let at = "203.0.113.2:4510".parse().unwrap();
    let receiver = Receiver::start(&lab, "hq", at, "nat-probe").unwrap();
    let watch = |node: &str, interface: &str, name: &str| {
        let pcap = std::env::temp_dir().join(format!("{}-{name}.pcap", lab.name()));
        let options = WatchOptions { markers: vec!["nat-probe".into()], pcap: Some(pcap.clone()) };
        (Watch::start(&lab, node, interface, &options).unwrap(), pcap)
    };
    let (inside, inside_pcap) = watch("b1", "isp-b", "inside");
    let (outside, outside_pcap) = watch("b1-nat", "wan0", "outside");
    let from = Some("192.168.1.2".parse().unwrap());
    // The main table's first default route is isp-a's.
    lab.exec("b1", &["ip", "route", "add", "203.0.113.2", "via", "192.168.1.1"]).unwrap();
    let spec = StreamSpec { from, count: Some(20), ..StreamSpec::new(at, "nat-probe") };
    let sender = Sender::start(&lab, "b1", &spec).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(sender.stop().unwrap().sent, 20);
    assert_eq!(receiver.stop().unwrap().arrivals, 20);
    assert_eq!(
        (inside.stop().unwrap().marked, outside.stop().unwrap().marked),
        (vec![20], vec![20])
    );
    let source = |pcap: &std::path::Path| {
        let bytes = fs::read(pcap).unwrap();
        fs::remove_file(pcap).unwrap();
        // The first frame with the marker: source address and port of its IPv4 and UDP headers.
        let marker = bytes.windows(9).position(|window| window == b"nat-probe").unwrap();
        let (ip, udp) = (marker - 28, marker - 8);
        (bytes[ip + 12..ip + 16].to_vec(), bytes[udp..udp + 2].to_vec())
    };
    let (inside, outside) = (source(&inside_pcap), source(&outside_pcap));
    assert_eq!(inside.0, [192, 168, 1, 2]);
    assert_eq!(outside.0, [203, 0, 113, 18]);
    assert_ne!(inside.1, outside.1);
    // Nobody reaches the branch from outside.
    assert!(!ping(&lab, "isp-b", &["192.168.1.2"]).status.success());
}

#[test]
fn lan_packets_in_clear_get_as_far_as_the_uplink_and_no_further() {
    let lab = up("demo");
    let options = WatchOptions { markers: vec!["in-clear".into()], pcap: None };
    let watch =
        |node: &str, interface: &str| Watch::start(&lab, node, interface, &options).unwrap();
    let (lan, wan, core) = (watch("hq", "lan0"), watch("hq", "isp-a"), watch("core", "isp-a"));
    let spec = StreamSpec {
        count: Some(50),
        packets_per_s: 1_000,
        ..StreamSpec::new("10.2.0.10:9000".parse().unwrap(), "in-clear")
    };
    let sender = Sender::start(&lab, "hq-host", &spec).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    sender.stop().unwrap();
    let marked = |watch: Watch| watch.stop().unwrap().marked[0];
    assert_eq!(marked(lan), 50);
    // The provider's ICMP errors carry the start of what they complain about.
    assert!(marked(wan) >= 50);
    assert_eq!(marked(core), 0);
}

#[test]
fn a_stream_sees_the_gap_that_a_blackhole_makes() {
    let lab = up("dual");
    let at = "198.51.100.18:9000".parse().unwrap();
    let receiver = Receiver::start(&lab, "right", at, "gap").unwrap();
    let sender = Sender::start(&lab, "left", &StreamSpec::new(at, "gap")).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let from_ns = mono_ns();
    lab.impair("right-isp-a", &Impairment::blackhole(true)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    lab.reset("right-isp-a").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let window = receiver.window(from_ns, mono_ns()).unwrap();
    let sent = sender.stop().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let loss = receiver.loss(0, sent.sent).unwrap();
    let totals = receiver.stop().unwrap();
    let silence_ms = window.silence_ns as f64 / 1e6;
    assert!((290.0..450.0).contains(&silence_ms) && !window.silence_open, "{window:?}");
    // 5 ms a packet: as many are lost as the silence is long.
    assert!((loss.lost as f64 * 5.0 - silence_ms).abs() < 50.0, "{loss:?} {window:?}");
    assert_eq!(loss.longest_run, loss.lost);
    assert_eq!(totals.unique + loss.lost, sent.sent);
    let delay_us = window.delay_p50_us.unwrap();
    assert!((10_000..13_000).contains(&delay_us), "{window:?}");
}

#[test]
fn a_trace_plays_on_a_link() {
    let lab = up("dual");
    let trace = std::env::temp_dir().join(format!("{}.csv", lab.name()));
    fs::write(&trace, "t_ms,one,two\n0,80,20\n200,80,20\n").unwrap();
    let change = Impairment {
        trace: Some(trace.clone()),
        trace_column: Some("two".into()),
        ..Impairment::default()
    };
    assert_near(least_rtt_ms(&ping(&lab, "left", &["198.51.100.1"])), 0.0);
    lab.impair("left-isp-a", &change).unwrap();
    assert_near(least_rtt_ms(&ping(&lab, "left", &["198.51.100.1"])), 20.0);
    fs::remove_file(trace).unwrap();
    let missing = Impairment { trace: Some("/nonexistent.csv".into()), ..Impairment::default() };
    assert!(matches!(lab.impair("left-isp-a", &missing), Err(LabError::Refused { .. })));
    assert_near(least_rtt_ms(&ping(&lab, "left", &["198.51.100.1"])), 20.0);
}

#[test]
fn two_labs_run_side_by_side() {
    let (first, second) = (up("demo"), up("demo"));
    assert_ne!(first.pid(), second.pid());
    first.impair("b1-isp-a", &Impairment::blackhole(true)).unwrap();
    assert!(!ping(&first, "b1", &["198.51.100.17"]).status.success());
    assert!(ping(&second, "b1", &["198.51.100.17"]).status.success());
    first.down().unwrap();
    assert!(ping(&second, "b1", &["198.51.100.17"]).status.success());
}

#[test]
fn a_name_is_taken_once_and_free_again_after() {
    let name = format!("twice-{}", std::process::id());
    let topology = Topology::bundled("pair").unwrap();
    let lab = Lab::up_named(&topology, &name).unwrap();
    assert!(matches!(Lab::up_named(&topology, &name), Err(LabError::NameTaken { .. })));
    assert_eq!(Lab::attach(&name).unwrap().pid(), lab.pid());
    lab.down().unwrap();
    assert!(matches!(Lab::attach(&name), Err(LabError::NotRunning { .. })));
    Lab::up_named(&topology, &name).unwrap();
}

#[test]
fn requests_for_what_is_not_there_are_refused_by_code() {
    let lab = up("pair");
    let code = |result: Result<(), LabError>| result.unwrap_err().code();
    assert_eq!(code(lab.exec("nobody", &["true"]).map(drop)), "no_such_node");
    assert_eq!(code(lab.exec("left", &["/no/such/program"]).map(drop)), "cannot_start");
    assert_eq!(code(lab.exec("left", &[""]).map(drop)), "cannot_start");
    assert_eq!(code(lab.impair("nothing", &Impairment::loss(1.0))), "no_such_link");
    // A cable has no faults to change.
    assert_eq!(code(lab.impair("uplink", &Impairment::loss(1.0))), "no_such_link");
    assert_eq!(
        code(lab.exec_within("left", &["sleep", "9"], Duration::from_millis(50)).map(drop)),
        "timeout"
    );
    assert!(lab.exec("left", &["true"]).unwrap().status.success());
}

#[test]
fn programs_are_signalled_waited_for_and_logged() {
    let lab = up("pair");
    let log = std::env::temp_dir().join(format!("{}.log", lab.name()));
    let task = Task::new("sh").args(["-c", "echo $WORD; echo aside >&2; exec sleep 60"]);
    let process = lab.spawn("left", &task.env("WORD", "hello").log(&log)).unwrap();
    assert_eq!(process.try_wait(), None);
    let comm = || fs::read_to_string(format!("/proc/{}/comm", process.pid())).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(5);
    while comm() != "sleep\n" {
        assert!(Instant::now() < deadline, "{:?}", comm());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(lab.status().unwrap().nodes["left"].processes.len(), 1);
    process.terminate();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&process.wait()), Some(15));
    assert_eq!(fs::read_to_string(&log).unwrap(), "hello\naside\n");
    fs::remove_file(log).unwrap();

    // What is dropped dies, with its children; what is kept stays as long as the lab.
    let loop_ = Task::new("sh").args(["-c", "sleep 60 & sleep 60"]);
    let dropped = lab.spawn("left", &loop_).unwrap().pid();
    let kept = lab.spawn_kept("left", &loop_).unwrap().pid();
    let deadline = Instant::now() + Duration::from_secs(5);
    while is_running(dropped) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!is_running(dropped) && is_running(kept));
    lab.down().unwrap();
    assert!(!is_running(kept));
}

#[test]
fn an_instrument_reports_when_it_is_told_to_stop_by_hand() {
    let lab = up("pair");
    let tool = Task::new(env!("CARGO_BIN_EXE_hawser-lab")).arg("tool");
    for args in [
        &["watch", "--interface", "wan0"][..],
        &["recv", "--bind", "192.0.2.1:9000"],
        &["send", "--to", "192.0.2.2:9000"],
    ] {
        let task = tool.clone().args(args).arg("--unattended").stdout(Sink::Pipe);
        let process = lab.spawn("left", &task).unwrap();
        assert_eq!(process.wait_within(Duration::from_millis(300)), None, "{args:?}");
        process.terminate();
        let output = process.output(Duration::from_secs(5)).unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert_eq!(output.stdout_text().lines().count(), 2, "{args:?}");
    }
}

#[test]
fn outputs_larger_than_a_pipe_arrive_whole() {
    let lab = up("pair");
    let output = lab.exec("left", &["head", "-c", "3000000", "/dev/zero"]).unwrap();
    assert_eq!(output.stdout.len(), 3_000_000);
    let mut cat =
        lab.spawn("left", &Task::new("cat").stdin(Sink::Pipe).stdout(Sink::Pipe)).unwrap();
    std::io::Write::write_all(&mut cat.take_stdin().unwrap(), b"echo").unwrap();
    assert_eq!(cat.output(Duration::from_secs(5)).unwrap().stdout, b"echo");
}

#[test]
fn ip_netns_works_inside() {
    let lab = up("pair");
    let output = lab.exec("left", &["ip", "netns", "exec", "right", "ip", "-br", "addr"]).unwrap();
    assert!(output.stdout_text().contains("192.0.2.2/24"), "{}", output.stderr_text());
}

/// Network namespaces of a lab, and the processes that are in one of them or in its PID namespace.
fn remains(status: &Status, pid_namespace: &str) -> Vec<String> {
    let mut spaces: BTreeSet<String> =
        status.nodes.values().map(|node| format!("net:[{}]", node.netns)).collect();
    spaces.insert(pid_namespace.to_owned());
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .map(|entry| entry.path())
        .filter(|path| {
            ["net", "pid"].iter().any(|kind| {
                let space = fs::read_link(path.join("ns").join(kind));
                space.is_ok_and(|space| spaces.contains(&*space.to_string_lossy()))
            })
        })
        .map(|path| path.display().to_string())
        .collect()
}

fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

/// A lab with a program in it is ended by `end`; then nothing of it may be left.
fn nothing_is_left_after(end: impl FnOnce(Lab)) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let devices: Vec<_> =
        fs::read_dir("/sys/class/net").unwrap().flatten().map(|e| e.path()).collect();
    let lab = up("demo");
    let status = lab.status().unwrap();
    let space = fs::read_link(format!("/proc/{}/ns/pid", lab.pid())).unwrap();
    let space = space.to_string_lossy().into_owned();
    let folder = lab.folder().to_owned();
    let _kept = lab.spawn_kept("hq", &Task::new("sleep").arg("600")).unwrap();
    assert!(remains(&status, &space).len() >= 2);
    end(lab);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !remains(&status, &space).is_empty() || folder.exists() {
        assert!(Instant::now() < deadline, "left: {:?}", remains(&status, &space));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
    let after: Vec<_> =
        fs::read_dir("/sys/class/net").unwrap().flatten().map(|e| e.path()).collect();
    assert_eq!(after, devices);
}

#[test]
fn nothing_is_left_of_a_lab_that_is_dropped() {
    nothing_is_left_after(drop);
}

#[test]
fn nothing_is_left_of_a_lab_whose_supervisor_is_killed() {
    nothing_is_left_after(|lab| {
        let kill = Command::new("kill").args(["-9", &lab.pid().to_string()]).status();
        assert!(kill.unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(10);
        while lab.status().is_ok() {
            assert!(Instant::now() < deadline);
        }
    });
}

#[test]
fn a_lab_dies_with_the_program_that_holds_it_unless_detached() {
    let name = format!("held-{}", std::process::id());
    let hawser_lab = || Command::new(env!("CARGO_BIN_EXE_hawser-lab"));
    let mut holder = hawser_lab();
    holder.args(["up", "pair", "--name", &name]).stdout(Stdio::null());
    let mut holder = holder.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let lab = loop {
        match Lab::attach(&name) {
            Ok(lab) => break lab,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    holder.kill().unwrap();
    holder.wait().unwrap();
    while is_running(lab.pid()) {
        assert!(Instant::now() < deadline, "still there");
        std::thread::sleep(Duration::from_millis(10));
    }

    let name = format!("free-{}", std::process::id());
    let run = |args: &[&str]| hawser_lab().args(args).args(["--name", &name]).output().unwrap();
    let output = run(&["up", "pair", "--detach", "--json"]);
    let status: Status = serde_json::from_slice(&output.stdout).unwrap();
    assert!(is_running(status.pid));
    // By hand: exec, status, down, and their codes.
    let exec =
        |args: &[&str]| hawser_lab().args(["exec", "--name", &name]).args(args).output().unwrap();
    let output = exec(&["left", "--", "sh", "-c", "echo out; exit 7"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(7), &b"out\n"[..]));
    assert_eq!(exec(&["nobody", "--", "true"]).status.code(), Some(4));
    assert_eq!(exec(&["--timeout", "1", "left", "--", "sleep", "9"]).status.code(), Some(124));
    assert_eq!(run(&["status", "--json"]).status.code(), Some(0));
    assert_eq!(run(&["impair", "uplink", "loss_pct=1000"]).status.code(), Some(4));
    assert_eq!(run(&["down"]).status.code(), Some(0));
    assert!(!is_running(status.pid));
    assert_eq!(run(&["down"]).status.code(), Some(4));
}

#[test]
fn a_lab_can_be_kept_with_its_programs() {
    let name = format!("kept-{}", std::process::id());
    let lab = Lab::up_named(&Topology::bundled("pair").unwrap(), &name).unwrap();
    let kept = lab.spawn("left", &Task::new("sleep").arg("600")).unwrap();
    let pid = kept.pid();
    kept.keep();
    lab.keep().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let lab = Lab::attach(&name).unwrap();
    assert!(is_running(pid) && is_running(lab.pid()));
    lab.down().unwrap();
    assert!(!is_running(pid));
}

#[test]
fn who_is_not_root_is_told_so() {
    // As nobody, who may not be able to read the build's folder.
    let folder = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir();
    let folder = folder.unwrap();
    let binary = folder.path().join("hawser-lab");
    fs::copy(env!("CARGO_BIN_EXE_hawser-lab"), &binary).unwrap();
    let output =
        Command::new(binary).args(["up", "pair"]).uid(65_534).gid(65_534).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs root"), "{output:?}");
}

#[test]
fn an_emulated_link_carries_200_mbit_per_s_on_time() {
    let lab = up("dual");
    let at = "198.51.100.18:9000".parse().unwrap();
    assert!(ping(&lab, "left", &["198.51.100.18"]).status.success());
    let receiver = Receiver::start(&lab, "right", at, "bulk").unwrap();
    // 20,000 packets/s of 1,250 octets; 5 ms more on the first link give its timer something to do.
    lab.impair("left-isp-a", &Impairment::delay(5.0)).unwrap();
    let spec = StreamSpec {
        packets_per_s: 20_000,
        payload_bytes: 1_250,
        count: Some(10_000),
        ..StreamSpec::new(at, "bulk")
    };
    let sender = Sender::start(&lab, "left", &spec).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while sender.report().unwrap().sent < 10_000 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    let totals = receiver.stop().unwrap();
    assert!(totals.unique + totals.kernel_drops >= 9_900, "{totals:?}");
    let lane = lab.status().unwrap().links["left-isp-a"][0].clone();
    assert_eq!(lane.counters.drops.total(), 0, "{lane:?}");
    // Other work on this machine may make single frames late, not many.
    assert!(lane.counters.late_over_300_us * 10 < lane.counters.frames_in, "{lane:?}");
}

#[test]
fn the_state_folder_is_private() {
    let lab = up("pair");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(lab.folder()), 0o700);
    assert_eq!(mode(&lab.folder().join("control.sock")), 0o600);
}
