//! Scores selection over recordings: `score_traces DIR [max RTT in ms] [max loss in ppm] [even|odd]`. Every `.csv` below DIR is
//! replayed from each of its uplinks. `hawser replay` is the same for people; this one is for cross-validation.

use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, process};

use hawser_edge_core::replay::{ReplayPolicy, Score, Trace, run};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).and_then(|text| text.parse::<u32>().ok());
    let Some(directory) = arguments.first() else {
        eprintln!("usage: score_traces DIR [max RTT in ms] [max loss in ppm] [even|odd]");
        process::exit(2);
    };
    let mut policy = ReplayPolicy::built_in();
    policy.limits.max_rtt_us = number(1).map_or(policy.limits.max_rtt_us, |ms| ms * 1_000);
    policy.limits.max_loss_ppm = number(2).unwrap_or(policy.limits.max_loss_ppm);
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "csv")).collect();
    files.sort();
    let half = arguments.get(3).map(String::as_str);
    let in_half = |index: usize| match half {
        Some("even") => index.is_multiple_of(2),
        Some("odd") => !index.is_multiple_of(2),
        _ => true,
    };
    let mut score = Score::default();
    for (_, file) in files.iter().enumerate().filter(|(index, _)| in_half(index / 20)) {
        let trace = match fs::read_to_string(file).map(|text| Trace::parse(&text)) {
            Ok(Ok(trace)) => trace,
            Ok(Err(error)) => fail(file, &error),
            Err(error) => fail(file, &error),
        };
        for start in 0..trace.uplinks.len() {
            score.add(&run(&trace, start, &policy, Duration::from_millis(300)));
        }
    }
    println!(
        "{{\"ticks\": {}, \"bad_pct\": {:.3}, \"switches_per_hour\": {:.1}}}",
        score.ticks,
        score.bad_pct(),
        score.switches_per_hour()
    );
}

fn fail(file: &std::path::Path, error: &dyn std::fmt::Display) -> ! {
    eprintln!("{}: {error}", file.display());
    process::exit(1);
}
