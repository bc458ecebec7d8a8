//! The thread that keeps manual tunnels, and tells what becomes of each. A thread of its own: its netlink calls wait for the
//! kernel.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hawser_edge_core::ike::{Blocked, Change};
use hawser_edge_core::manual::{Keys, Wanted};
use hawser_proto::agent::v1 as wire;
use tokio::sync::watch;

use super::kernel::Kernel;
use super::relays::Relays;
use super::{Outcome, Traffic, no_address};
use crate::engine::unix_ms;

/// Secrets may have been put here, others may have taken out what is ours, and counters grow.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A newer word replaces one that was not looked at.
const WORDS: usize = 1;

/// The engine's end. The thread ends with it.
pub struct ManualHandle {
    wanted: watch::Sender<Option<Arc<Vec<Wanted>>>>,
    wake: Option<SyncSender<()>>,
    samples: watch::Receiver<Arc<Vec<wire::IkeSample>>>,
    thread: Option<JoinHandle<()>>,
}

impl ManualHandle {
    /// What there must be from now on.
    pub fn hold(&self, wanted: Vec<Wanted>) {
        let changed = self.wanted.send_if_modified(|now| {
            let changed = now.as_deref() != Some(&wanted);
            if changed {
                *now = Some(Arc::new(wanted));
            }
            changed
        });
        if let (true, Some(wake)) = (changed, &self.wake) {
            match wake.try_send(()) {
                // It will look anyway.
                Ok(()) | Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => tracing::error!("manual tunnels: no thread"),
            }
        }
    }

    /// In the words that IKE tunnels have.
    #[must_use]
    pub fn samples(&self) -> Arc<Vec<wire::IkeSample>> {
        self.samples.borrow().clone()
    }
}

impl Drop for ManualHandle {
    /// What the kernel protects stays; what this process protects ends with it.
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `kernel_protects`: with the kernel driver. In the caller's network namespace.
///
/// # Errors
/// There is no thread to be had.
pub fn start(
    state_dir: &Path,
    kernel_protects: bool,
    tell: impl Fn(Change) + Send + 'static,
) -> std::io::Result<ManualHandle> {
    let (wanted, inbox) = watch::channel(None);
    let (published, samples) = watch::channel(Arc::new(Vec::new()));
    let (wake, woken) = sync_channel(WORDS);
    let keeper = Keeper {
        state_dir: state_dir.to_owned(),
        kernel_protects,
        kernel: None,
        relays: Relays::default(),
        wanted: inbox,
        published,
        states: BTreeMap::new(),
        tell: Box::new(tell),
        quiet: false,
    };
    let thread = thread::Builder::new().name("manual".into()).spawn(move || keeper.run(&woken))?;
    Ok(ManualHandle { wanted, wake: Some(wake), samples, thread: Some(thread) })
}

/// How a tunnel stood last: the code of what ails it, empty while it is there.
struct Stood {
    code: &'static str,
    since_unix_ms: u64,
}

struct Keeper {
    state_dir: PathBuf,
    kernel_protects: bool,
    kernel: Option<Kernel>,
    relays: Relays,
    wanted: watch::Receiver<Option<Arc<Vec<Wanted>>>>,
    published: watch::Sender<Arc<Vec<wire::IkeSample>>>,
    states: BTreeMap<String, Stood>,
    tell: Box<dyn Fn(Change) + Send>,
    /// None is wanted, and nothing is left of earlier ones.
    quiet: bool,
}

impl Keeper {
    fn run(mut self, woken: &Receiver<()>) {
        loop {
            match woken.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            }
            let Some(wanted) = self.wanted.borrow_and_update().clone() else { continue };
            if wanted.is_empty() && self.quiet {
                continue;
            }
            self.look(&wanted);
            self.quiet = wanted.is_empty();
        }
    }

