use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hawser_edge_core::config::{ManualTunnel, Profile};
use hawser_edge_core::id::{SegmentId, UplinkId};
use hawser_edge_core::manual::{KeyName, Mode, Protocol, Wanted};
use hawser_esp::Suite;
use hawser_proto::agent::v1::{IkeSample, IkeState};

use super::{ManualHandle, start};
use crate::ike::secrets;

/// Whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(60);

fn wanted(local: Option<IpAddr>) -> Wanted {
    let key = |name: &str| KeyName { spi: 4096, name: name.into() };
    Wanted {
        tunnel: ManualTunnel {
            name: "old".into(),
            uplink: UplinkId(1),
            peer_address: [192, 0, 2, 9].into(),
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            profile: Profile {
                name: "by-hand".into(),
                suite: Suite::Aes128CbcSha256,
                waiver: None,
                rekey_after_s: 3600,
                rekey_after_bytes: 1 << 36,
                replay_window_packets: 1024,
                esn: true,
                probe_interval_ms: 100,
                probe_idle_interval_ms: 500,
                down_after_probes: 0,
            },
            segment: SegmentId(1),
            local_prefixes: vec!["10.1.0.0/24".parse().expect("a prefix")],
            remote_prefixes: vec!["10.2.0.0/24".parse().expect("a prefix")],
            inbound: key("old-in"),
            outbound: key("old-out"),
        },
        local,
        interface: "none-such".into(),
        outer_mtu_bytes: 1500,
    }
}

fn stands(handle: &ManualHandle, code: &str) -> IkeSample {
    let end = Instant::now() + PATIENCE;
    loop {
        let samples = handle.samples();
        let sample = samples.iter().find(|sample| sample.reason.ends_with(&format!("[{code}]")));
        if let Some(sample) = sample {
            return sample.clone();
        }
        assert!(Instant::now() < end, "{code}, not {samples:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_tunnel_without_good_keys_says_which_and_what_to_do_and_shows_nothing_of_them() {
    let state = tempfile::tempdir().expect("a folder");
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let handle =
        start(state.path(), false, move |change| hears.lock().expect("whole").push(change));
    let handle = handle.expect("a thread");
    handle.hold(vec![wanted(None)]);
    stands(&handle, "MANUAL_NO_ADDRESS");
    handle.hold(vec![wanted(Some([192, 0, 2, 1].into()))]);
    let sample = stands(&handle, "MANUAL_KEY_MISSING");
    assert_eq!((sample.state(), sample.children_up), (IkeState::Blocked, 0));
    let good: String = (0..48u32).map(|n| format!("{:02x}", (n * n * 7 + n + 3) as u8)).collect();
    secrets::keep(state.path(), "old-in", good.as_bytes()).expect("kept");
    secrets::keep(state.path(), "old-out", "5a".repeat(48).as_bytes()).expect("kept");
    // Looked at again without a word of the engine.
    stands(&handle, "MANUAL_KEY_WEAK");
    secrets::keep(state.path(), "old-out", &good.as_bytes()[2..]).expect("kept");
    stands(&handle, "MANUAL_KEY_LENGTH");
    secrets::keep(state.path(), "old-out", good.as_bytes()).expect("kept");
    stands(&handle, "MANUAL_KEYS_EQUAL");
    handle.hold(Vec::new());
    let end = Instant::now() + PATIENCE;
    while !handle.samples().is_empty() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = format!("{:?}", told.lock().expect("whole"));
    assert!(told.contains("hawser-edge secret set old-out") || told.contains("old-in"), "{told}");
    assert!(!told.contains(&good[..8]) && !told.contains("5a5a5a"), "{told}");
}
