//! When and how a peer is dialled.

use std::time::Duration;

use hawser_edge_core::id::EdgeId;
use hawser_edge_core::time::Micros;
use tokio::task::AbortHandle;

use super::{Actor, Input};
use crate::peer::api::{PeerEvent, PeerTimers};
use crate::peer::close::Ended;
use crate::peer::link;
use crate::peer::shared::add;

/// The edge of the higher ID lets the other one dial first: one connection instead of two.
const POLITE_PAUSE: Duration = Duration::from_millis(250);

/// The state of our attempts.
pub(super) struct Dialler {
    next: Micros,
    attempts: usize,
    under_way: Option<AbortHandle>,
}

impl Dialler {
    /// Due at once, or after a pause.
    pub(super) fn new(now: Micros, local: EdgeId, peer: EdgeId) -> Self {
        let next = if local > peer { now + POLITE_PAUSE } else { now };
        Dialler { next, attempts: 0, under_way: None }
    }

    /// There is a connection, or was: begin from the start.
    pub(super) fn reset(&mut self, now: Micros) {
        self.attempts = 0;
        self.next = now;
    }

    /// Ends the attempt under way.
    pub(super) fn abort(&mut self) {
        if let Some(task) = self.under_way.take() {
            task.abort();
        }
    }

    fn failed(&mut self, now: Micros, timers: &PeerTimers) {
        let doubled = timers.retry_min.saturating_mul(1 << self.attempts.min(10));
        let pause = doubled.min(timers.retry_max).mul_f64(rand::random_range(0.75..1.25));
        self.attempts += 1;
        self.next = now + pause;
    }

    /// All ways at once, and every other time only one, in turn: see `PeerRoutes::set_focus`.
    fn focus(&self) -> Option<usize> {
        (self.attempts % 2 == 1).then_some(self.attempts / 2)
    }
}

impl Actor {
    /// When a connection should be opened: without one, or when ours must be replaced.
    pub(super) fn next_dial(&self) -> Option<Micros> {
        if self.dialler.under_way.is_some() {
            return None;
        }
        let due = match self.current_link() {
            None => Some(Micros(0)),
            Some(link) => link.replace_at,
        };
        due.map(|due| due.max(self.dialler.next))
    }

    pub(super) fn dial_if_due(&mut self, now: Micros) {
        if self.next_dial().is_none_or(|at| now < at) {
            return;
        }
        let edge = self.config.edge;
        if !self.shared.routes.has_candidates(edge) {
            // They come from the engine, by way of the routes: look again soon.
            self.dialler.next = now + self.shared.settings.timers.retry_min;
            return;
        }
        self.shared.routes.set_focus(edge, self.dialler.focus());
        let limit = self.shared.settings.timers.handshake;
        let attempt = link::open(self.shared.clone(), edge, self.config.edge_name.clone());
        let inputs = self.myself.clone();
        let task = self.tasks.spawn(async move {
            let input = match tokio::time::timeout(limit, attempt).await {
                Ok(Ok(greeted)) => Input::Link(Box::new(greeted)),
                Ok(Err(ended)) => Input::DialFailed(ended),
                Err(_) => Input::DialFailed(Ended::new("timeout", "no answer in time")),
            };
            let _ = inputs.send(input).await;
        });
        self.dialler.under_way = Some(task);
    }

    pub(super) fn dial_succeeded(&mut self, now: Micros) {
        self.dialler.under_way = None;
        self.dialler.reset(now);
        self.shared.routes.keep_focus(self.config.edge);
        self.last_refusal = None;
    }

    pub(super) async fn on_dial_failed(&mut self, ended: Ended) {
        self.dialler.under_way = None;
        self.dialler.failed(self.shared.now(), &self.shared.settings.timers);
        self.shared.routes.set_focus(self.config.edge, None);
        if ended.is_silence() {
            return;
        }
        add(&self.shared.counts.refused);
        // Each kind once, not at each attempt.
        if self.last_refusal.replace(ended.code) != Some(ended.code) {
            let Ended { code, detail } = ended;
            let edge_name = Some(self.config.edge_name.clone());
            self.shared.tell(PeerEvent::PeerRefused { edge_name, from: None, code, detail }).await;
        }
    }
}
