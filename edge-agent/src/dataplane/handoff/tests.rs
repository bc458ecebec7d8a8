use std::sync::Arc;
use std::time::{Duration, Instant};

use hawser_edge_core::id::{PathId, Spi, UplinkId};
use hawser_edge_core::keys::Lanes;
use hawser_esp::{KeyMaterial, Mode, Suite, opener};

use super::*;
use crate::dataplane::path::PathState;
use crate::dataplane::{Family, PathSpec};

fn entry(path: u32, lane: u8) -> Arc<InboundEntry> {
    let spec = PathSpec { id: PathId(path), uplink: UplinkId(1), family: Family::V4 };
    let material = KeyMaterial::new(Suite::Aes128Gcm, &[7; 20]).expect("a key");
    let first = Spi(0x1000);
    let sa = opener(Mode::Gre, first.0 + u32::from(lane), &material, true, 64).expect("an SA");
    let path = Arc::new(PathState::new(&spec));
    Arc::new(InboundEntry { sa, path, first, lane, since: Duration::ZERO })
}

fn run(entry: &Arc<InboundEntry>) -> Run {
    let from = ([192, 0, 2, 1], 4510).into();
    Run { entry: entry.clone(), from, tos: 0, received: Instant::now(), stride_bytes: 2 }
}

fn shared() -> Shared {
    Shared::new(Lanes::clamped(2)).0
}

fn octets(buffer: &mut Buffer) -> Vec<Vec<u8>> {
    buffer.drain().map(|(_, datagrams)| datagrams.to_vec()).collect()
}

#[test]
fn each_lane_gets_its_own_in_order_also_what_came_while_it_was_busy() {
    let (shared, handoff, mut buffer) = (shared(), Handoff::new(2), Buffer::new());
    let (even, odd) = (entry(4, 0), entry(4, 1));
    for round in 0..3_u8 {
        let mut filler = handoff.begin();
        filler.put(&shared, run(&even), &[round, 0, 1]);
        filler.put(&shared, run(&odd), &[round, 10]);
        filler.put(&shared, run(&even), &[round, 2]);
    }
    assert!(handoff.take(0, &mut buffer));
    let wanted: Vec<Vec<u8>> = (0..3).flat_map(|r| [vec![r, 0, 1], vec![r, 2]]).collect();
    assert_eq!(octets(&mut buffer), wanted);
    assert!(handoff.take(1, &mut buffer));
    assert_eq!(octets(&mut buffer), [[0, 10], [1, 10], [2, 10]]);
    // The next path begins at the other thread.
    handoff.begin().put(&shared, run(&entry(5, 0)), &[9]);
    assert!(handoff.take(1, &mut buffer));
    assert_eq!(octets(&mut buffer), [[9]]);
}

#[test]
fn a_full_lane_drops_and_counts_datagrams_and_the_others_go_on() {
    let (shared, handoff) = (shared(), Handoff::new(2));
    let (even, odd) = (entry(4, 0), entry(4, 1));
    let mut filler = handoff.begin();
    for _ in 0..LANE_RUNS {
        filler.put(&shared, run(&even), &[1, 2]);
    }
    filler.put(&shared, run(&even), &[3; 5]);
    filler.put(&shared, run(&odd), &[4]);
    drop(filler);
    let dropped = |shared: &Shared| shared.drops.read()[&DropReason::LaneFull];
    assert_eq!(dropped(&shared), 3, "two datagrams of two octets, and one of one");
    let mut buffer = Buffer::new();
    assert!(handoff.take(0, &mut buffer));
    assert_eq!(octets(&mut buffer).len(), LANE_RUNS);
    assert!(handoff.take(1, &mut buffer));
    assert_eq!(octets(&mut buffer), [[4]]);
    // By octets, too: nothing is cut.
    let most = vec![0; LANE_BYTES - 1];
    let mut filler = handoff.begin();
    filler.put(&shared, run(&even), &most);
    filler.put(&shared, run(&even), &[5; 2]);
    filler.put(&shared, run(&even), &[6]);
    drop(filler);
    assert_eq!(dropped(&shared), 4);
    assert!(handoff.take(0, &mut buffer));
    assert_eq!(octets(&mut buffer).last(), Some(&vec![6]));
}

#[test]
fn a_lane_waits_until_something_comes_or_it_is_closed() {
    let (shared, handoff) = (shared(), Handoff::new(2));
    let even = entry(4, 0);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let (mut buffer, mut seen) = (Buffer::new(), Vec::new());
            while handoff.take(0, &mut buffer) {
                seen.extend(octets(&mut buffer).concat());
            }
            seen
        });
        for number in 0..50 {
            handoff.begin().put(&shared, run(&even), &[number]);
            std::thread::sleep(Duration::from_micros(500));
        }
        std::thread::sleep(Duration::from_millis(50));
        handoff.close();
        assert_eq!(waits.join().expect("no panic"), (0..50).collect::<Vec<u8>>());
    });
    assert!(!handoff.take(1, &mut Buffer::new()), "closed for all");
}
