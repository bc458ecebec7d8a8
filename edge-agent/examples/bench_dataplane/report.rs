//! From single figures to the report: medians, ratios, goals.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::peers::LIBIPSEC;
use crate::run::{Effort, Figures, HAWSER, PAYLOADS_BYTES, Results, VETH};

pub fn json(results: &Results, effort: &Effort) -> Value {
    let tcp = medians(&results.tcp_gbps);
    let [small, large] =
        PAYLOADS_BYTES.map(|bytes| results.kpps.get(&bytes).map(medians).unwrap_or_default());
    let ours = |figures: &BTreeMap<String, f64>| figures.get(HAWSER).copied();
    let ratio = |of: &BTreeMap<String, f64>, to: Option<f64>| Some(ours(of)? / to?);
    let ratio_best_peer = ratio(&tcp, best(&tcp));
    let ratio_libipsec = ratio(&tcp, tcp.get(LIBIPSEC).copied());
    let udp64_ratio_best_peer = ratio(&small, best(&small));
    let p50 = added(&results.delay_p50_us);
    let p99 = added(&results.delay_p99_us);
    let sa_mib = results.features.bytes_per_1000_sas as f64 / f64::from(1 << 20);
    json!({
        "veth_gbps": tcp.get(VETH),
        "hawser_gbps": ours(&tcp),
        "peers": peers(&tcp),
        "ratio_best_peer": ratio_best_peer,
        "ratio_libipsec": ratio_libipsec,
        "udp64_kpps": ours(&small),
        "udp64_kpps_peers": peers(&small),
        "udp1300_kpps": ours(&large),
        "udp1300_kpps_peers": peers(&large),
        "latency_added_us_p50": p50.get(HAWSER),
        "latency_added_us_p99": p99.get(HAWSER),
        "latency_added_us_p50_peers": peers(&p50),
        "latency_added_us_p99_peers": peers(&p99),
        "flows": results.flows_gbps.iter()
            .map(|(flows, gbps)| (flows.to_string(), median(gbps).into()))
            .collect::<Map<String, Value>>(),
        "both_ways_gbps": {
            "a_to_b": median(&results.both_ways_gbps[0]),
            "b_to_a": median(&results.both_ways_gbps[1]),
        },
        "suites": medians(&results.suites_gbps),
        "cpu": results.cpu.iter()
            .map(|(kind, [user, system])| {
                (kind.clone(), json!({"user": median(user), "kernel": median(system)}))
            })
            .collect::<Map<String, Value>>(),
        "memory_bytes_per_1000_sas": results.features.bytes_per_1000_sas,
        "features_on": {
            "suite": results.features.suite.name(),
            "replay_window_packets": results.features.replay_window_packets,
            "esn": results.features.esn,
            "lanes": results.features.lanes,
            "counters": true,
            "classes": results.features.classes,
            "sas_loaded": results.features.sas_loaded,
        },
        "runs": {
            "tcp_gbps": results.tcp_gbps,
            "kpps": results.kpps.iter()
                .map(|(bytes, figures)| (bytes.to_string(), json!(figures)))
                .collect::<Map<String, Value>>(),
            "delay_us_p50": results.delay_p50_us,
            "delay_us_p99": results.delay_p99_us,
            "flows_gbps": results.flows_gbps.iter()
                .map(|(flows, gbps)| (flows.to_string(), json!(gbps)))
                .collect::<Map<String, Value>>(),
            "suites_gbps": results.suites_gbps,
        },
        "rounds": effort.rounds,
        "seconds_per_run": effort.seconds_per_run,
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "optimised": !cfg!(debug_assertions),
        "drops": { "a": results.drops[0], "b": results.drops[1] },
        "goals": {
            "hawser_gbps": at_least(6.0, ours(&tcp)),
            "ratio_best_peer": at_least(8.0, ratio_best_peer),
            "ratio_libipsec": at_least(15.0, ratio_libipsec),
            "udp64_ratio_best_peer": at_least(3.0, udp64_ratio_best_peer),
            "latency_added_us_p99": at_most(100.0, p99.get(HAWSER).copied()),
            "memory_mib_per_1000_sas": at_most(32.0, Some(sa_mib)),
        },
    })
}

fn at_least(goal: f64, value: Option<f64>) -> Value {
    json!({"goal": format!(">= {goal}"), "value": value, "met": value.is_some_and(|v| v >= goal)})
}

fn at_most(goal: f64, value: Option<f64>) -> Value {
    json!({"goal": format!("<= {goal}"), "value": value, "met": value.is_some_and(|v| v <= goal)})
}

fn is_peer(name: &str) -> bool {
    name != HAWSER && name != VETH
}

fn peers(figures: &BTreeMap<String, f64>) -> BTreeMap<&str, f64> {
    figures.iter().filter(|(name, _)| is_peer(name)).map(|(name, v)| (name.as_str(), *v)).collect()
}

fn best(figures: &BTreeMap<String, f64>) -> Option<f64> {
    peers(figures).into_values().max_by(f64::total_cmp)
}

/// What a contender adds to the bare veth of the same round: the median over rounds.
fn added(figures: &Figures) -> BTreeMap<String, f64> {
    let Some(bare) = figures.get(VETH) else { return BTreeMap::new() };
    let over = |values: &[f64]| {
        let added: Vec<f64> = values.iter().zip(bare).map(|(value, bare)| value - bare).collect();
        median(&added)
    };
    figures
        .iter()
        .filter(|(name, _)| *name != VETH)
        .map(|(name, values)| (name.clone(), over(values)))
        .collect()
}

fn medians(figures: &Figures) -> BTreeMap<String, f64> {
    figures.iter().map(|(name, values)| (name.clone(), median(values))).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    nearest_rank(&sorted, 50)
}

/// Of sorted values; 0 of none.
pub fn nearest_rank(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}
