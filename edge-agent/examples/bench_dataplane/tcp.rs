//! TCP through a contender, by iperf3.

use std::time::Duration;

use serde_json::Value;

use crate::Fault;
use crate::child::{Process, until};
use crate::rig::Rig;

/// Gbit/s of payload from A to B, as the receiver counts it.
pub fn gbps(rig: &Rig, flows: usize, seconds: u32) -> Result<f64, Fault> {
    let report = run(rig, flows, seconds, "")?;
    received(&report, "sum_received")
}

/// Both ways at once: A to B, B to A.
pub fn gbps_both_ways(rig: &Rig, seconds: u32) -> Result<[f64; 2], Fault> {
    let report = run(rig, 1, seconds, "--bidir")?;
    Ok([received(&report, "sum_received")?, received(&report, "sum_received_bidir_reverse")?])
}

fn received(report: &Value, sum: &str) -> Result<f64, Fault> {
    let bits = report["end"][sum]["bits_per_second"].as_f64();
    Ok(bits.ok_or_else(|| format!("iperf3: {}", report["error"]))? / 1e9)
}

fn run(rig: &Rig, flows: usize, seconds: u32, more: &str) -> Result<Value, Fault> {
    let [from, to] = rig.addresses;
    let bind = to.to_string();
    let mut server = Process::start(&rig.b, &["iperf3", "-s", "-1", "-B", &bind], &[])?;
    until(Duration::from_secs(5), || {
        let listening = rig.b.run("ss -Htln sport = :5201");
        (!listening.stdout.is_empty()).then_some(()).ok_or("iperf3 does not listen".into())
    })?;
    let line = format!(
        "iperf3 -c {to} -B {from} -P {flows} -t {seconds} --connect-timeout 2000 -J {more}"
    );
    let output = rig.a.run(&line);
    // It ends by itself after one test.
    let ended = || server.has_ended().then_some(()).ok_or("iperf3 does not end".into());
    let _ = until(Duration::from_secs(2), ended);
    Ok(serde_json::from_slice(&output.stdout)?)
}
