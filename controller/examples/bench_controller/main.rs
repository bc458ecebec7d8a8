//! `bench_controller [AGENTS]`: one controller process, many agents with real gRPC streams over loopback, each with four
//! paths. Prints the report; progress on stderr.

mod agents;
mod compile;
mod process;
mod statistics;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use hawser_proto::operator::v1::operator_client::OperatorClient;
use hawser_proto::operator::v1::{ApplyRequest, GetStatusRequest};
use serde_json::{Value, json};
use tonic::Request;
use tonic::transport::Channel;

use agents::{Agents, TELEMETRY_EVERY};
use process::Controller;
use statistics::Runs;

const AGENTS: usize = 2_000;
/// Changes that concern everybody, and changes that concern one.
const PUSHES: usize = 10;
/// Telemetry flows undisturbed for so long while the process is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// A push that is not everywhere by then has failed.
const PUSHED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
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
    eprintln!("1,000 sites compiled in {} ms", compiled.all_ms);
    let controller = Controller::start().await?;
    let mut operator = Operator::connect(&controller).await?;
    operator.apply(&compile::pairs(count, 0, 0)).await?;
    let identities = controller.identities(count)?;
    eprintln!("{count} identities");

    let start = Instant::now();
    let mut agents = Agents::connect(&controller, identities).await?;
    let connect_all_s = start.elapsed().as_secs_f64();
    eprintln!("all connected and applied after {connect_all_s:.1} s");
    operator.converged(count).await?;

    let mut all = Runs::default();
    for n in 1..=PUSHES {
        let start = Instant::now();
        operator.apply(&compile::pairs(count, n, 0)).await?;
        all.extend(agents.pushed(count, start, PUSHED_WITHIN).await?);
    }
    let (mut one, mut others) = (Runs::default(), 0);
    for n in 1..=PUSHES {
        let start = Instant::now();
        operator.apply(&compile::pairs(count, PUSHES, n)).await?;
        one.extend(agents.pushed(1, start, PUSHED_WITHIN).await?);
        others += agents.pushed_besides(Duration::from_secs(1)).await;
    }
    eprintln!("pushed; now {} s of telemetry", WATCHED.as_secs());
    let (before, points_before) = (controller.usage()?, agents.points_sent());
    let start = Instant::now();
    tokio::time::sleep(WATCHED).await;
    let seconds = start.elapsed().as_secs_f64();
    let usage = controller.usage()?;
    let status = operator.status().await?;
    let counter = |name: &str| status.counters.get(name).copied().unwrap_or(0);
    let (p50, p99) = (all.p50(), all.p99());
    Ok(json!({
        "agents": count,
        "paths_per_agent": 4,
        "telemetry_every_s": TELEMETRY_EVERY.as_secs(),
        "connect_all_s": connect_all_s,
        "push_all_p50_ms": p50,
        "push_all_p99_ms": p99,
        "push_all_max_ms": all.max(),
        "push_all_runs": all.count(),
        "push_one_ms": one.p50(),
        "push_one_max_ms": one.max(),
        "push_one_others": others,
        "rss_mib": usage.rss_mib,
        "cpu_cores": (usage.cpu_s - before.cpu_s) / seconds,
        "telemetry_points_per_s": (agents.points_sent() - points_before) as f64 / seconds,
        "samples_dropped": counter("samples_dropped"),
        "agents_connected_at_end": status.edges_connected,
        "compile_ms": {"sites": compile::SITES, "all": compiled.all_ms, "one_changed": compiled.one_changed_ms},
        "goals": {
            "push_one_others": {"goal": "= 0", "value": others, "met": others == 0},
            "samples_dropped": {"goal": "= 0", "value": counter("samples_dropped"), "met": counter("samples_dropped") == 0},
            "agents_connected_at_end": {"goal": format!("= {count}"), "value": status.edges_connected, "met": status.edges_connected as usize == count},
        },
    }))
}

struct Operator {
    client: OperatorClient<Channel>,
    bearer: String,
}

impl Operator {
    async fn connect(controller: &Controller) -> Result<Self, String> {
        let client = OperatorClient::new(controller.channel(None).await?);
        Ok(Self { client, bearer: format!("Bearer {}", controller.token()) })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = self.bearer.parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }

    async fn apply(&mut self, document: &str) -> Result<(), String> {
        let asked = ApplyRequest { document: document.as_bytes().to_vec(), ..Default::default() };
        let request = self.request(asked);
        let done = self.client.apply(request).await.map_err(|status| status.to_string())?;
        match done.into_inner().faults.first() {
            None => Ok(()),
            Some(fault) => Err(format!("{}: {}", fault.path, fault.message)),
        }
    }

    async fn status(&mut self) -> Result<hawser_proto::operator::v1::GetStatusResponse, String> {
        let request = self.request(GetStatusRequest {});
        let status = self.client.get_status(request).await;
        status.map(tonic::Response::into_inner).map_err(|status| status.to_string())
    }

    async fn converged(&mut self, count: usize) -> Result<(), String> {
        let end = Instant::now() + PUSHED_WITHIN;
        while self.status().await?.edges_converged as usize != count {
            if Instant::now() > end {
                return Err("the fleet does not converge".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
