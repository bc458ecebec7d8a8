//! The windows: one ring of samples, running sums over its long and its short end.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Figures, LinkQuality, mos_milli};
use crate::policy;
use crate::probe::{Ipdv, Outcome, Sample, Way};
use crate::time::Micros;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered(u32),
    Lost(Option<Way>),
}

#[derive(Debug, Clone, Copy)]
struct Record {
    sequence: u64,
    sent: Micros,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    answered: u32,
    rtt_us: u64,
    forward: u32,
    back: u32,
    unknown: u32,
}

impl Sums {
    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Answered(rtt_us) => {
                self.answered += 1;
                self.rtt_us += u64::from(rtt_us);
            }
            Fate::Lost(way) => *self.lost_mut(way) += 1,
        }
    }

    fn remove(&mut self, fate: Fate) {
        match fate {
            Fate::Answered(rtt_us) => {
                self.answered -= 1;
                self.rtt_us -= u64::from(rtt_us);
            }
            Fate::Lost(way) => *self.lost_mut(way) -= 1,
        }
    }

    fn lost_mut(&mut self, way: Option<Way>) -> &mut u32 {
        match way {
            Some(Way::Forward) => &mut self.forward,
            Some(Way::Back) => &mut self.back,
            None => &mut self.unknown,
        }
    }

    fn lost(&self) -> u32 {
        self.forward + self.back + self.unknown
    }

    fn probes(&self) -> u32 {
        self.answered + self.lost()
    }

    /// Losses of unknown way count on both: better too bad than too good.
    fn ppm(&self, lost: u32) -> u32 {
        match self.probes() {
            0 => 0,
            probes => (u64::from(lost) * 1_000_000 / u64::from(probes)) as u32,
        }
    }

    fn mean_us(&self) -> u32 {
        match self.answered {
            0 => 0,
            answered => (self.rtt_us / u64::from(answered)) as u32,
        }
    }
}

/// RFC 3550 appendix A.8: kept at 16 times its value.
#[derive(Debug, Default)]
struct Jitter(u64);

impl Jitter {
    fn step(&mut self, difference_us: u64) {
        self.0 = self.0 + difference_us - (self.0 + 8) / 16;
    }

    fn us(&self) -> u32 {
        (self.0 / 16).min(u64::from(u32::MAX)) as u32
    }
}

/// One path's recent probes.
#[derive(Debug, Default)]
pub struct QualityWindow {
    records: VecDeque<Record>,
    /// Records ever dropped from the front.
    dropped: u64,
    /// Index, counted with `dropped`, of the first record of the short window.
    short_from: u64,
    long: Sums,
    short: Sums,
    srtt_us: u64,
    jitter: Jitter,
    jitter_tx: Jitter,
    jitter_rx: Jitter,
    /// Sequence number and RTT of the newest answer.
    newest: Option<(u64, u32)>,
    last_answer: Option<Micros>,
}

impl QualityWindow {
    /// Takes a sample in.
    pub fn handle(&mut self, sample: &Sample) {
        match sample.outcome {
            Outcome::Rtt { rtt } => {
                let rtt_us = micros(rtt);
                self.answered(sample, rtt_us);
                self.push(sample, Fate::Answered(rtt_us));
            }
            Outcome::Lost { way } => self.push(sample, Fate::Lost(way)),
            Outcome::Late { rtt, .. } => {
                let rtt_us = micros(rtt);
                self.answered(sample, rtt_us);
                self.correct(sample.sequence, Fate::Answered(rtt_us));
            }
        }
        // After a correction, whose own loss may be among those of unknown way.
        self.settle(sample.settled.forward, Way::Forward);
        self.settle(sample.settled.back, Way::Back);
        self.advance(sample.known);
    }

    /// The smoothed round-trip time (RFC 6298); nothing before the first answer.
    pub fn usual_rtt(&self) -> Duration {
        Duration::from_micros(self.srtt_us)
    }

    /// Forgets what is too old at `now`.
    pub fn advance(&mut self, now: Micros) {
        while let Some(front) = self.records.front() {
            let old = now.since(front.sent) > policy::LONG_WINDOW;
            if !old && self.records.len() <= policy::LONG_WINDOW_SAMPLES {
                break;
            }
            let fate = front.fate;
            self.long.remove(fate);
            if self.short_from == self.dropped {
                self.short.remove(fate);
                self.short_from += 1;
            }
            self.dropped += 1;
            self.records.pop_front();
        }
        while let Some(record) = self.records.get((self.short_from - self.dropped) as usize) {
            if now.since(record.sent) <= policy::SHORT_WINDOW {
                break;
            }
            self.short.remove(record.fate);
            self.short_from += 1;
        }
    }

