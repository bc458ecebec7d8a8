//! How fast the data plane is with everything switched on, beside the bare veth and beside other userspace tunnels.
//!
//! `bench_dataplane [--quick]` makes two network namespaces a contender, a veth pair between them and the contender's
//! two ends on it, and measures them in turns: TCP by iperf3, packet rates and delays by datagrams of its own. Prints
//! one JSON object of medians. Needs root and iperf3; peers that are not installed are left out. Progress goes to
//! stderr.

mod child;
mod cpu;
mod hawser;
#[path = "../../src/dataplane/tests/net.rs"]
mod net;
mod peers;
mod report;
mod rig;
mod run;
mod tcp;
mod udp;

use std::error::Error;

type Fault = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let effort = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run::Effort::FULL,
        ["--quick"] => run::Effort::QUICK,
        _ => return Err("usage: bench_dataplane [--quick]".into()),
    };
    let report = run::all(&effort)?;
    println!("{report:#}");
    Ok(())
}
