//! The task that keeps charon as the generation wants it, and tells what becomes of each tunnel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::config::{IkeAuth, IkeTunnel};
use hawser_edge_core::ike::{
    self, Blocked, Change, Credential, Lack, Monitor, PREFIX, Proof, Sample, State, Watched,
    connection, lacks_for_key,
};
use hawser_edge_core::time::Micros;
use hawser_proto::agent::v1 as wire;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::listen::{self, Heard};
use super::supervise::Supervisor;
use super::{Charon, CharonOptions, ClientError, certificates, ledger, secrets};
use crate::control::files::private_dir;

/// Counters are that old at most; what changes is told by charon at once.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Changes come in bursts.
const SETTLE: Duration = Duration::from_millis(50);
/// Others may have unloaded what is ours.
const RECONCILE_EVERY: Duration = Duration::from_secs(30);

/// One tunnel, with the addresses that its uplink has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub tunnel: IkeTunnel,
    pub local: Vec<IpAddr>,
}

/// `None`: no generation has said yet, and what an earlier agent left goes on.
type Said = Option<Arc<Vec<Wanted>>>;

/// The engine's end.
pub struct IkeHandle {
    wanted: watch::Sender<Said>,
    samples: watch::Receiver<Arc<Vec<wire::IkeSample>>>,
}

impl IkeHandle {
    /// What there must be from now on.
    pub fn hold(&self, wanted: Vec<Wanted>) {
        self.wanted.send_if_modified(|now| {
            let changed = now.as_deref() != Some(&wanted);
            if changed {
                *now = Some(Arc::new(wanted));
            }
            changed
        });
    }

    #[must_use]
    pub fn samples(&self) -> Arc<Vec<wire::IkeSample>> {
        self.samples.borrow().clone()
    }

    /// Wakes when a state changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Vec<wire::IkeSample>>> {
        self.samples.clone()
    }
}

/// Starts the task; charon only when there is a tunnel. Both end with `stop`.
pub fn start(
    state_dir: &Path,
    options: CharonOptions,
    tell: impl Fn(Change) + Send + Sync + 'static,
    stop: CancellationToken,
) -> (IkeHandle, JoinHandle<()>) {
    let (wanted, inbox) = watch::channel(None);
    let (published, samples) = watch::channel(Arc::new(Vec::new()));
    let task = Task {
        state_dir: state_dir.to_owned(),
        supervisor: Supervisor::new(state_dir, options),
        charon: None,
        heard: None,
        wanted: inbox,
        published,
        monitor: Monitor::default(),
        said: BTreeMap::new(),
        refused: BTreeMap::new(),
        reconcile_at: Instant::now(),
        quiet: true,
        tell: Box::new(tell),
        start: Instant::now(),
    };
    (IkeHandle { wanted, samples }, tokio::spawn(task.run(stop)))
}

