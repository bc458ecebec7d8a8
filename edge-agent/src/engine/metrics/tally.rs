//! What must be counted as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_edge_core::id::{ClassId, TunnelId};
use hawser_edge_core::time::Micros;

type Key = (TunnelId, ClassId);

/// Bounded by the generation's tunnels and classes, and by the causes in the code.
pub struct Metrics {
    max_series: usize,
    headless: Stopwatch,
    moves: BTreeMap<Key, BTreeMap<&'static str, u64>>,
    out_of_sla: BTreeMap<Key, Stopwatch>,
}

impl Metrics {
    /// Without a controller until one is there.
    pub fn new(max_series: u32, now: Micros) -> Self {
        let mut headless = Stopwatch::default();
        headless.run(true, now);
        let max_series = usize::try_from(max_series).unwrap_or(usize::MAX);
        Metrics { max_series, headless, moves: BTreeMap::new(), out_of_sla: BTreeMap::new() }
    }

    pub fn max_series(&self) -> usize {
        self.max_series
    }

    pub fn connected(&mut self, connected: bool, now: Micros) {
        self.headless.run(!connected, now);
    }

    /// A class of a tunnel moved.
    pub fn moved(&mut self, key: Key, cause: &'static str) {
        *self.moves.entry(key).or_default().entry(cause).or_default() += 1;
    }

    /// Whether the path that a class of a tunnel is on meets its SLA from now on.
    pub fn judged(&mut self, key: Key, meets: bool, now: Micros) {
        self.out_of_sla.entry(key).or_default().run(!meets, now);
    }

    /// Forgets tunnels and classes that are gone.
    pub fn retain(&mut self, stays: impl Fn(&Key) -> bool) {
        self.moves.retain(|key, _| stays(key));
        self.out_of_sla.retain(|key, _| stays(key));
    }

    pub fn headless(&self, now: Micros) -> Duration {
        self.headless.read(now)
    }

    pub fn moves(&self, key: Key) -> impl Iterator<Item = (&'static str, u64)> {
        self.moves.get(&key).into_iter().flatten().map(|(cause, count)| (*cause, *count))
    }

    pub fn out_of_sla(&self, key: Key, now: Micros) -> Duration {
        self.out_of_sla.get(&key).map(|watch| watch.read(now)).unwrap_or_default()
    }
}

/// Time in which something was so.
#[derive(Debug, Default)]
struct Stopwatch {
    before: Duration,
    since: Option<Micros>,
}

impl Stopwatch {
    fn run(&mut self, on: bool, now: Micros) {
        match (on, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(_)) => {
                self.before = self.read(now);
                self.since = None;
            }
            _ => {}
        }
    }

    fn read(&self, now: Micros) -> Duration {
        self.before + self.since.map(|at| now.since(at)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (TunnelId(1), ClassId(2));

    #[test]
    fn time_counts_while_it_is_so() {
        let mut metrics = Metrics::new(1, Micros(0));
        metrics.connected(true, Micros(5_000_000));
        metrics.connected(true, Micros(6_000_000));
        assert_eq!(metrics.headless(Micros(9_000_000)).as_secs(), 5);
        metrics.connected(false, Micros(10_000_000));
        metrics.connected(false, Micros(11_000_000));
        assert_eq!(metrics.headless(Micros(13_000_000)).as_secs(), 8);

        metrics.judged(KEY, false, Micros(0));
        metrics.judged(KEY, true, Micros(2_000_000));
        assert_eq!(metrics.out_of_sla(KEY, Micros(9_000_000)).as_secs(), 2);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut metrics = Metrics::new(1, Micros(0));
        metrics.moved(KEY, "START");
        metrics.moved(KEY, "PATH_DOWN");
        metrics.moved(KEY, "PATH_DOWN");
        metrics.judged(KEY, false, Micros(0));
        assert_eq!(metrics.moves(KEY).collect::<Vec<_>>(), [("PATH_DOWN", 2), ("START", 1)]);
        metrics.retain(|_| false);
        assert_eq!(metrics.moves(KEY).count(), 0);
        assert!(metrics.out_of_sla(KEY, Micros(1)).is_zero());
    }
}
