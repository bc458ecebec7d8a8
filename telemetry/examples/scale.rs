//! What a large fleet costs: `scale SITES PATHS`. Every path is told by both of its ends.

use std::sync::Arc;
use std::time::Instant;

use hawser_proto::agent::v1::{ClassVerdict, PathSample, PathState};
use hawser_telemetry::{PathNames, PathRow, Snapshot, chunks, put_paths};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u32>().expect("a number"));
    let (sites, paths) = (arguments.next().unwrap_or(2_000), arguments.next().unwrap_or(4));
    let before = resident_kib("VmRSS");
    for _ in 0..3 {
        let texts: Vec<Names> = (0..sites * paths * 2).map(|n| Names::new(n, paths)).collect();
        let samples: Vec<PathSample> = (0..sites * paths * 2).map(sample).collect();
        let started = Instant::now();
        let rows = texts.iter().map(Names::as_row).zip(&samples);
        let rows: Vec<_> = rows.map(|(names, sample)| PathRow { names, sample }).collect();
        let mut snapshot = Snapshot::of_fleet("acme");
        put_paths(&mut snapshot, &rows, usize::MAX);
        let series = snapshot.series();
        let text: usize = chunks(Arc::new(snapshot)).map(|piece| piece.len()).sum();
        println!(
            "{series} series, {text} octets in {:?}; {} MiB at most",
            started.elapsed(),
            (resident_kib("VmHWM") - before) / 1_024
        );
    }
}

/// Names of a path's end.
struct Names {
    site: String,
    edge: String,
    uplink: String,
    peer_uplink: String,
}

impl Names {
    fn new(n: u32, paths: u32) -> Self {
        Names {
            site: format!("branch-{}", n / paths),
            edge: format!("branch-{}-1", n / paths),
            uplink: format!("isp-{}", n % 2),
            peer_uplink: format!("isp-{}", n / 2 % 2),
        }
    }

    fn as_row(&self) -> PathNames<'_> {
        PathNames {
            site: &self.site,
            edge: &self.edge,
            uplink: &self.uplink,
            peer_site: "hub-1",
            peer_uplink: &self.peer_uplink,
        }
    }
}

fn sample(path_id: u32) -> PathSample {
    let verdict =
        |class: &str| ClassVerdict { sla_class: class.into(), meets: true, reason: String::new() };
    PathSample {
        path_id,
        state: PathState::Up.into(),
        rtt_us: 20_123,
        rtt_p50_us: 20_000,
        rtt_p95_us: 21_000,
        rtt_p99_us: 25_000,
        jitter_us: 312,
        loss_tx_ppm: 1_234,
        mos_milli: 4_300,
        verdicts: ["voice", "data", "bulk"].map(verdict).to_vec(),
        selected_for: vec!["voice".into()],
        tx_bytes: 123_456_789,
        rx_bytes: 987_654_321,
        sa_age_ms: 1_234_567,
        ..PathSample::default()
    }
}

fn resident_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