struct Task {
    state_dir: PathBuf,
    supervisor: Supervisor,
    charon: Option<Charon>,
    heard: Option<mpsc::Receiver<Heard>>,
    wanted: watch::Receiver<Said>,
    published: watch::Sender<Arc<Vec<wire::IkeSample>>>,
    monitor: Monitor,
    /// What charon was brought to last.
    said: BTreeMap<String, ike::Wanted>,
    /// Tunnels that charon did not take, and why.
    refused: BTreeMap<String, Blocked>,
    reconcile_at: Instant,
    /// No tunnel is wanted, and nothing is left of earlier ones; or nothing is known yet.
    quiet: bool,
    tell: Box<dyn Fn(Change) + Send + Sync>,
    start: Instant,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.quiet = false;
                }
                heard = hear(&mut self.heard) => {
                    match heard {
                        None => self.heard = None,
                        Some(Heard::Changed) => next = next.min(Instant::now() + SETTLE),
                        Some(Heard::Line { connection, line }) => {
                            tracing::debug!(connection, "charon: {line}");
                            self.monitor.heard(&connection, &line).into_iter().for_each(&self.tell);
                        }
                    }
                    continue;
                }
                () = sleep_until(next), if !self.quiet => {}
            }
            let Some(wanted) = self.wanted.borrow_and_update().clone() else { continue };
            self.look(&wanted).await;
            next = Instant::now() + LOOK_EVERY;
            if let Some(at) = self.monitor.next_attempt() {
                next = next.min(self.start + Duration::from_micros(at.0));
            }
        }
        self.supervisor.stop().await;
    }

    fn now(&self) -> Micros {
        Micros(self.start.elapsed().as_micros() as u64)
    }

    async fn look(&mut self, wanted: &[Wanted]) {
        let ready = self.open(wanted).await;
        let (desired, mut watched) = self.desired(wanted, ready.err().as_ref());
        if let Some(charon) = self.charon.take() {
            match self.converse(charon, &desired, &mut watched).await {
                Ok(charon) => self.charon = Some(charon),
                Err(error) => tracing::warn!("charon is lost: {}", crate::engine::chain(&error)),
            }
        }
        if self.charon.is_none() {
            let now = self.now();
            let mut changes = self.monitor.configure(&watched, now);
            changes.extend(self.monitor.observe(&[], now));
            changes.into_iter().for_each(&self.tell);
        }
        self.publish();
        if wanted.is_empty() {
            // Also what an agent before this one has left.
            self.charon = None;
            self.heard = None;
            self.said.clear();
            self.supervisor.stop().await;
            self.quiet = true;
        }
    }

    /// A charon, if any tunnel needs one.
    async fn open(&mut self, wanted: &[Wanted]) -> Result<(), Blocked> {
        if self.charon.is_some() || wanted.is_empty() {
            return Ok(());
        }
        let mut charon = self.supervisor.open().await?;
        if let Some(process) = charon.process() {
            let (digests, keys) = ledger::read(self.supervisor.folder(), process);
            charon.adopt(digests, keys);
        }
        self.charon = Some(charon);
        self.reconcile_at = Instant::now();
        self.said.clear();
        if self.heard.is_none() {
            self.heard = Some(listen::start(self.supervisor.socket()));
        }
        Ok(())
    }

    /// What charon must hold, and what is to be watched, blocked tunnels too.
    fn desired(
        &self,
        wanted: &[Wanted],
        down: Option<&Blocked>,
    ) -> (BTreeMap<String, ike::Wanted>, BTreeMap<String, Watched>) {
        let (mut desired, mut watched) = (BTreeMap::new(), BTreeMap::new());
        for one in wanted {
            let tunnel = &one.tunnel;
            let made = match down {
                Some(blocked) => Err(blocked.clone()),
                None => self.made(one),
            };
            let children = made.as_ref().map(|m| m.connection.children.keys().cloned().collect());
            let refused = self.refused.get(&tunnel.name).cloned();
            watched.insert(
                tunnel.name.clone(),
                Watched {
                    start: tunnel.start,
                    children: children.unwrap_or_default(),
                    blocked: made.as_ref().err().cloned().or(refused),
                },
            );
            if let Ok(made) = made {
                desired.insert(tunnel.name.clone(), made);
            }
        }
        (desired, watched)
    }

    fn made(&self, wanted: &Wanted) -> Result<ike::Wanted, Blocked> {
        let mut tunnel = wanted.tunnel.clone();
        let (proof, credential) = match &tunnel.auth {
            IkeAuth::Psk(name) => {
                (Proof::Psk, Credential::Psk(secrets::read(&self.state_dir, name)?))
            }
            IkeAuth::Certificate { own, peer_ca } => {
                let (own, cas) = (own.as_deref(), peer_ca.clone());
                let own = certificates::own(&self.state_dir, own)?;
                let daemon = self.charon.as_ref().map(Charon::daemon);
                if let Some(lack) = daemon.and_then(|daemon| lacks_for_key(daemon, own.kind)) {
                    let Lack { code, message, mend } = lack;
                    return Err(Blocked { code, message, mend });
                }
                let peer_cas = certificates::peer_cas(&self.state_dir, &cas)?;
                if tunnel.local_id.is_empty() {
                    tunnel.local_id.clone_from(&own.name);
                }
                let (key_id, key, authorities) = (own.key_id, own.key, own.authorities);
                (
                    Proof::Certificate { own: own.certificate, peer_cas },
                    Credential::Certificate { key_id, key, authorities },
                )
            }
        };
        let connection = connection(&tunnel, &wanted.local, proof).ok_or_else(|| Blocked {
            code: "IKE_NO_ADDRESS",
            message: "its uplink has no address of the peer's address family".to_owned(),
            mend: "give the uplink an address, or the tunnel another uplink".to_owned(),
        })?;
        Ok(ike::Wanted { connection, credential })
    }

    /// Everything that is said to charon in one round. After an error it must be opened anew.
    async fn converse(
        &mut self,
        mut charon: Charon,
        desired: &BTreeMap<String, ike::Wanted>,
        watched: &mut BTreeMap<String, Watched>,
    ) -> Result<Charon, ClientError> {
        if self.said != *desired || Instant::now() >= self.reconcile_at {
            self.refused.clear();
            for report in charon.reconcile(desired).await? {
                let bare = report.step.name().strip_prefix(PREFIX).unwrap_or_default();
                match report.result {
                    Ok(()) => tracing::debug!(step = ?report.step, "charon did it"),
                    Err(error) => {
                        let blocked = refusal(&error);
                        if let Some(watched) = watched.get_mut(bare) {
                            watched.blocked.get_or_insert_with(|| blocked.clone());
                        }
                        self.refused.insert(bare.to_owned(), blocked);
                    }
                }
            }
            self.said.clone_from(desired);
            self.remember(&charon);
            self.reconcile_at = Instant::now() + RECONCILE_EVERY;
        }
        let now = self.now();
        self.monitor.configure(watched, now).into_iter().for_each(&self.tell);
        let sas = charon.sas().await?;
        self.monitor.observe(&sas, now).into_iter().for_each(&self.tell);
        for attempt in self.monitor.attempts(now, rand::random) {
            match charon.initiate(&attempt).await {
                Ok(()) => tracing::debug!(?attempt, "tried again"),
                Err(error @ ClientError::Refused { .. }) => {
                    tracing::warn!(?attempt, "{}", crate::engine::chain(&error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(charon)
    }

    /// Without it the next agent negotiates anew, no more.
    fn remember(&self, charon: &Charon) {
        let Some(process) = charon.process() else { return };
        let folder = self.supervisor.folder();
        let written = private_dir(folder)
            .and_then(|()| ledger::write(folder, process, charon.digests(), charon.own_keys()));
        if let Err(error) = written {
            tracing::warn!("{}", crate::engine::chain(&error));
        }
    }

    /// A change of counters alone wakes nobody.
    fn publish(&self) {
        let unix_now_ms = crate::engine::unix_ms();
        let now = self.now();
        let since = |at: Micros| unix_now_ms.saturating_sub(now.since(at).as_millis() as u64);
        let new: Vec<_> =
            self.monitor.samples().map(|sample| on_wire(sample, since(sample.since))).collect();
        self.published.send_if_modified(|old| {
            let states = |samples: &[wire::IkeSample]| -> Vec<(String, i32, String)> {
                samples.iter().map(|s| (s.name.clone(), s.state, s.reason.clone())).collect()
            };
            let changed = states(old) != states(&new);
            *old = Arc::new(new);
            changed
        });
    }
}

async fn hear(heard: &mut Option<mpsc::Receiver<Heard>>) -> Option<Heard> {
    match heard {
        Some(inbox) => inbox.recv().await,
        None => std::future::pending().await,
    }
}

fn refusal(error: &ClientError) -> Blocked {
    Blocked {
        code: "IKE_REFUSED",
        message: crate::engine::chain(error),
        mend: "compare the tunnel's suite and groups with what this strongSwan has".to_owned(),
    }
}

fn on_wire(sample: &Sample, since_unix_ms: u64) -> wire::IkeSample {
    let state = match sample.state {
        State::Blocked => wire::IkeState::Blocked,
        State::Waiting => wire::IkeState::Waiting,
        State::Connecting => wire::IkeState::Connecting,
        State::Authenticated => wire::IkeState::Authenticated,
        State::Up => wire::IkeState::Up,
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    wire::IkeSample {
        name: sample.name.clone(),
        state: state.into(),
        reason: sample.reason.clone(),
        local_address: sample.local_host.clone(),
        remote_address: sample.remote_host.clone(),
        children_up: count(sample.children_up),
        children: count(sample.children),
        tx_packets: sample.traffic.tx_packets,
        tx_bytes: sample.traffic.tx_bytes,
        rx_packets: sample.traffic.rx_packets,
        rx_bytes: sample.traffic.rx_bytes,
        rekeys: sample.rekeys,
        retries: sample.retries,
        since_unix_ms,
        // The engine's to know.
        links: Vec::new(),
        moves: 0,
    }
}
