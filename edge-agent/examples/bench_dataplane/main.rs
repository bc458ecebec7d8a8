//! How fast the data plane is with everything switched on, beside the bare veth and beside other userspace tunnels.
//!
//! `bench_dataplane [--quick] [--lanes COUNT|auto]` makes two network namespaces a contender, a veth pair between them and the contender's
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

use hawser_edge::cli::dataplane_lanes;

type Fault = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: bench_dataplane [--quick] [--lanes COUNT|auto]";

fn main() -> Result<(), Fault> {
    let (mut effort, mut lanes) = (run::Effort::FULL, "auto".to_owned());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => effort = run::Effort::QUICK,
            "--lanes" => lanes = arguments.next().ok_or(USAGE)?,
            _ => return Err(USAGE.into()),
        }
    }
    let report = run::all(&effort, dataplane_lanes(&lanes)?)?;
    println!("{report:#}");
    Ok(())
}
