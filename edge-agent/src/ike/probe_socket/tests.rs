//! Against the kernel's own echo, over two veth pairs: the socket asks over the interface that it is bound to.

use std::time::Duration;

use hawser_edge_core::id::PathId;
use hawser_edge_core::probe::{
    Cadence, Intervals, PlainConfig, PlainProber, PlainProtocol, ReplyKind,
};
use hawser_edge_core::time::Micros;
use tokio::time::timeout;

use super::*;
use crate::dataplane::tests::net::Net;

const WITHIN: Duration = Duration::from_secs(30);
const ASKED: Asked = Asked::Gateway(PathId(1 << 24));

fn two() -> (Net, Net) {
    let (ours, peer) = (Net::new(), Net::new());
    ours.connect(
        "wan-a",
        &["192.0.2.1/24", "2001:db8:a::1/64"],
        &peer,
        "wan-a",
        &["192.0.2.2/24", "2001:db8:a::2/64"],
    );
    ours.connect("wan-b", &["198.51.100.1/24"], &peer, "wan-b", &["198.51.100.2/24"]);
    (ours, peer)
}

fn opened(net: &Net, spec: ProbeSpec) -> (ProbeSocket, mpsc::Receiver<Echo>) {
    let (echoes, inbox) = mpsc::channel(16);
    let runtime = tokio::runtime::Handle::current();
    let socket = net.enter(move || {
        let _inside = runtime.enter();
        ProbeSocket::open(spec, "dc".into(), ASKED, echoes)
    });
    (socket.expect("it opens (tests need root)"), inbox)
}

async fn is_answered(net: &Net, local: &str, remote: &str) {
    let [local, remote] = [local, remote].map(|text| text.parse().expect("an address"));
    let spec = ProbeSpec { interface: Some("wan-a".into()), local, remote, port: None };
    let (socket, mut inbox) = opened(net, spec);
    let protocol = match (local, remote) {
        (IpAddr::V6(local), IpAddr::V6(remote)) => {
            PlainProtocol::Icmp6 { identifier: 77, local, remote }
        }
        _ => PlainProtocol::Icmp4 { identifier: 77 },
    };
    let config = PlainConfig {
        protocol,
        intervals: Intervals::default(),
        cadence: Cadence::Used,
        seed: 0,
        unix_at_zero: Duration::ZERO,
    };
    let start = Instant::now();
    let now = || Micros(start.elapsed().as_micros() as u64);
    let mut prober = PlainProber::new(config, Micros(0));
    // The first ones may be lost: a link that was just set up has no carrier yet.
    while start.elapsed() < WITHIN {
        if let Some(packet) = prober.poll_transmit(now()) {
            let _ = socket.send(&packet);
        }
        let read = timeout(Duration::from_millis(20), inbox.recv()).await;
        let Ok(echo) = read else { continue };
        let echo = echo.expect("the reader lives");
        assert_eq!((&*echo.tunnel, echo.asked), ("dc", ASKED));
        // IPv6 may show neighbour discovery first.
        if let Ok(kind) = prober.handle_reply(&echo.packet, now()) {
            assert!(matches!(kind, ReplyKind::Answer { .. } | ReplyKind::Late { .. }), "{kind:?}");
            return;
        }
    }
    panic!("{remote} never answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_of_a_gateway_answers_in_both_families() {
    let (ours, _peer) = two();
    is_answered(&ours, "192.0.2.1", "192.0.2.2").await;
    is_answered(&ours, "2001:db8:a::1", "2001:db8:a::2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_bound_to_an_interface_leaves_by_no_other() {
    let (ours, _peer) = two();
    // By the other interface it would be one hop.
    let [local, remote] = ["192.0.2.1", "198.51.100.2"].map(|t| t.parse().expect("an address"));
    let spec = ProbeSpec { interface: Some("wan-a".into()), local, remote, port: None };
    let (socket, _inbox) = opened(&ours, spec);
    let start = Instant::now();
    loop {
        let _ = socket.send(&[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
        let output = ours.run("ip neigh show dev wan-a");
        let asked = String::from_utf8_lossy(&output.stdout).contains("198.51.100.2");
        if asked {
            return;
        }
        assert!(start.elapsed() < WITHIN, "nobody was asked on the interface");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