    fn look(&mut self, wanted: &[Wanted]) {
        let keyed: Vec<Result<Keys, Blocked>> = wanted.iter().map(|w| self.keys(w)).collect();
        let ready: Vec<(&Wanted, &Keys)> = wanted
            .iter()
            .zip(&keyed)
            .filter_map(|(w, keys)| Some((w, keys.as_ref().ok()?)))
            .collect();
        let mut outcomes = self.bring(&ready).into_iter();
        let stands: Vec<Outcome> = keyed
            .iter()
            .map(|keys| match keys {
                Ok(_) => outcomes.next().unwrap_or_else(|| Ok(Traffic::default())),
                Err(blocked) => Err(blocked.clone()),
            })
            .collect();
        self.note(wanted, &stands);
        let samples = wanted.iter().zip(&stands).map(|(w, stand)| self.sample(w, stand)).collect();
        self.published.send_replace(Arc::new(samples));
    }

    /// All that can be there; what can't is taken away.
    fn bring(&mut self, ready: &[(&Wanted, &Keys)]) -> Vec<Outcome> {
        if self.kernel.is_none() {
            self.kernel = Kernel::open().ok();
        }
        match (&mut self.kernel, self.kernel_protects) {
            (Some(kernel), true) => kernel.bring(ready),
            (None, true) => {
                let lacks = || Blocked {
                    code: "MANUAL_KERNEL_REFUSED",
                    message: "the kernel has no IPsec".to_owned(),
                    mend: "run the agent with --driver userspace".to_owned(),
                };
                ready.iter().map(|_| Err(lacks())).collect()
            }
            (kernel, false) => {
                // Of an agent that had the other driver: it would take the packets away.
                if let Some(kernel) = kernel {
                    kernel.bring(&[]);
                }
                self.relays.bring(ready)
            }
        }
    }

    fn keys(&self, wanted: &Wanted) -> Result<Keys, Blocked> {
        if wanted.local.is_none() {
            return Err(no_address(wanted));
        }
        super::keys(&self.state_dir, &wanted.tunnel)
    }

    /// Tells of what changed.
    fn note(&mut self, wanted: &[Wanted], stands: &[Outcome]) {
        self.states.retain(|name, _| wanted.iter().any(|w| w.tunnel.name == *name));
        for (wanted, stand) in wanted.iter().zip(stands) {
            let name = &wanted.tunnel.name;
            let code = stand.as_ref().err().map_or("", |blocked| blocked.code);
            if self.states.get(name).is_some_and(|stood| stood.code == code) {
                continue;
            }
            self.states.insert(name.clone(), Stood { code, since_unix_ms: unix_ms() });
            let (code, message) = match stand {
                Ok(_) => ("MANUAL_TUNNEL_UP", format!("with {}", wanted.tunnel.peer_address)),
                Err(blocked) => (blocked.code, format!("{}; {}", blocked.message, blocked.mend)),
            };
            (self.tell)(Change { code, tunnel: name.clone(), message });
        }
    }

    fn sample(&self, wanted: &Wanted, stand: &Outcome) -> wire::IkeSample {
        let since_unix_ms =
            self.states.get(&wanted.tunnel.name).map_or(0, |stood| stood.since_unix_ms);
        let sample = wire::IkeSample {
            name: wanted.tunnel.name.clone(),
            local_address: wanted.local.map(|local| local.to_string()).unwrap_or_default(),
            remote_address: wanted.tunnel.peer_address.to_string(),
            children: 1,
            since_unix_ms,
            ..Default::default()
        };
        match stand {
            Ok(traffic) => wire::IkeSample {
                state: wire::IkeState::Up.into(),
                children_up: 1,
                tx_packets: traffic.tx_packets,
                tx_bytes: traffic.tx_bytes,
                rx_packets: traffic.rx_packets,
                rx_bytes: traffic.rx_bytes,
                ..sample
            },
            Err(blocked) => wire::IkeSample {
                state: wire::IkeState::Blocked.into(),
                reason: format!("{} [{}]", blocked.message, blocked.code),
                ..sample
            },
        }
    }
}
