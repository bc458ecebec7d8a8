//! The sockets of an uplink, and the threads that receive by them.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::handoff::Handoff;
use super::ingress;
use super::shared::Shared;
use super::spec::{Family, UplinkSpec};
use super::uplink::UplinkSocket;

#[derive(Debug, Default)]
pub(super) struct Uplink {
    pub(super) receivers: Vec<Receiver>,
}

/// A socket, its reader, and with several lanes a thread for each.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) socket: Arc<UplinkSocket>,
    handoff: Option<Arc<Handoff>>,
    threads: Vec<JoinHandle<()>>,
}

impl Uplink {
    /// Those that are what `spec` wants; the rest ends.
    pub(super) fn keep(self, spec: &UplinkSpec) -> Uplink {
        let (kept, ended) = self.receivers.into_iter().partition(|receiver| receiver.serves(spec));
        Uplink { receivers: ended }.end();
        Uplink { receivers: kept }
    }

    pub(super) fn has(&self, family: Family) -> bool {
        self.receivers.iter().any(|receiver| receiver.socket.family == family)
    }

    pub(super) fn end(self) {
        self.receivers.iter().for_each(Receiver::tell);
        self.receivers.into_iter().for_each(Receiver::join);
    }
}

impl Receiver {
    pub(super) fn start(
        shared: &Arc<Shared>,
        spec: &UplinkSpec,
        family: Family,
    ) -> io::Result<Receiver> {
        let socket = Arc::new(UplinkSocket::new(spec, family)?);
        // Here and not only in the thread, so that it can send as soon as the call is back.
        socket.ensure_open(shared);
        let lanes = shared.lanes.count();
        let handoff = (lanes > 1).then(|| Arc::new(Handoff::new(lanes)));
        let mut started = Receiver { socket, handoff, threads: Vec::new() };
        match started.start_threads(shared) {
            Ok(()) => Ok(started),
            Err(error) => {
                started.tell();
                started.join();
                Err(error)
            }
        }
    }

    fn start_threads(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        let id = self.socket.uplink;
        if let Some(handoff) = &self.handoff {
            for lane in 0..shared.lanes.count() {
                let (shared, handoff) = (shared.clone(), handoff.clone());
                let run = move || ingress::run_lane(&shared, &handoff, lane);
                let name = format!("uplink-{id}.{lane}");
                self.threads.push(thread::Builder::new().name(name).spawn(run)?);
            }
        }
        let (shared, socket) = (shared.clone(), self.socket.clone());
        let handoff = self.handoff.clone();
        let run = move || ingress::run(&shared, &socket, handoff.as_deref());
        let name = format!("uplink-{id}");
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    fn serves(&self, spec: &UplinkSpec) -> bool {
        self.socket.serves(spec) && !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Its threads end soon.
    fn tell(&self) {
        self.socket.stop.tell();
        self.handoff.iter().for_each(|handoff| handoff.close());
    }

    fn join(self) {
        for thread in self.threads {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}