    /// As of the last `handle` or `advance`.
    pub fn figures(&self) -> Figures {
        Figures {
            rtt_us: self.srtt_us as u32,
            jitter_us: self.jitter.us(),
            jitter_tx_us: self.jitter_tx.us(),
            jitter_rx_us: self.jitter_rx.us(),
            loss_tx_ppm: self.long.ppm(self.long.forward + self.long.unknown),
            loss_rx_ppm: self.long.ppm(self.long.back + self.long.unknown),
            loss_round_trip_ppm: self.long.ppm(self.long.lost()),
            probes: self.long.probes(),
        }
    }

    /// Probes and losses of the long and of the short window.
    pub(crate) fn counts(&self) -> [(u32, u32); 2] {
        [self.long, self.short].map(|sums| (sums.probes(), sums.lost()))
    }

    /// The whole picture; sorts the long window.
    pub fn snapshot(&self) -> LinkQuality {
        let figures = self.figures();
        let mut rtts: Vec<u32> = self.records.iter().filter_map(rtt_of).collect();
        rtts.sort_unstable();
        // Nearest rank.
        let quantile = |percent: usize| match rtts.len() {
            0 => 0,
            n => rtts[(n * percent).div_ceil(100).max(1) - 1],
        };
        LinkQuality {
            figures,
            rtt_mean_us: self.short.mean_us(),
            rtt_min_us: rtts.first().copied().unwrap_or(0),
            rtt_p50_us: quantile(50),
            rtt_p95_us: quantile(95),
            rtt_p99_us: quantile(99),
            ipdv_mean_us: self.ipdv_mean_us(),
            loss_short_round_trip_ppm: self.short.ppm(self.short.lost()),
            probes_short: self.short.probes(),
            mos_milli: mos_milli(
                figures.rtt_us / 2,
                figures.jitter_tx_us.max(figures.jitter_rx_us),
                figures.loss_tx_ppm.max(figures.loss_rx_ppm),
            ),
            last_answer: self.last_answer,
        }
    }

    fn answered(&mut self, sample: &Sample, rtt_us: u32) {
        self.last_answer = self.last_answer.max(Some(sample.known));
        self.srtt_us = match self.newest {
            None => rtt_us.into(),
            Some(_) => (7 * self.srtt_us + u64::from(rtt_us)) / 8,
        };
        match self.newest {
            Some((sequence, before)) if sample.sequence > sequence => {
                let difference = u64::from(before.abs_diff(rtt_us));
                self.jitter.step(difference);
                let one_way = |us: fn(Ipdv) -> u32| sample.ipdv.map(us).map(u64::from);
                self.jitter_tx.step(one_way(|i| i.forward_us).unwrap_or(difference));
                self.jitter_rx.step(one_way(|i| i.back_us).unwrap_or(difference));
                self.newest = Some((sample.sequence, rtt_us));
            }
            Some(_) => {}
            None => self.newest = Some((sample.sequence, rtt_us)),
        }
    }

    fn push(&mut self, sample: &Sample, fate: Fate) {
        let record = Record { sequence: sample.sequence, sent: sample.sent, fate };
        self.records.push_back(record);
        self.long.add(fate);
        self.short.add(fate);
    }

    fn correct(&mut self, sequence: u64, fate: Fate) {
        let found = self.records.iter().rposition(|record| record.sequence == sequence);
        if let Some(index) = found {
            self.replace(index, fate);
        }
    }

    fn settle(&mut self, count: u32, way: Way) {
        for _ in 0..count {
            let unknown = |record: &Record| record.fate == Fate::Lost(None);
            let Some(index) = self.records.iter().rposition(unknown) else { return };
            self.replace(index, Fate::Lost(Some(way)));
        }
    }

    fn replace(&mut self, index: usize, fate: Fate) {
        let before = std::mem::replace(&mut self.records[index].fate, fate);
        self.long.remove(before);
        self.long.add(fate);
        if self.dropped + index as u64 >= self.short_from {
            self.short.remove(before);
            self.short.add(fate);
        }
    }

    fn ipdv_mean_us(&self) -> u32 {
        let mut answers: Vec<(u64, u32)> =
            self.records.iter().filter_map(|r| rtt_of(r).map(|rtt| (r.sequence, rtt))).collect();
        answers.sort_unstable();
        let neighbours = answers.windows(2).filter(|pair| pair[1].0 == pair[0].0 + 1);
        let (count, sum) = neighbours
            .map(|pair| u64::from(pair[1].1.abs_diff(pair[0].1)))
            .fold((0u64, 0u64), |(count, sum), ipdv| (count + 1, sum + ipdv));
        sum.checked_div(count).unwrap_or(0) as u32
    }
}

fn rtt_of(record: &Record) -> Option<u32> {
    match record.fate {
        Fate::Answered(rtt_us) => Some(rtt_us),
        Fate::Lost(_) => None,
    }
}

fn micros(time: Duration) -> u32 {
    time.as_micros().min(u128::from(u32::MAX)) as u32
}
