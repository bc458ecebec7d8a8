//! Against a real kernel, in a network namespace of the test's own.

use std::collections::BTreeMap;
use std::process::Command;

use hawser_edge_core::config::{EdgeState, Lan, Route, Uplink, UplinkUse};
use hawser_edge_core::id::{EdgeId, SegmentId, UplinkId};

use super::*;
use crate::dataplane::tests::net::Net;

pub(crate) fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().expect("a command")).args(words).output().expect(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `body` in a fresh network namespace on a thread that ends with it.
pub(crate) fn in_namespace(body: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("tests need root");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("runtime").block_on(body());
    });
    thread.join().expect("the body failed");
}

pub(crate) fn edge() -> EdgeState {
    let uplink = |id, interface: &str| Uplink {
        id: UplinkId(id),
        name: interface.to_owned(),
        interface: interface.to_owned(),
        transport: "internet".into(),
        provider: String::new(),
        cost: 0,
        metered: false,
        gateways: vec![],
        probe_budget_bytes_per_s: 0,
        bandwidth_up_kbps: 0,
        usage: UplinkUse::Normal,
        drained: false,
    };
    let route = |prefix: &str| Route {
        segment: SegmentId(1),
        prefix: prefix.parse().expect("prefix"),
        next_hops: vec![],
    };
    EdgeState {
        fleet: "acme".into(),
        site: "b1".into(),
        edge: "b1-1".into(),
        edge_id: EdgeId(2),
        controllers: vec![],
        fabric_port: 4510,
        drained: false,
        leaf: false,
        segments: BTreeMap::from([(SegmentId(1), "main".into())]),
        uplinks: BTreeMap::from([
            (UplinkId(1), uplink(1, "wan0")),
            (UplinkId(2), uplink(2, "wan1")),
        ]),
        lans: vec![Lan {
            interface: "lan0".into(),
            segment: SegmentId(1),
            prefixes: vec!["10.1.1.0/24".parse().expect("prefix")],
            vlan: 0,
        }],
        tunnels: BTreeMap::new(),
        routes: vec![route("10.0.0.0/8"), route("fd00::/16"), route("192.0.2.128/25")],
        sla_classes: BTreeMap::new(),
        traffic_classes: vec![],
        ike_tunnels: vec![],
        manual_tunnels: vec![],
    }
}

pub(crate) fn lay_links() {
    for (name, peer, address) in [
        ("wan0", "p0", "192.0.2.7/24"),
        ("wan1", "p1", "198.51.100.7/24"),
        ("lan0", "p2", "10.1.1.1/24"),
    ] {
        run(&format!("ip link add {name} type veth peer name {peer}"));
        run(&format!("ip addr add {address} dev {name}"));
        run(&format!("ip link set {name} up"));
        run(&format!("ip link set {peer} up"));
    }
    run("ip addr add 2001:db8::7/64 dev wan0 nodad");
    run("ip route add default via 192.0.2.1 dev wan0 metric 100");
    run("ip route add default via 198.51.100.1 dev wan1 metric 200");
    run("ip -6 route add default via 2001:db8::1 dev wan0");
    run("ip link set lo up");
}

async fn settle(host: &mut Host, edge: &EdgeState) {
    let (_, reports) = host.reconcile(edge).await.expect("reconciles");
    for report in &reports {
        assert!(report.result.is_ok(), "{:?}: {:?}", report.step, report.result);
    }
    let (_, again) = host.reconcile(edge).await.expect("reconciles");
    assert!(again.is_empty(), "applying the same state twice does nothing: {again:?}");
}

#[test]
fn the_kernel_takes_the_plan_and_a_second_round_has_nothing_to_do() {
    in_namespace(async || {
        lay_links();
        let (mut host, edge) = (Host::open().expect("netlink"), edge());
        settle(&mut host, &edge).await;
        // Overlay: nowhere to go without a TUN. The underlay address that it covers is still reached by the uplink's table.
        let lookup = Command::new("ip").args(["route", "get", "10.2.0.1"]).output().expect("ip");
        assert!(!lookup.status.success(), "unreachable");
        let wan1 = run("ip route get 203.0.113.9 oif wan1");
        assert!(wan1.contains("via 198.51.100.1"), "{wan1}");
        let covered = run("ip route get 192.0.2.200 oif wan0");
        assert!(covered.contains("dev wan0") && !covered.contains("via"), "{covered}");
        let own = run("ip route get 10.1.1.9");
        assert!(own.contains("dev lan0"), "{own}");
        assert_eq!(run("cat /proc/sys/net/ipv4/ip_forward").trim(), "1");
    });
}

