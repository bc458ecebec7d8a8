//! What a large fleet costs: `scale SITES PATHS`. Every path is told by both of its ends.

use std::sync::Arc;
use std::time::Instant;

use hawser_telemetry::{PathRow, PathState, Snapshot, chunks, put_paths};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u32>().expect("a number"));
    let (sites, paths) = (arguments.next().unwrap_or(2_000), arguments.next().unwrap_or(4));
    let before = resident_kib("VmRSS");
    for _ in 0..3 {
        let started = Instant::now();
        let rows: Vec<PathRow> = (0..sites * paths * 2).map(|n| row(n, paths)).collect();
        let mut snapshot = Snapshot::default();
        put_paths(&mut snapshot, &rows, usize::MAX);
        drop(rows);
        let series = snapshot.series();
        let text: usize = chunks(Arc::new(snapshot)).map(|piece| piece.len()).sum();
        println!(
            "{series} series, {text} octets in {:?}; {} MiB at most",
            started.elapsed(),
            (resident_kib("VmHWM") - before) / 1_024
        );
    }
}

fn row(n: u32, paths: u32) -> PathRow {
    PathRow {
        site: format!("branch-{}", n / paths),
        edge: format!("branch-{}-1", n / paths),
        uplink: format!("isp-{}", n % 2),
        peer_site: "hub-1".into(),
        peer_uplink: format!("isp-{}", n / 2 % 2),
        path: n,
        state: PathState::Up,
        rtt_us: 20_123,
        rtt_quantiles_us: [20_000, 21_000, 25_000],
        jitter_us: 312,
        loss_tx_ppm: 1_234,
        mos_milli: 4_300,
        verdicts: ["voice", "data", "bulk"].map(|class| (class.to_owned(), true)).to_vec(),
        selected_for: vec!["voice".into()],
        tx_bytes: 123_456_789,
        rx_bytes: 987_654_321,
        sa_age_ms: Some(1_234_567),
        ..PathRow::default()
    }
}

fn resident_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
