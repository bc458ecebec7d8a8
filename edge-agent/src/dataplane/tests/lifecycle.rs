//! Devices, sockets and tables that come and go.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::fixture::{CLASS, Edge, PATHS, PORT, Pair, TUNNEL, UPLINKS, settle, wan};
use crate::dataplane::{
    Choice, ClassMatch, ClassSpec, DataPlane, DropReason, Event, Family, PathSpec, UplinkSpec,
    UserspaceDataPlane,
};
use hawser_edge_core::id::{ClassId, PathId, UplinkId};

fn wait_for_event(edge: &mut Edge, what: &str, fit: impl Fn(&Event) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        match edge.receivers.events.try_recv() {
            Ok(event) if fit(&event) => return,
            Ok(_) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    panic!("no event: {what}");
}

#[test]
fn an_uplink_whose_interface_goes_away_comes_back_with_it() {
    let mut pair = Pair::new(Family::V4);
    pair.select(1);
    pair.ping(false, 2);
    pair.a.net.ip("link del wan1");
    wait_for_event(
        &mut pair.a,
        "failed",
        |event| matches!(event, Event::UplinkFailed { uplink, .. } if *uplink == UPLINKS[1]),
    );
    pair.select(0);
    pair.ping(false, 2);

    let addresses = |edge| format!("{}/24", wan(Family::V4, 1, edge));
    pair.a.net.connect("wan1", &[&addresses(1)], &pair.b.net, "wan1", &[&addresses(2)]);
    settle(&pair.a.net, wan(Family::V4, 1, 2));
    for edge in [&mut pair.a, &mut pair.b] {
        wait_for_event(edge, "ready", |event| {
            let wanted = (UPLINKS[1], Family::V4);
            matches!(event, Event::UplinkReady { uplink, family, port }
                if (*uplink, *family) == wanted && *port == PORT)
        });
    }
    pair.select(1);
    pair.ping(false, 2);
}

#[test]
fn an_uplink_that_is_not_there_yet_is_told_and_tried_again() {
    let mut pair = Pair::new(Family::V4);
    let missing =
        UplinkSpec { id: UplinkId(9), interface: "wan9".into(), port: PORT, v4: true, v6: false };
    pair.a.net.enter(|| pair.a.driver.add_uplink(missing)).expect("accepted");
    let ours = |uplink: &UplinkId| *uplink == UplinkId(9);
    wait_for_event(
        &mut pair.a,
        "failed",
        |event| matches!(event, Event::UplinkFailed { uplink, .. } if ours(uplink)),
    );
    pair.a.net.connect("wan9", &["192.0.9.1/24"], &pair.b.net, "wan9", &["192.0.9.2/24"]);
    wait_for_event(
        &mut pair.a,
        "ready",
        |event| matches!(event, Event::UplinkReady { uplink, .. } if ours(uplink)),
    );
}

#[test]
fn a_family_that_goes_or_comes_leaves_the_other_ones_socket_open() {
    let mut pair = Pair::new(Family::V4);
    let spec =
        |v6| UplinkSpec { id: UPLINKS[0], interface: "wan0".into(), port: PORT, v4: true, v6 };
    while pair.a.receivers.events.try_recv().is_ok() {}
    pair.a.net.enter(|| pair.a.driver.add_uplink(spec(false))).expect("accepted");
    pair.ping(false, 2);
    pair.a.net.enter(|| pair.a.driver.add_uplink(spec(true))).expect("accepted");
    let mut opened = Vec::new();
    while let Ok(event) = pair.a.receivers.events.try_recv() {
        if let Event::UplinkReady { family, .. } = event {
            opened.push(family);
        }
    }
    assert_eq!(opened, [Family::V6]);
    pair.ping(false, 2);
}

#[test]
fn an_address_changes_without_a_rebind() {
    let pair = Pair::new(Family::V4);
    pair.ping(false, 2);
    pair.a.net.ip("address del 192.0.0.1/24 dev wan0");
    pair.a.net.ip("address add 192.0.0.77/24 dev wan0");
    pair.b.driver.set_remote(PATHS[0], Some(SocketAddr::from(([192, 0, 0, 77], PORT))));
    pair.ping(false, 5);
}

#[test]
fn what_is_dropped_leaves_no_device_and_no_port_behind() {
    let pair = Pair::new(Family::V4);
    assert!(pair.a.net.run("ip link show hawser1").status.success());
    let Edge { net, driver, .. } = pair.a;
    drop(driver);
    // A process that another test forks holds copies of all descriptors until it has called exec.
    eventually("the device goes", || !net.run("ip link show hawser1").status.success());
    let (again, mut receivers) = UserspaceDataPlane::new();
    let spec =
        UplinkSpec { id: UPLINKS[0], interface: "wan0".into(), port: PORT, v4: true, v6: true };
    net.enter(|| again.add_uplink(spec)).expect("uplink");
    let mut ready = BTreeSet::new();
    eventually("both sockets open", || {
        while let Ok(event) = receivers.events.try_recv() {
            if let Event::UplinkReady { family, port: PORT, .. } = event {
                ready.insert(family);
            }
        }
        ready.len() == 2
    });
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(4);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_table_that_can_not_be_made_leaves_the_old_one() {
    let pair = Pair::new(Family::V4);
    let mut broken = pair.a.spec(Family::V4);
    let mut second = broken.segments[0].clone();
    second.id.0 = 2;
    second.tun_name = "wan0".into();
    broken.segments.push(second);
    broken.routes.clear();
    let error = pair.a.net.enter(|| pair.a.driver.apply(broken)).expect_err("wan0 is a veth");
    assert_eq!(error.code(), "device");
    pair.ping(false, 2);
}

#[test]
fn segments_come_change_and_go() {
    let pair = Pair::new(Family::V4);
    let shows = |name: &str, text: &str| {
        let output = pair.a.net.run(&format!("ip link show {name}"));
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains(text)
    };
    let mut spec = pair.a.spec(Family::V4);
    let mut second = spec.segments[0].clone();
    second.id.0 = 2;
    second.tun_name = "hawser2".into();
    spec.segments.push(second);
    spec.segments[0].mtu_bytes = 1400;
    pair.a.apply(spec.clone());
    assert!(shows("hawser1", "mtu 1400") && shows("hawser2", "mtu 1430"));
    pair.ping(false, 2);
    spec.segments.pop();
    pair.a.apply(spec);
    assert!(!shows("hawser2", ""));
    pair.ping(false, 2);
}

#[test]
fn a_device_that_someone_deleted_is_told_and_made_anew() {
    let mut pair = Pair::new(Family::V4);
    pair.a.net.ip("link del hawser1");
    wait_for_event(&mut pair.a, "failed", |event| matches!(event, Event::SegmentFailed { .. }));
    pair.a.apply(pair.a.spec(Family::V4));
    pair.a.net.ip("route add 10.2.0.0/16 dev hawser1 src 10.1.0.1");
    pair.ping(false, 2);
}

#[test]
fn a_full_socket_drops_and_does_not_stall_the_other_path() {
    let pair = Pair::new(Family::V4);
    let pings = ClassMatch { protocols: vec![1], ..ClassMatch::default() };
    let quick = ClassId(7);
    for edge in [&pair.a, &pair.b] {
        let mut spec = edge.spec(Family::V4);
        let class =
            ClassSpec { id: quick, segment: None, matches: vec![pings.clone()], wan_dscp: None };
        spec.classes.insert(0, class);
        edge.apply(spec);
        edge.driver.select(TUNNEL, quick, Choice::Path(PATHS[1]));
    }
    let tc = "tc qdisc add dev wan0 root tbf rate 1mbit burst 10kb limit 100mb";
    let output = pair.a.net.run(tc);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (from, _to) = pair.lan_sockets();
    let full = |pair: &Pair| pair.a.dropped(DropReason::SocketFull);
    let deadline = Instant::now() + Duration::from_secs(20);
    while full(&pair) == 0 {
        assert!(Instant::now() < deadline, "{:?}", pair.a.driver.counters());
        for _ in 0..100 {
            // The LAN's own queue may be full: that is not what is tested.
            let _ = from.send(&[0; 1400]);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = from.send(&[0; 1400]);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let before = full(&pair);
        let output = pair.a.net.run("ping -n -c 50 -i 0.01 -W 2 -I 10.1.0.1 10.2.0.1");
        stop.store(true, Ordering::Relaxed);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(" 0% packet loss"), "{said}");
        assert!(full(&pair) > before + 100, "the other path stayed full");
    });
}

#[test]
fn a_path_that_leaves_the_table_takes_its_sas_along() {
    let pair = Pair::new(Family::V4);
    let mut spec = pair.b.spec(Family::V4);
    spec.tunnels[0].paths.pop();
    pair.b.apply(spec.clone());
    let counters = pair.b.driver.counters();
    assert_eq!(counters.inbound_sas.len(), 1);
    assert_eq!(counters.paths.keys().copied().collect::<Vec<_>>(), [PATHS[0]]);
    let code = |path, to| pair.b.driver.send_on_path(path, to, &[0; 48]).map_err(|e| e.code());
    let somewhere = Some(SocketAddr::from(([192, 0, 0, 1], PORT)));
    assert_eq!(code(PATHS[1], None), Err("unknown_path"));
    assert_eq!(code(PATHS[0], None), Ok(()));
    pair.b.driver.set_remote(PATHS[0], None);
    assert_eq!(code(PATHS[0], None), Err("no_remote"));
    assert_eq!(code(PATHS[0], somewhere), Ok(()), "a challenge says where it goes");
    pair.b.driver.remove_uplink(UPLINKS[0]);
    assert_eq!(code(PATHS[0], somewhere), Err("uplink_down"));
    pair.b.driver.remove_outbound(PATHS[0]);
    assert_eq!(code(PATHS[0], somewhere), Err("no_outbound_sa"));
    let new = PathId(1234);
    spec.tunnels[0].paths.push(PathSpec { id: new, uplink: UPLINKS[1], family: Family::V4 });
    pair.b.apply(spec);
    assert_eq!(code(new, somewhere), Err("no_outbound_sa"));
}

#[test]
fn what_can_not_leave_is_counted_by_its_reason() {
    let pair = Pair::new(Family::V4);
    let ping = |to: &str, size: u32| pair.a.net.run(&format!("ping -c 1 -W 0.1 -s {size} {to}"));
    let counted = |reason, act: &dyn Fn()| {
        let before = pair.a.dropped(reason);
        act();
        pair.a.wait_for(reason.label(), |counters| counters.drops[&reason] > before);
    };
    let to_b = || drop(ping("10.2.0.1", 56));
    pair.a.net.ip("route add 10.99.0.0/16 dev hawser1 src 10.1.0.1");
    counted(DropReason::NoRoute, &|| drop(ping("10.99.0.1", 56)));
    pair.a.net.ip("link set hawser1 mtu 1500");
    counted(DropReason::TooBig, &|| drop(ping("10.2.0.1", 1472)));
    pair.a.driver.select(TUNNEL, CLASS, Choice::Nothing);
    counted(DropReason::NoPath, &to_b);
    pair.select(0);
    pair.a.driver.set_remote(PATHS[0], None);
    counted(DropReason::NoRemote, &to_b);
    pair.a.driver.set_remote(PATHS[0], Some(SocketAddr::from(([255; 4], PORT))));
    counted(DropReason::SendFailed, &to_b);
    pair.a.driver.remove_outbound(PATHS[0]);
    counted(DropReason::NoSa, &to_b);
    pair.rekey(PATHS[0], 3);
    pair.a.driver.remove_uplink(UPLINKS[0]);
    counted(DropReason::UplinkDown, &to_b);
}

#[test]
fn datagrams_of_the_peer_connection_arrive_one_by_one() {
    for family in [Family::V4, Family::V6] {
        let mut pair = Pair::new(family);
        let to = SocketAddr::from((wan(family, 0, 2), PORT));
        let burst: Vec<u8> = (0..70 * 1200 + 5).map(|place| (place / 1200) as u8 + 1).collect();
        pair.a.driver.send_datagram(UPLINKS[0], to, &burst, Some(1200)).expect("send");
        pair.a.driver.send_datagram(UPLINKS[0], to, b"alone", None).expect("send");
        for (index, wanted) in burst.chunks(1200).chain([&b"alone"[..]]).enumerate() {
            let deadline = Instant::now() + Duration::from_secs(1);
            let got = loop {
                match pair.b.receivers.datagrams.try_recv() {
                    Ok(got) => break got,
                    Err(_) => assert!(Instant::now() < deadline, "datagram {index}"),
                }
            };
            assert_eq!(&got.payload[..], wanted, "datagram {index}");
            assert_eq!(got.from, SocketAddr::from((wan(family, 0, 1), PORT)));
        }
    }
}

#[test]
fn secrets_do_not_show() {
    let pair = Pair::new(Family::V4);
    let shown = format!("{:?}", pair.a.driver);
    let key = super::fixture::key(PATHS[0], 1, 0);
    let octets = format!("{:?}", &key.octets()[..8]);
    assert!(!shown.contains(octets.trim_matches(['[', ']'])));
    assert_eq!(format!("{key:?}"), "KeyMaterial(..)");
}