#[test]
fn what_others_flushed_or_changed_comes_back_and_what_is_theirs_stays() {
    in_namespace(async || {
        lay_links();
        let (mut host, mut edge) = (Host::open().expect("netlink"), edge());
        settle(&mut host, &edge).await;
        run("ip route add 172.16.0.0/16 dev lan0 table 7401");
        run("ip rule add pref 7000 to 172.16.0.0/16 lookup main");
        run("nft flush ruleset");
        run("ip route flush table 7000");
        run("ip rule del pref 7400");
        settle(&mut host, &edge).await;
        assert!(run("nft list tables").contains("hawser_guard"));
        assert!(run("ip rule").contains("lookup 7401"));
        edge.routes.remove(0);
        settle(&mut host, &edge).await;
        let table = run("ip route show table 7401");
        assert!(!table.contains("10.0.0.0/8") && table.contains("172.16.0.0/16"), "{table}");
        assert!(run("ip rule").contains("to 172.16.0.0/16 lookup main"));
    });
}

#[test]
fn a_changed_address_is_heard_and_planned() {
    in_namespace(async || {
        lay_links();
        let (mut host, edge) = (Host::open().expect("netlink"), edge());
        settle(&mut host, &edge).await;
        let mut changes = Changes::subscribe().expect("netlink");
        run("ip addr del 192.0.2.7/24 dev wan0");
        run("ip addr add 203.0.113.7/24 dev wan0");
        run("ip route add default via 203.0.113.1 dev wan0 metric 100");
        tokio::time::timeout(std::time::Duration::from_secs(5), changes.wait())
            .await
            .expect("heard");
        settle(&mut host, &edge).await;
        let route = run("ip route get 198.51.100.200 oif wan0");
        assert!(route.contains("via 203.0.113.1"), "{route}");
    });
}

#[test]
fn a_peer_that_the_overlay_covers_is_heard_before_any_way_leads_there() {
    let peer = Net::new();
    in_namespace(async move || {
        lay_links();
        run(&format!("ip link set p0 netns {}", peer.path()));
        peer.ip("addr add 192.0.2.200/24 dev p0");
        peer.ip("link set p0 up");
        // A router beyond the uplink's own network.
        peer.ip("addr add 10.77.0.1/32 dev lo");
        // As Ubuntu has it.
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "2").expect("sysctl");
        let (mut host, edge) = (Host::open().expect("netlink"), edge());
        settle(&mut host, &edge).await;
        let here = std::net::UdpSocket::bind("192.0.2.7:4510").expect("bound");
        here.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("set");
        for from in ["192.0.2.200:4510", "10.77.0.1:4510"] {
            peer.enter(|| {
                let socket = std::net::UdpSocket::bind(from).expect("bound");
                socket.send_to(from.as_bytes(), "192.0.2.7:4510").expect("sent");
            });
            let mut buffer = [0; 64];
            let heard = here.recv(&mut buffer).map(|length| buffer[..length].to_vec());
            assert_eq!(heard.ok().as_deref(), Some(from.as_bytes()), "from {from}");
        }
    });
}

#[test]
fn a_carrier_that_goes_is_told_by_the_kernels_own_message() {
    in_namespace(async || {
        lay_links();
        let changes = Changes::subscribe().expect("netlink");
        let mut carriers = changes.carriers();
        for (line, up) in [
            ("ip link set p0 down", false),
            ("ip link set p0 up", true),
            ("ip link set wan0 down", false),
            ("ip link set wan0 up", true),
            ("ip link del wan0", false),
        ] {
            run(line);
            let told = carriers.wait_for(|carriers| carriers.get("wan0") == Some(&up));
            let told = tokio::time::timeout(std::time::Duration::from_secs(5), told).await;
            assert!(told.is_ok_and(|told| told.is_ok()), "{line}");
        }
    });
}

#[test]
fn a_carrier_is_seen_lost_without_a_word_of_the_kernel() {
    in_namespace(async || {
        lay_links();
        let interfaces = std::sync::Arc::<link_watch::Interfaces>::default();
        *interfaces.lock().expect("lock") = vec!["wan0".into(), "nothing".into()];
        let (heard, mut carriers) = tokio::sync::watch::channel(Carriers::new());
        link_watch::start(std::sync::Arc::downgrade(&interfaces), heard).expect("started");
        for (line, up) in [("ip link set p0 down", false), ("ip link set p0 up", true)] {
            run(line);
            let told = carriers.wait_for(|carriers| carriers.get("wan0") == Some(&up));
            let told = tokio::time::timeout(std::time::Duration::from_secs(5), told).await;
            assert!(told.is_ok_and(|told| told.is_ok()), "{line}");
        }
        assert!(!carriers.borrow().contains_key("nothing"));
        drop(interfaces);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), async {
            while carriers.changed().await.is_ok() {}
        });
        ended.await.expect("it ends with who asked for it");
    });
}

#[test]
fn an_interface_that_is_not_there_is_a_fault_that_names_those_that_are() {
    in_namespace(async || {
        lay_links();
        let (mut host, mut edge) = (Host::open().expect("netlink"), edge());
        edge.uplinks.get_mut(&UplinkId(2)).expect("wan1").interface = "wan9".into();
        let seen = host.observe(&edge).await.expect("observes");
        let faults = missing_interfaces(&edge, &seen);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].code, "INTERFACE_MISSING");
        assert!(faults[0].mend.contains("wan1"), "{}", faults[0].mend);
    });
}
