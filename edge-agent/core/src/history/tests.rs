use proptest::prelude::*;

use super::*;

fn names() -> Names {
    let path = |id, local: &str, remote: &str, ipv6| PathName {
        path: PathId(id),
        tunnel: TunnelId(1),
        peer_edge: "hq-1".into(),
        peer_site: "hq".into(),
        local_uplink: local.into(),
        remote_uplink: remote.into(),
        ipv6,
    };
    let paths = vec![
        path(1, "isp-a", "isp-a", false),
        path(2, "isp-a", "isp-b", false),
        path(3, "isp-b", "isp-a", false),
        path(4, "isp-b", "isp-b", false),
        path(5, "isp-b", "isp-b", true),
    ];
    Names { edge: "b1-1".into(), site: "b1".into(), paths }
}

/// A probe every `every_ms`, with this RTT in ms, from `begin_ms` on.
fn regular(begin_ms: u64, count: u64, every_ms: u64, rtt_ms: Option<u32>) -> Vec<Entry> {
    let entry = |n| Entry {
        sent: Tick::from_unix_ms(begin_ms + n * every_ms),
        rtt: rtt_ms.map(|ms| ms * TICKS_PER_MS as u32),
    };
    (0..count).map(entry).collect()
}

fn collected(blocks: &[Vec<u8>]) -> Collector {
    let mut collector = Collector::new(Tick(0), Tick(u64::MAX));
    blocks.iter().for_each(|block| collector.add(block));
    collector
}

const BEGIN_MS: u64 = 1_769_860_800_000;

#[test]
fn a_probe_of_a_steady_path_takes_little_more_than_two_octets() {
    // A real link: RTT around 40 ms with 2 ms of jitter, timers a little late, now and then a loss.
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let mut sent = BEGIN_MS * TICKS_PER_MS;
    let entries: Vec<Entry> = (0..300)
        .map(|_| {
            sent += 1_000 + random(10);
            let rtt = 400 + random(20) as u32;
            Entry { sent: Tick(sent), rtt: (random(100) > 0).then_some(rtt) }
        })
        .collect();
    let block = encode_probes(PathId(77), &entries);
    assert!(block.len() < 300 * 9 / 4 + 32, "{} octets for 300 probes", block.len());
    // So a week of two tunnels of two uplinks, probed at 10 Hz, fits into 64 MiB.
    let week = block.len() as f64 / 300.0 * 4.0 * 10.0 * 7.0 * 86_400.0;
    assert!(week < f64::from(64u32 << 20), "{week}");
}

#[test]
fn damage_hides_only_the_block_that_it_hits() {
    let probes = |path| encode_probes(PathId(path), &regular(BEGIN_MS, 50, 100, Some(20)));
    let (a, b, c) = (probes(1), probes(2), probes(3));
    let mut octets = [a.clone(), b.clone(), c.clone()].concat();
    octets[a.len() + 20] ^= 0x40;
    // A torn write, and the next start of the agent after it.
    octets.extend(&b[..b.len() / 2]);
    octets.extend(&c);
    let mut blocks = Blocks::new(&octets);
    let found: Vec<u32> = blocks
        .by_ref()
        .map(|block| match block {
            Block::Probes { path, entries } => {
                assert_eq!(entries.len(), 50);
                path.0
            }
            Block::Names(_) => 0,
        })
        .collect();
    assert_eq!(found, [1, 3, 3]);
    assert_eq!(blocks.skipped() as usize, b.len() + b.len() / 2);
}

#[test]
fn blocks_are_chosen_by_time_without_reading_them() {
    let block = encode_probes(PathId(1), &regular(BEGIN_MS, 11, 100, None));
    let within =
        |from: u64, to: u64| is_within(&block, Tick::from_unix_ms(from), Tick::from_unix_ms(to));
    assert!(within(0, BEGIN_MS) && within(BEGIN_MS + 1_000, u64::MAX / 100));
    assert!(!within(0, BEGIN_MS - 1) && !within(BEGIN_MS + 1_001, u64::MAX / 100));
    assert!(is_within(&encode_names(&names()), Tick(0), Tick(0)));
}

#[test]
fn two_uplinks_come_side_by_side_in_the_trace_format() {
    let mut fast = regular(BEGIN_MS, 200, 100, Some(20));
    // Counted lost at first, answered late: both are written.
    let late = fast[4];
    fast[4].rtt = None;
    fast.push(late);
    fast[6].rtt = None;
    let slow = regular(BEGIN_MS + 50, 40, 500, Some(35));
    let blocks =
        [encode_names(&names()), encode_probes(PathId(1), &fast), encode_probes(PathId(4), &slow)];
    let traces = collected(&blocks).traces(None, 200);
    assert_eq!(traces.len(), 1);
    assert_eq!(traces[0].file_name, format!("b1-1-hq-1-isp-a-isp-b-{BEGIN_MS}.csv"));
    let lines: Vec<String> = traces[0].lines().take(6).collect();
    let expected = [
        "t_ms,isp-a,isp-b\n",
        "0,20.0,35.0\n",
        "200,20.0,35.0\n",
        "400,20.0,35.0\n",
        "600,,35.0\n",
        "800,20.0,35.0\n",
    ];
    assert_eq!(lines, expected);
    assert_eq!(traces[0].rows.len(), 98);
    // What is recorded can be replayed.
    let text: String = traces[0].lines().collect();
    let replayed = crate::replay::Trace::parse(&text).unwrap();
    assert_eq!((replayed.uplinks, replayed.rows.len()), (traces[0].columns.to_vec(), 98));
    assert_eq!(replayed.rows[3].rtt[0], None);
}

