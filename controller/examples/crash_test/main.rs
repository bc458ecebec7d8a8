//! `crash_test ROUNDS`: writers work while the controller is killed, at random moments and at every failpoint of its store,
//! and on a disk that fills up. What was acknowledged must be there afterwards. Prints the report; progress on stderr.

mod client;
mod disk;
mod round;
mod worker;

use std::process::ExitCode;

use hawser_controller::store::failpoint;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use round::{Lab, Tally};
use worker::Death;

/// Rounds on one store, before a new one is begun.
const ROUNDS_A_STORE: u32 = 50;
const DISK_FULL_ROUNDS: u32 = 5;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match first.as_str() {
        "worker" => runtime.block_on(worker::serve(&rest)),
        "disk" => runtime.block_on(disk::fill(&rest)),
        rounds => {
            let Ok(rounds) = rounds.parse() else {
                eprintln!("usage: crash_test ROUNDS");
                return ExitCode::FAILURE;
            };
            runtime.block_on(run(rounds))
        }
    }
}

async fn run(rounds: u32) -> ExitCode {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut tally = Tally::default();
    let mut lab = Lab::new().await;
    for round in 0..rounds {
        if round > 0 && round % ROUNDS_A_STORE == 0 {
            lab = Lab::new().await;
        }
        // Half of the rounds at a random moment, half of them at a failpoint: each in turn.
        let death = match round % 2 {
            0 => Death::After { ms: random.random_range(5..400) },
            _ => Death::At {
                place: failpoint::ALL[(round / 2) as usize % failpoint::ALL.len()],
                times: random.random_range(1..25),
            },
        };
        lab.round(death, &mut tally).await;
        if round % 10 == 9 {
            eprintln!(
                "{} rounds, {} acknowledged, {}",
                round + 1,
                tally.acknowledged,
                tally.verdict()
            );
        }
    }
    for round in 0..DISK_FULL_ROUNDS {
        if let Err(error) = disk::round(&mut tally) {
            eprintln!("disk full, round {round}: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!("{:#}", report(rounds, &tally));
    if tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(rounds: u32, tally: &Tally) -> serde_json::Value {
    let goal = |value: u64| json!({"goal": "= 0", "value": value, "met": value == 0});
    json!({
        "rounds": rounds,
        "kills_at_failpoints": tally.at_failpoints,
        "kills_at_random": tally.at_random,
        "writers": round::WRITERS,
        "acknowledged": tally.acknowledged,
        "acknowledged_lost": tally.lost,
        "generation_regressions": tally.regressions,
        "torn_revisions": tally.torn,
        "audit_breaks": tally.audit_breaks,
        "restored_from_export": tally.restored,
        "disk_full": {
            "rounds": tally.disk_rounds,
            "acknowledged": tally.disk_acknowledged,
            "errors_told": tally.disk_errors,
            "acknowledged_lost": tally.disk_lost,
        },
        "goals": {
            "acknowledged_lost": goal(tally.lost),
            "generation_regressions": goal(tally.regressions),
            "torn_revisions": goal(tally.torn),
            "audit_breaks": goal(tally.audit_breaks),
            "disk_full_acknowledged_lost": goal(tally.disk_lost),
        },
    })
}
