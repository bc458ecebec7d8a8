//! Accepted connections: admitted, identified, handed to their peer's actor.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hawser_edge_core::id::EdgeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::actor::Input;
use super::admission::{Admission, AdmissionControl, FULL};
use super::api::PeerEvent;
use super::close::{Close, Ended};
use super::link;
use super::lru::Lru;
use super::routes::RealAddress;
use super::shared::{Shared, add};
use super::virtual_address::VirtualPeer;

/// The configured peers by name: who they are and who handles them.
pub(super) type Directory = BTreeMap<String, (EdgeId, mpsc::Sender<Input>)>;

/// Refusals of one source and kind are told once in this time; all are counted.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(10);
/// Sources and kinds remembered for that.
const MAX_REFUSALS: usize = 256;

/// Runs until the endpoint is closed.
pub(super) async fn serve(shared: Arc<Shared>, directory: Arc<ArcSwap<Directory>>) {
    let mut admission = AdmissionControl::new();
    let mut told = Lru::new(MAX_REFUSALS);
    let slots = Arc::new(Semaphore::new(FULL));
    let mut handshakes: JoinSet<Result<(), Refused>> = JoinSet::new();
    loop {
        tokio::select! {
            incoming = shared.endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                if let Some((incoming, from, slot)) =
                    admit(&shared, &mut admission, &slots, incoming)
                {
                    let (shared, directory) = (shared.clone(), directory.clone());
                    handshakes.spawn(handshake(shared, directory, incoming, from, slot));
                }
            }
            Some(done) = handshakes.join_next() => {
                if let Ok(Err(refused)) = done {
                    tell(&shared, &mut told, refused);
                }
            }
        }
    }
}

/// A failed handshake.
struct Refused {
    from: RealAddress,
    edge_name: Option<String>,
    ended: Ended,
}

fn admit(
    shared: &Shared,
    admission: &mut AdmissionControl,
    slots: &Arc<Semaphore>,
    incoming: quinn::Incoming,
) -> Option<(quinn::Incoming, RealAddress, OwnedSemaphorePermit)> {
    let from = VirtualPeer::from_address(incoming.remote_address())
        .and_then(|peer| shared.routes.real_of(peer));
    let unfinished = FULL - slots.available_permits();
    let judged = from.map(|(uplink, address)| {
        let proven = incoming.remote_address_validated();
        let verdict = admission.judge(address.ip(), proven, unfinished, Instant::now());
        (verdict, (uplink, address))
    });
    match (judged, slots.clone().try_acquire_owned()) {
        (Some((Admission::Accept, from)), Ok(slot)) => return Some((incoming, from, slot)),
        (Some((Admission::Retry, _)), _) => match incoming.retry() {
            Ok(()) => add(&shared.counts.retried),
            Err(refused) => {
                refused.into_incoming().ignore();
                add(&shared.counts.ignored);
            }
        },
        _ => {
            incoming.ignore();
            add(&shared.counts.ignored);
        }
    }
    None
}

async fn handshake(
    shared: Arc<Shared>,
    directory: Arc<ArcSwap<Directory>>,
    incoming: quinn::Incoming,
    from: RealAddress,
    slot: OwnedSemaphorePermit,
) -> Result<(), Refused> {
    let mut edge_name = None;
    let limit = shared.settings.timers.handshake;
    let greeted = tokio::time::timeout(limit, async {
        let named = link::identify(incoming.accept()?).await?;
        edge_name = Some(named.certificate.edge.clone());
        let known = directory.load().get(&named.certificate.edge).cloned();
        let Some((edge, actor)) = known else {
            named.refuse(Close::UnknownPeer);
            return Err(Ended::new("unknown_peer", "no tunnel to this edge is configured"));
        };
        Ok((named.greet(&shared, edge, from).await?, actor))
    });
    let ended = match greeted.await {
        Ok(Ok((greeted, actor))) => {
            drop(slot);
            // The actor is gone with its tunnel: so is the connection.
            let _ = actor.send(Input::Link(Box::new(greeted))).await;
            return Ok(());
        }
        Ok(Err(ended)) => ended,
        Err(_) => Ended::new("timeout", "the handshake took too long"),
    };
    Err(Refused { from, edge_name, ended })
}

fn tell(shared: &Shared, told: &mut Lru<(IpAddr, &'static str), Instant>, refused: Refused) {
    let Refused { from, edge_name, ended } = refused;
    add(&shared.counts.refused);
    let kind = (from.1.ip(), ended.code);
    let now = Instant::now();
    let recent = told.get(&kind).is_some_and(|last| now.duration_since(last) < REFUSAL_INTERVAL);
    let silent = ended.is_silence();
    let Ended { code, detail } = ended;
    let event = PeerEvent::PeerRefused { edge_name, from: Some(from), code, detail };
    if silent || recent || shared.events.try_send(event).is_err() {
        add(&shared.counts.events_suppressed);
    } else {
        told.insert(kind, now);
    }
}