#[test]
fn a_gap_is_no_loss() {
    let mut blocks = vec![encode_names(&names())];
    for begin in [BEGIN_MS, BEGIN_MS + 3_600_000] {
        blocks.push(encode_probes(PathId(1), &regular(begin, 200, 100, Some(20))));
        blocks.push(encode_probes(PathId(4), &regular(begin, 200, 100, None)));
    }
    // Too short to tell anything.
    let short = regular(BEGIN_MS + 7_200_000, 20, 100, Some(20));
    blocks.push(encode_probes(PathId(1), &short));
    blocks.push(encode_probes(PathId(4), &short));
    let traces = collected(&blocks).traces(Some("hq"), 100);
    let begins: Vec<u64> = traces.iter().map(|trace| trace.begin.unix_ms()).collect();
    assert_eq!(begins, [BEGIN_MS, BEGIN_MS + 3_600_000]);
    for trace in &traces {
        assert!((200..=221).contains(&trace.rows.len()), "{}", trace.rows.len());
        assert!(trace.rows.iter().all(|row| *row == [Some(200), None]));
    }
    assert_eq!(collected(&blocks).traces(Some("elsewhere"), 100), []);
}

#[test]
fn of_many_paths_each_pair_of_uplinks_is_told_by_those_that_share_none() {
    let probes = regular(BEGIN_MS, 200, 100, Some(20));
    let mut blocks = vec![encode_names(&names())];
    for (path, ms) in [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)] {
        let rtt = Some(ms * TICKS_PER_MS as u32);
        let entries: Vec<Entry> = probes.iter().map(|e| Entry { rtt, ..*e }).collect();
        blocks.push(encode_probes(PathId(path), &entries));
    }
    let traces = collected(&blocks).traces(None, 200);
    assert_eq!(traces.len(), 1);
    // Paths 1 and 4: no uplink in common, one family.
    assert_eq!(traces[0].rows[0], [Some(100), Some(400)]);
    // From the hub's end with one uplink, the branch's two are compared.
    let mut hub = names();
    hub.paths.retain(|path| path.path.0 == 1 || path.path.0 == 2);
    blocks[0] = encode_names(&hub);
    let traces = collected(&blocks).traces(None, 200);
    assert_eq!(traces[0].columns, ["isp-a", "isp-b"]);
    assert_eq!(traces[0].rows[0], [Some(100), Some(200)]);
}

#[test]
fn only_the_time_that_was_asked_for_is_kept() {
    let block = encode_probes(PathId(1), &regular(BEGIN_MS, 100, 100, Some(1)));
    let mut collector =
        Collector::new(Tick::from_unix_ms(BEGIN_MS + 1_000), Tick::from_unix_ms(BEGIN_MS + 1_900));
    collector.add(&block);
    assert_eq!((collector.len(), collector.is_empty(), collector.dropped), (10, false, 0));
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let rtt = prop_oneof![Just(None), any::<u32>().prop_map(Some), (0u32..5_000).prop_map(Some)];
    let sent = prop_oneof![0..u64::MAX, 17_000_000_000_000..17_000_000_100_000u64];
    let entry = (sent, rtt).prop_map(|(sent, rtt)| Entry { sent: Tick(sent), rtt });
    prop::collection::vec(entry, 0..50)
}

proptest! {
    #[test]
    fn what_is_written_is_read(path in any::<u32>(), entries in entries()) {
        let octets = [encode_names(&names()), encode_probes(PathId(path), &entries)].concat();
        let mut blocks = Blocks::new(&octets);
        prop_assert_eq!(blocks.next(), Some(Block::Names(names())));
        prop_assert_eq!(blocks.next(), Some(Block::Probes { path: PathId(path), entries }));
        prop_assert_eq!(blocks.next(), None);
        prop_assert_eq!(blocks.skipped(), 0);
    }

    #[test]
    fn any_octets_are_read_without_panic(
        octets in prop::collection::vec(any::<u8>(), 0..300),
        at in 0usize..300,
        flipped in any::<u8>(),
    ) {
        let _ = Blocks::new(&octets).count();
        let mut real = encode_probes(PathId(1), &regular(BEGIN_MS, 60, 100, Some(7)));
        let at = at % real.len();
        real[at] ^= flipped;
        // With a right checksum too, so that the decoder itself sees nonsense.
        let body = real.len() - 4;
        let sum = crc32fast::hash(&real[4..body]);
        real[body..].copy_from_slice(&sum.to_le_bytes());
        let mut collector = Collector::new(Tick(0), Tick(u64::MAX));
        collector.add(&encode_names(&names()));
        collector.add(&real);
        let _ = collector.traces(None, 200);
    }
}
