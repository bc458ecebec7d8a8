//! `bench_controller [AGENTS]`: one controller process, many agents with real gRPC streams over loopback, each with four
//! paths. Twice without metrics, twice with metrics that are scraped, in turns. Prints the report; progress on stderr.

mod agents;
mod compile;
mod operator;
mod process;
mod round;
mod scrape;
mod statistics;

use std::process::ExitCode;

use serde_json::{Value, json};

use agents::TELEMETRY_EVERY;
use round::Rounds;
use scrape::Scrape;
use statistics::Runs;

const AGENTS: usize = 2_000;
const ROUNDS: usize = 2;
/// What metrics may cost.
const SCRAPE_S_GOAL: f64 = 1.0;
const EXTRA_MIB_GOAL: f64 = 64.0;
const CHANGE_PCT_GOAL: f64 = 10.0;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("compile") {
        return match compile::measure() {
            Ok(compiled) => {
                println!("{compiled:?}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("bench_controller: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let agents = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(AGENTS);
    match run(agents / 2 * 2).await {
        Ok(report) => {
            println!("{report:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench_controller: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(count: usize) -> Result<Value, String> {
    let compiled = compile::measure()?;
    eprintln!(
        "1,000 sites compiled in {:.0} ms, one changed in {:.0} ms, of which reading {:.0} ms",
        compiled.all_ms, compiled.one_changed_ms, compiled.reading_ms
    );
    let (mut off, mut on) = (Rounds::default(), Rounds::default());
    for round in 1..=ROUNDS {
        off.add(count, false).await?;
        eprintln!("round {round} of {ROUNDS}, {count} agents, without metrics");
        on.add(count, true).await?;
        eprintln!("round {round} of {ROUNDS}, with metrics");
    }
    Ok(report(count, &compiled, &off, &on))
}

fn report(count: usize, compiled: &compile::Compiled, off: &Rounds, on: &Rounds) -> Value {
    let connected = off.connected.min(on.connected).unwrap_or(0);
    let (others, dropped) = (off.others + on.others, off.samples_dropped + on.samples_dropped);
    let with_metrics = with_metrics(off, on);
    let goal =
        |text: &str, value: &Value, met: bool| json!({"goal": text, "value": value, "met": met});
    let below = |value: &Value, most: f64| {
        let met = value.as_f64().is_some_and(|value| value <= most);
        goal(&format!("<= {most}"), value, met)
    };
    json!({
        "agents": count,
        "paths_per_agent": 4,
        "telemetry_every_s": TELEMETRY_EVERY.as_secs(),
        "rounds": ROUNDS,
        "connect_all_s": off.connect_all_s.mean(),
        "push_all_p50_ms": off.push_all_ms.p50(),
        "push_all_p99_ms": off.push_all_ms.p99(),
        "push_all_max_ms": off.push_all_ms.max(),
        "push_all_runs": off.push_all_ms.count(),
        "push_one_ms": off.push_one_ms.p50(),
        "push_one_max_ms": off.push_one_ms.max(),
        "push_one_others": others,
        "rss_mib": off.rss_mib.mean(),
        "cpu_cores": off.cpu_cores.mean(),
        "telemetry_points_per_s": off.points_per_s.mean(),
        "samples_dropped": dropped,
        "agents_connected_at_end": connected,
        "compile_ms": {"sites": compile::SITES, "all": compiled.all_ms, "one_changed": compiled.one_changed_ms, "reading": compiled.reading_ms},
        "goals": {
            "push_one_others": goal("= 0", &json!(others), others == 0),
            "samples_dropped": goal("= 0", &json!(dropped), dropped == 0),
            "agents_connected_at_end": goal(&format!("= {count}"), &json!(connected), connected as usize == count),
            "scrape_max_s": below(&with_metrics["scrape_max_s"], SCRAPE_S_GOAL),
            "extra_rss_mib": below(&with_metrics["extra_rss_mib"], EXTRA_MIB_GOAL),
            "largest_change_pct": below(&with_metrics["largest_change_pct"], CHANGE_PCT_GOAL),
        },
        "with_metrics": with_metrics,
    })
}

/// The same figures with metrics on, and what they have become worse by.
fn with_metrics(off: &Rounds, on: &Rounds) -> Value {
    let most = |of: fn(&Scrape) -> f64| on.scrapes.iter().map(of).reduce(f64::max);
    let changes = [
        ("connect_all_s", Runs::mean(&off.connect_all_s), on.connect_all_s.mean()),
        ("push_all_p50_ms", off.push_all_ms.p50(), on.push_all_ms.p50()),
        ("push_all_p99_ms", off.push_all_ms.p99(), on.push_all_ms.p99()),
        ("push_one_ms", off.push_one_ms.p50(), on.push_one_ms.p50()),
        ("rss_mib", off.rss_mib.mean(), on.rss_mib.mean()),
        ("cpu_cores", on.cpu_cores_unscraped.mean(), on.cpu_cores.mean()),
    ]
    .map(|(name, off, on)| (name, off.zip(on).map(|(off, on)| (on / off - 1.0) * 100.0)));
    let largest = changes.iter().filter_map(|(_, change)| *change).reduce(f64::max);
    let extra = on.rss_mib.mean().zip(off.rss_mib.mean()).map(|(on, off)| on - off);
    json!({
        "scrape_every_s": scrape::EVERY.as_secs(),
        "scrapes": on.scrapes.len(),
        "scrape_max_s": most(|scrape| scrape.seconds),
        "scrape_max_bytes": most(|scrape| scrape.bytes as f64),
        "series": most(|scrape| scrape.series as f64),
        "extra_rss_mib": extra,
        "connect_all_s": on.connect_all_s.mean(),
        "push_all_p50_ms": on.push_all_ms.p50(),
        "push_all_p99_ms": on.push_all_ms.p99(),
        "push_one_ms": on.push_one_ms.p50(),
        "rss_mib": on.rss_mib.mean(),
        "cpu_cores": on.cpu_cores.mean(),
        "cpu_cores_unscraped": on.cpu_cores_unscraped.mean(),
        "change_pct": changes.iter().map(|(name, change)| ((*name).to_owned(), json!(change))).collect::<serde_json::Map<_, _>>(),
        "largest_change_pct": largest,
    })
}
