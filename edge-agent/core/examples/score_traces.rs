//! Scores selection over recorded pairs of uplinks: `score_traces DIR [max RTT in ms] [max jitter in ms] [max loss in ppm]`.
//!
//! Every `.csv` below DIR has the columns `t_ms` and the RTT in ms of each of two uplinks; an empty field is a lost probe. A
//! packet is sent on the selected uplink at every row; it is bad if lost or over 300 ms. A probe's result is known after its
//! RTT, or after 600 ms as lost. Every file is run twice, starting on either uplink.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io, process};

use hawser_edge_core::config::SlaLimits;
use hawser_edge_core::id::{ClassId, PathId, TunnelId, UplinkId};
use hawser_edge_core::policy;
use hawser_edge_core::probe::{Outcome, Sample, Settled, Way};
use hawser_edge_core::select::{CandidateSpec, ClassPolicy, Selector};
use hawser_edge_core::sla::{PathMonitor, SlaClass};
use hawser_edge_core::time::Micros;

const CLASS: &str = "default";
const LOST_AFTER_MS: f64 = 600.0;
const BAD_ABOVE_MS: f64 = 300.0;

struct Row {
    t_ms: f64,
    rtt_ms: [Option<f64>; 2],
}

#[derive(Default)]
struct Score {
    ticks: u64,
    bad: u64,
    switches: u64,
    hours: f64,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize, default: u32| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let limits = SlaLimits {
        max_rtt_us: number(1, 150) * 1_000,
        max_jitter_us: number(2, 0) * 1_000,
        max_loss_ppm: number(3, 10_000),
        ..SlaLimits::default()
    };
    let Some(directory) = arguments.first() else {
        eprintln!("usage: score_traces DIR [max RTT in ms] [max jitter in ms] [max loss in ppm]");
        process::exit(2);
    };
    match score_all(Path::new(directory), limits) {
        Ok((files, score)) => println!(
            "{{\"files\": {files}, \"ticks\": {}, \"bad_pct\": {:.3}, \"switches_per_hour\": {:.1}}}",
            score.ticks,
            100.0 * score.bad as f64 / score.ticks.max(1) as f64,
            score.switches as f64 / score.hours.max(f64::MIN_POSITIVE),
        ),
        Err(error) => {
            eprintln!("{directory}: {error}");
            process::exit(1);
        }
    }
}

fn score_all(directory: &Path, limits: SlaLimits) -> io::Result<(usize, Score)> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let mut score = Score::default();
    for file in &files {
        let rows = read(file)?;
        (0..2).for_each(|start| run(&rows, start, limits, &mut score));
    }
    Ok((files.len(), score))
}

fn read(file: &Path) -> io::Result<Vec<Row>> {
    let text = fs::read_to_string(file)?;
    let row = |(number, line): (usize, &str)| {
        let mut fields = line.split(',').map(|field| field.trim().parse::<f64>().ok());
        let bad = || {
            let place = format!("{}:{}: no time in the first column", file.display(), number + 1);
            io::Error::new(io::ErrorKind::InvalidData, place)
        };
        let t_ms = fields.next().flatten().ok_or_else(bad)?;
        Ok(Row { t_ms, rtt_ms: [fields.next().flatten(), fields.next().flatten()] })
    };
    text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
}

/// What becomes known when, of one uplink.
fn results(rows: &[Row], uplink: usize) -> Vec<Sample> {
    let micros = |ms: f64| Micros((ms * 1e3) as u64);
    let mut samples = Vec::new();
    for (sequence, row) in rows.iter().enumerate() {
        let mut add = |after_ms: f64, outcome| {
            let (sent, known) = (micros(row.t_ms), micros(row.t_ms + after_ms));
            let (sequence, settled) = (sequence as u64, Settled::default());
            samples.push(Sample { sequence, sent, known, outcome, settled });
        };
        let rtt = |ms: f64| Duration::from_micros((ms * 1e3) as u64);
        let was = Some(Way::Forward);
        match row.rtt_ms[uplink] {
            Some(ms) if ms <= LOST_AFTER_MS => add(ms, Outcome::Rtt { rtt: rtt(ms) }),
            Some(ms) => {
                add(LOST_AFTER_MS, Outcome::Lost { way: was });
                add(ms, Outcome::Late { rtt: rtt(ms), was });
            }
            None => add(LOST_AFTER_MS, Outcome::Lost { way: was }),
        }
    }
    samples.sort_by_key(|sample| sample.known);
    samples
}

fn run(rows: &[Row], start: usize, limits: SlaLimits, score: &mut Score) {
    let path = |uplink: usize| PathId(uplink as u32 + 1);
    let now = Micros(0);
    let class = SlaClass { name: CLASS.into(), limits };
    let mut monitors = [0, 1].map(|u| PathMonitor::new(path(u), vec![class.clone()], now));
    let spec = |uplink: usize| CandidateSpec {
        path: path(uplink),
        name: format!("uplink {uplink}"),
        local_uplink: UplinkId(uplink as u32),
        remote_uplink: UplinkId(9),
        preference: (0, 0),
        cost: 0,
    };
    let class_policy = ClassPolicy {
        tunnel: TunnelId(1),
        class: ClassId(1),
        class_name: CLASS.into(),
        failback_hold: policy::FAILBACK_HOLD,
        dwell: policy::DWELL,
        drop_when_none_meets: false,
        follows_peer: false,
    };
    let mut selector = Selector::new(class_policy, [0, 1].map(spec).to_vec(), now);
    selector.handle_path_admin(path(start), true, now);
    let results = [0, 1].map(|uplink| results(rows, uplink));
    let mut read = [0, 0];
    let mut selected = start;
    for row in rows {
        let now = Micros((row.t_ms * 1e3) as u64);
        for uplink in 0..2 {
            while let Some(sample) = results[uplink].get(read[uplink]).filter(|s| s.known <= now) {
                monitors[uplink].handle_sample(sample);
                read[uplink] += 1;
            }
            monitors[uplink].handle_time(now);
            let health = monitors[uplink].health(CLASS, false);
            selector.handle_quality(path(uplink), &health, now);
        }
        // The other uplink may be chosen once the first one was, or could have been.
        if selector.selected().is_some() || row.t_ms > LOST_AFTER_MS {
            selector.handle_path_admin(path(1 - start), true, now);
        }
        while let Some(decision) = selector.poll(now) {
            if let Some(to) = decision.to {
                let to = to.0 as usize - 1;
                score.switches += u64::from(to != selected);
                selected = to;
            }
        }
        let good = row.rtt_ms[selected].is_some_and(|ms| ms <= BAD_ABOVE_MS);
        score.ticks += 1;
        score.bad += u64::from(!good);
    }
    if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
        score.hours += (last.t_ms - first.t_ms + 200.0) / 3.6e6;
    }
}
