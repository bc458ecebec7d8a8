//! Agents that speak the protocol: they apply what comes, have it confirmed, and tell what four paths measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use hawser_proto::agent::v1::agent_link_client::AgentLinkClient;
use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::*;
use hawser_proto::config::v1::EdgeConfig;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::process::{Controller, EdgeIdentity};

pub const TELEMETRY_EVERY: Duration = Duration::from_secs(10);
/// Handshakes under way at once.
const AT_ONCE: usize = 64;

/// All agents; each reports when a generation reached it.
pub struct Agents {
    received: mpsc::UnboundedReceiver<Instant>,
    points: Arc<AtomicU64>,
}

impl Agents {
    /// Returns when every agent has its first generation.
    pub async fn connect(
        controller: &Controller,
        identities: Vec<EdgeIdentity>,
    ) -> Result<Self, String> {
        let (told, received) = mpsc::unbounded_channel();
        let points = Arc::new(AtomicU64::new(0));
        let count = identities.len();
        let opened = futures::stream::iter(identities.into_iter().enumerate())
            .map(|(index, identity)| {
                let (told, points) = (told.clone(), Arc::clone(&points));
                async move { open(controller, identity, index, count, told, points).await }
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        opened.into_iter().collect::<Result<Vec<()>, String>>()?;
        let mut agents = Self { received, points };
        agents.pushed(count, Instant::now(), Duration::from_secs(120)).await?;
        Ok(agents)
    }

    /// When so many agents got a generation, in milliseconds after `start`.
    pub async fn pushed(
        &mut self,
        count: usize,
        start: Instant,
        within: Duration,
    ) -> Result<Vec<f64>, String> {
        let mut times = Vec::with_capacity(count);
        let end = tokio::time::Instant::now() + within;
        while times.len() < count {
            match tokio::time::timeout_at(end, self.received.recv()).await {
                Ok(Some(at)) => {
                    times.push(at.saturating_duration_since(start).as_secs_f64() * 1_000.0);
                }
                _ => return Err(format!("{} of {count} agents got it", times.len())),
            }
        }
        Ok(times)
    }

    /// How many more get one in that time.
    pub async fn pushed_besides(&mut self, within: Duration) -> u64 {
        let end = tokio::time::Instant::now() + within;
        let mut more = 0;
        while let Ok(Some(_)) = tokio::time::timeout_at(end, self.received.recv()).await {
            more += 1;
        }
        more
    }

    /// Path samples that were sent.
    pub fn points_sent(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }
}

async fn open(
    controller: &Controller,
    identity: EdgeIdentity,
    index: usize,
    count: usize,
    told: mpsc::UnboundedSender<Instant>,
    points: Arc<AtomicU64>,
) -> Result<(), String> {
    let channel = controller.channel(Some(&identity)).await?;
    let (to_controller, messages) = mpsc::channel(16);
    let hello = Hello {
        protocol_major: 1,
        agent_version: "bench".into(),
        fleet: "bench".into(),
        edge: identity.edge.clone(),
        generations: Some(GenerationState::default()),
        boot_id: format!("boot-{index}"),
        ..Default::default()
    };
    let say = |message| AgentMessage { message: Some(message) };
    to_controller.send(say(FromAgent::Hello(hello))).await.map_err(|_| "closed")?;
    let stream = AgentLinkClient::new(channel).session(ReceiverStream::new(messages)).await;
    let mut stream = stream.map_err(|status| status.to_string())?.into_inner();
    // Reports of many agents are spread over the interval.
    let offset = TELEMETRY_EVERY.mul_f64(index as f64 / count as f64);
    tokio::spawn(async move {
        let mut paths = Vec::new();
        let begin = tokio::time::Instant::now() + offset;
        let mut reports = tokio::time::interval_at(begin, TELEMETRY_EVERY);
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                _ = reports.tick() => {
                    points.fetch_add(paths.len() as u64, Ordering::Relaxed);
                    let message = say(FromAgent::Telemetry(telemetry(&paths)));
                    if to_controller.send(message).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let Ok(Some(ControllerMessage { message: Some(message) })) = message else { return };
            if let ToAgent::Generation(generation) = message {
                // An error: the benchmark is over.
                let _ = told.send(Instant::now());
                let config = EdgeConfig::decode(&generation.config[..]).unwrap_or_default();
                let all = config.tunnels.iter().flat_map(|tunnel| &tunnel.paths);
                paths = all.map(|path| path.id).collect();
                let ack = say(FromAgent::Ack(Ack { id: generation.id }));
                if to_controller.send(ack).await.is_err() {
                    return;
                }
            }
        }
    });
    Ok(())
}

fn telemetry(paths: &[u32]) -> Telemetry {
    let sample = |&path_id: &u32| PathSample {
        path_id,
        state: PathState::Up.into(),
        rtt_us: 20_000,
        jitter_us: 500,
        tx_packets: 1_000,
        rx_packets: 1_000,
        verdicts: ["business", "calls", "bulk"]
            .map(|sla_class| ClassVerdict {
                sla_class: sla_class.into(),
                meets: true,
                ..Default::default()
            })
            .to_vec(),
        selected_for: vec!["default".into()],
        inner_mtu_bytes: 1_434,
        remote_endpoint: "192.0.2.1:4510".into(),
        ..Default::default()
    };
    Telemetry { paths: paths.iter().map(sample).collect(), ..Default::default() }
}
