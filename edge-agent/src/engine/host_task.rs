//! Keeps the host's kernel as the generation wants it, off the engine's own task: netlink and nft take milliseconds,
//! and probes must not wait for them.

use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::config::{EdgeState, Fault};
use hawser_edge_core::reconcile::Observed;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::host::{Carriers, Changes, Host, HostError, missing_interfaces};

/// Kernel events are heard; this is for what sends none (nftables, sysctls).
const RECONCILE_EVERY: Duration = Duration::from_secs(10);
/// Changes come in bursts (a link with its addresses and routes).
const SETTLE: Duration = Duration::from_millis(100);
const REQUESTS: usize = 16;

/// What the engine asks.
enum Request {
    /// Are this generation's interfaces there?
    Check(Arc<EdgeState>, oneshot::Sender<Result<Observed, Vec<Fault>>>),
    /// Make it so, now and from now on.
    Hold(Arc<EdgeState>, oneshot::Sender<Result<Observed, Vec<Fault>>>),
}

/// The engine's end.
#[derive(Clone)]
pub struct HostHandle {
    requests: mpsc::Sender<Request>,
}

impl HostHandle {
    /// Looks for what the generation needs.
    ///
    /// # Errors
    /// Every interface that is missing.
    pub async fn check(&self, edge: Arc<EdgeState>) -> Result<Observed, Vec<Fault>> {
        self.ask(|reply| Request::Check(edge, reply)).await
    }

    /// Reconciles now, and keeps this generation in place from now on.
    ///
    /// # Errors
    /// Every step that failed.
    pub async fn hold(&self, edge: Arc<EdgeState>) -> Result<Observed, Vec<Fault>> {
        self.ask(|reply| Request::Hold(edge, reply)).await
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<Observed, Vec<Fault>>>) -> Request,
    ) -> Result<Observed, Vec<Fault>> {
        let (reply, answer) = oneshot::channel();
        let gone = || vec![fault("HOST_TASK_GONE", "the agent is stopping".to_owned())];
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Starts the task. `observed` gets every later look at the kernel; what is given back tells carriers long before that.
///
/// # Errors
/// The kernel refuses a netlink socket.
pub fn start(
    observed: mpsc::Sender<Observed>,
) -> Result<(HostHandle, watch::Receiver<Carriers>), HostError> {
    let (requests, inbox) = mpsc::channel(REQUESTS);
    let changes = Changes::subscribe()?;
    let carriers = changes.carriers();
    let task = HostTask { host: Host::open()?, changes, held: None, observed };
    tokio::spawn(task.run(inbox));
    Ok((HostHandle { requests }, carriers))
}

struct HostTask {
    host: Host,
    changes: Changes,
    held: Option<Arc<EdgeState>>,
    observed: mpsc::Sender<Observed>,
}

impl HostTask {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut next = Instant::now() + RECONCILE_EVERY;
        loop {
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(request) => self.serve(request).await,
                    None => return,
                },
                () = self.changes.wait() => {
                    next = next.min(Instant::now() + SETTLE);
                    continue;
                }
                () = sleep_until(next) => self.tend().await,
            }
            next = Instant::now() + RECONCILE_EVERY;
        }
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Check(edge, reply) => {
                let answer = match self.host.observe(&edge).await {
                    Ok(seen) => match missing_interfaces(&edge, &seen) {
                        faults if faults.is_empty() => Ok(seen),
                        faults => Err(faults),
                    },
                    Err(error) => Err(vec![fault("HOST_UNREADABLE", chain(&error))]),
                };
                let _ = reply.send(answer);
            }
            Request::Hold(edge, reply) => {
                self.held = Some(edge.clone());
                self.changes.watch(edge.uplinks.values().map(|u| u.interface.clone()).collect());
                let _ = reply.send(self.reconcile(&edge).await);
            }
        }
    }

    async fn tend(&mut self) {
        let Some(edge) = self.held.clone() else { return };
        match self.reconcile(&edge).await {
            Ok(seen) => {
                // The engine is busy: it gets the next look.
                let _ = self.observed.try_send(seen);
            }
            Err(faults) => {
                for fault in faults {
                    tracing::warn!(
                        code = fault.code,
                        "{}; tried again in {RECONCILE_EVERY:?}",
                        fault.message
                    );
                }
            }
        }
    }

    async fn reconcile(&mut self, edge: &EdgeState) -> Result<Observed, Vec<Fault>> {
        let (seen, reports) = self
            .host
            .reconcile(edge)
            .await
            .map_err(|error| vec![fault("HOST_UNREADABLE", chain(&error))])?;
        let mut faults = Vec::new();
        for report in reports {
            match report.result {
                Ok(()) => tracing::debug!(step = ?report.step, "applied"),
                Err(error) => faults.push(fault(
                    "HOST_STEP_FAILED",
                    format!("{}: {}", describe(&report.step), chain(&error)),
                )),
            }
        }
        if faults.is_empty() { Ok(seen) } else { Err(faults) }
    }
}

fn describe(step: &hawser_edge_core::reconcile::Step) -> String {
    use hawser_edge_core::reconcile::Step;
    match step {
        Step::LoadGuard(_) => "load the nftables guard".to_owned(),
        Step::AddRoute(r) => format!("add route {} in table {}", r.prefix, r.table),
        Step::RemoveRoute(r) => format!("remove route {} from table {}", r.prefix, r.table),
        Step::AddRule(r) => format!("add rule {} to table {}", r.priority, r.table),
        Step::RemoveRule(r) => format!("remove rule {} to table {}", r.priority, r.table),
        Step::SetSysctl(name, value) => format!("set {name} to {value}"),
        Step::AddInterface(name, _) => format!("add interface {name}"),
        Step::RemoveInterface(name) => format!("remove interface {name}"),
    }
}

fn fault(code: &'static str, message: String) -> Fault {
    Fault {
        code,
        path: "host".to_owned(),
        message,
        mend: "look at the agent's log; it needs CAP_NET_ADMIN, nftables and the kernel's policy routing"
            .to_owned(),
    }
}

/// An error with everything below it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        text = format!("{text}: {below}");
        source = below.source();
    }
    text
}
