//! One series: fine points, then wider buckets.

use std::collections::VecDeque;

use super::Dropped;

/// The worst that was seen in a bucket counts: a second of darkness must not vanish in an hour of light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Up,
    Connecting,
    Down,
}

/// What was measured from `at_ms` on, for `span_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub at_ms: u64,
    pub span_ms: u32,
    pub state: State,
    /// Traffic of some class was on it at some time.
    pub carries: bool,
    /// Figures hold only if it was up for a while.
    pub measured: bool,
    pub rtt_us: u32,
    pub jitter_us: u32,
    pub loss_tx_ppm: u32,
    pub loss_rx_ppm: u32,
}

impl Point {
    pub fn ends_ms(&self) -> u64 {
        self.at_ms.saturating_add(u64::from(self.span_ms))
    }

    /// Means are weighted by time.
    fn absorb(&mut self, other: &Point) {
        let end = self.ends_ms().max(other.ends_ms());
        let (a, b) = (u64::from(self.span_ms.max(1)), u64::from(other.span_ms.max(1)));
        if other.measured {
            let (a, b) = if self.measured { (a, b) } else { (0, b) };
            let mean = |x: u32, y: u32| {
                let sum =
                    u64::from(x).saturating_mul(a).saturating_add(u64::from(y).saturating_mul(b));
                u32::try_from(sum / (a + b)).unwrap_or(u32::MAX)
            };
            self.rtt_us = mean(self.rtt_us, other.rtt_us);
            self.jitter_us = mean(self.jitter_us, other.jitter_us);
            self.loss_tx_ppm = mean(self.loss_tx_ppm, other.loss_tx_ppm);
            self.loss_rx_ppm = mean(self.loss_rx_ppm, other.loss_rx_ppm);
            self.measured = true;
        }
        self.state = self.state.max(other.state);
        self.carries |= other.carries;
        let span = end.saturating_sub(self.at_ms);
        self.span_ms = u32::try_from(span).unwrap_or(u32::MAX);
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub fine: usize,
    pub coarse: usize,
    pub step_ms: u64,
    pub bucket_ms: u64,
    pub keep_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series {
    pub(super) coarse: VecDeque<Point>,
    pub(super) fine: VecDeque<Point>,
}

impl Series {
    pub fn len(&self) -> usize {
        self.coarse.len() + self.fine.len()
    }

    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.coarse.iter().chain(&self.fine)
    }

    pub fn take(&mut self, point: Point, limits: &Limits, dropped: &mut Dropped) {
        self.forget_the_future(point.at_ms, dropped);
        match self.fine.back_mut() {
            // A change of state begins a point of its own: a chart shows when.
            Some(last)
                if point.ends_ms() <= last.at_ms.saturating_add(limits.step_ms)
                    && point.state == last.state =>
            {
                last.absorb(&point);
            }
            _ => self.fine.push_back(point),
        }
        self.shrink(point.at_ms, limits, dropped);
    }

    fn forget_the_future(&mut self, now_ms: u64, dropped: &mut Dropped) {
        for ring in [&mut self.fine, &mut self.coarse] {
            while ring.back().is_some_and(|point| point.at_ms > now_ms) {
                ring.pop_back();
                dropped.expired += 1;
            }
        }
    }

    fn shrink(&mut self, now_ms: u64, limits: &Limits, dropped: &mut Dropped) {
        while self.fine.len() > limits.fine {
            let Some(point) = self.fine.pop_front() else { break };
            match self.coarse.back_mut() {
                Some(last) if last.at_ms / limits.bucket_ms == point.at_ms / limits.bucket_ms => {
                    last.absorb(&point);
                    dropped.merged += 1;
                }
                _ => self.coarse.push_back(point),
            }
        }
        let oldest_ms = now_ms.saturating_sub(limits.keep_ms);
        while self.coarse.len() > limits.coarse
            || self.coarse.front().is_some_and(|point| point.ends_ms() < oldest_ms)
        {
            self.coarse.pop_front();
            dropped.expired += 1;
        }
        while self.fine.front().is_some_and(|point| point.ends_ms() < oldest_ms) {
            self.fine.pop_front();
            dropped.expired += 1;
        }
    }
}
