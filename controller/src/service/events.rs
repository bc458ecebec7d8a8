//! What happened, for people: a bounded ring and a broadcast to whoever watches.

use std::collections::VecDeque;
use std::sync::Mutex;

use hawser_proto::operator::v1::Event;
use tokio::sync::broadcast;

use crate::clock::now_unix_ms;

/// Events kept for those who ask later.
const KEPT: usize = 10_000;
/// Events that a watcher may be behind before it misses some.
const WATCH_DEPTH: usize = 1_024;

#[derive(Debug)]
pub struct Events {
    ring: Mutex<Ring>,
    watchers: broadcast::Sender<Event>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Event>,
    next_sequence: u64,
}

impl Default for Events {
    fn default() -> Self {
        let ring = Ring { events: VecDeque::new(), next_sequence: 1 };
        Self { ring: Mutex::new(ring), watchers: broadcast::channel(WATCH_DEPTH).0 }
    }
}

impl Events {
    /// Gives the event its sequence number, and the time if it has none.
    pub fn publish(&self, mut event: Event) {
        let mut ring = self.ring.lock().unwrap_or_else(|e| e.into_inner());
        event.sequence = ring.next_sequence;
        ring.next_sequence += 1;
        if event.unix_ms == 0 {
            event.unix_ms = now_unix_ms();
        }
        if ring.events.len() == KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(event.clone());
        // Sent under the lock, so that a subscriber misses none and gets none twice. An error:
        // nobody watches.
        let _ = self.watchers.send(event);
    }

    /// The newest `limit` events since then, oldest first.
    pub fn list(&self, since_unix_ms: u64, limit: usize) -> Vec<Event> {
        let ring = self.ring.lock().unwrap_or_else(|e| e.into_inner());
        let mut newest: Vec<Event> = ring
            .events
            .iter()
            .rev()
            .filter(|event| event.unix_ms >= since_unix_ms)
            .take(limit)
            .cloned()
            .collect();
        newest.reverse();
        newest
    }

    /// What is kept since then (0: nothing of it), and what comes.
    pub fn subscribe(&self, since_unix_ms: u64) -> Subscription {
        let ring = self.ring.lock().unwrap_or_else(|e| e.into_inner());
        let backlog = match since_unix_ms {
            0 => VecDeque::new(),
            since => ring.events.iter().filter(|event| event.unix_ms >= since).cloned().collect(),
        };
        Subscription { backlog, live: self.watchers.subscribe(), dropped: 0 }
    }
}

/// One watcher's view.
#[derive(Debug)]
pub struct Subscription {
    backlog: VecDeque<Event>,
    live: broadcast::Receiver<Event>,
    dropped: u64,
}

impl Subscription {
    /// `None` when there will be no more. An event says how many were missed before it.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.backlog.pop_front() {
            return Some(event);
        }
        loop {
            match self.live.recv().await {
                Ok(mut event) => {
                    event.dropped_before = std::mem::take(&mut self.dropped);
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => self.dropped += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// An event of the controller's own.
pub fn event(code: &str, site: &str, edge: &str, message: impl Into<String>) -> Event {
    Event {
        code: code.to_owned(),
        site: site.to_owned(),
        edge: edge.to_owned(),
        message: message.into(),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(n: u64) -> Event {
        let mut event = event("TEST", "", "", n.to_string());
        event.unix_ms = n;
        event
    }

    #[tokio::test]
    async fn a_watcher_that_is_too_slow_is_told_how_many_it_missed() {
        let events = Events::default();
        let mut watcher = events.subscribe(0);
        let extra = 7;
        for n in 1..=WATCH_DEPTH as u64 + extra {
            events.publish(numbered(n));
        }
        let first = watcher.next().await.unwrap();
        assert_eq!((first.sequence, first.dropped_before), (extra + 1, extra));
        assert_eq!(watcher.next().await.unwrap().dropped_before, 0);
    }

    #[tokio::test]
    async fn a_watcher_from_the_past_gets_the_backlog_then_what_comes() {
        let events = Events::default();
        for n in 1..=4 {
            events.publish(numbered(n));
        }
        let mut watcher = events.subscribe(3);
        events.publish(numbered(5));
        for expected in 3..=5 {
            assert_eq!(watcher.next().await.unwrap().sequence, expected);
        }
    }

    #[test]
    fn the_ring_keeps_the_newest() {
        let events = Events::default();
        for n in 1..=KEPT as u64 + 5 {
            events.publish(numbered(n));
        }
        let all = events.list(0, usize::MAX);
        assert_eq!(all.len(), KEPT);
        assert_eq!(all[0].sequence, 6);
        assert_eq!(events.list(0, 2)[0].sequence, KEPT as u64 + 4);
    }
}
