//! The receiver's record, and the questions it answers. Pure.

use serde::{Deserialize, Serialize};

/// Arrivals kept: 5.5 hours at 200 packets/s. Later ones are only counted.
const MAX_ARRIVALS: usize = 4_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub seq: u64,
    pub sent_ns: u64,
    pub arrived_ns: u64,
}

/// Arrivals in order of time.
#[derive(Debug, Default)]
pub struct Record {
    arrivals: Vec<Arrival>,
    overflow: u64,
    foreign: u64,
    kernel_drops: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub arrivals: u64,
    /// Different sequence numbers among them.
    pub unique: u64,
    pub highest_seq: Option<u64>,
    pub last_arrived_ns: Option<u64>,
    /// Datagrams without the marker.
    pub foreign: u64,
    /// Arrivals beyond the record's bound, and datagrams that the kernel dropped before they were read. Above zero,
    /// losses and gaps may be the receiver's own.
    pub overflow: u64,
    pub kernel_drops: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub arrivals: u64,
    /// The longest time without an arrival that ends in the window, its start possibly before.
    pub silence_ns: u64,
    pub silence_from_ns: u64,
    /// Whether that silence lasted to the window's end, so that it may have gone on.
    pub silence_open: bool,
    /// Time from sending to arrival, of the window's arrivals.
    pub delay_p50_us: Option<u64>,
    pub delay_p99_us: Option<u64>,
    pub delay_max_us: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    pub expected: u64,
    pub lost: u64,
    /// Arrivals beyond the first of a sequence number.
    pub duplicates: u64,
    /// First arrivals after one with a higher sequence number.
    pub reordered: u64,
    /// The longest run of lost sequence numbers.
    pub longest_run: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_lost: Option<u64>,
}

impl Record {
    /// Notes an arrival. A time before that of the last one counts as equal to it.
    pub fn push(&mut self, mut arrival: Arrival) {
        if self.arrivals.len() == MAX_ARRIVALS {
            self.overflow += 1;
            return;
        }
        if let Some(last) = self.arrivals.last() {
            arrival.arrived_ns = arrival.arrived_ns.max(last.arrived_ns);
        }
        self.arrivals.push(arrival);
    }

    pub fn note_foreign(&mut self) {
        self.foreign += 1;
    }

    /// The kernel counts from the socket's start.
    pub fn note_kernel_drops(&mut self, so_far: u64) {
        self.kernel_drops = self.kernel_drops.max(so_far);
    }

    #[must_use]
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut seqs: Vec<u64> = self.arrivals.iter().map(|arrival| arrival.seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        Totals {
            arrivals: self.arrivals.len() as u64,
            unique: seqs.len() as u64,
            highest_seq: seqs.last().copied(),
            last_arrived_ns: self.arrivals.last().map(|last| last.arrived_ns),
            foreign: self.foreign,
            overflow: self.overflow,
            kernel_drops: self.kernel_drops,
        }
    }

    /// What arrived from `from_ns` up to `to_ns`. Where nothing arrived before, silence begins at `from_ns`.
    #[must_use]
    pub fn window(&self, from_ns: u64, to_ns: u64) -> Window {
        let begin = self.arrivals.partition_point(|arrival| arrival.arrived_ns < from_ns);
        let end = self.arrivals.partition_point(|arrival| arrival.arrived_ns <= to_ns);
        let inside = self.arrivals.get(begin..end).unwrap_or_default();
        let mut window = Window { arrivals: inside.len() as u64, ..Window::default() };
        let before = begin.checked_sub(1).map(|at| self.arrivals[at].arrived_ns);
        let mut last_ns = before.unwrap_or(from_ns);
        for arrival in inside {
            window.hear(last_ns, arrival.arrived_ns, false);
            last_ns = arrival.arrived_ns;
        }
        window.hear(last_ns, to_ns, true);
        let mut delays_us: Vec<u64> = inside
            .iter()
            .map(|arrival| arrival.arrived_ns.saturating_sub(arrival.sent_ns) / 1_000)
            .collect();
        delays_us.sort_unstable();
        window.delay_p50_us = nearest_rank(&delays_us, 50);
        window.delay_p99_us = nearest_rank(&delays_us, 99);
        window.delay_max_us = delays_us.last().copied();
        window
    }

    /// What became of a range of sequence numbers, the end excluded.
    #[must_use]
    pub fn loss(&self, from_seq: u64, to_seq: u64) -> Loss {
        let mut loss = Loss { expected: to_seq.saturating_sub(from_seq), ..Loss::default() };
        let wanted = self.arrivals.iter().map(|arrival| arrival.seq);
        let mut seen: Vec<u64> = wanted.filter(|seq| (from_seq..to_seq).contains(seq)).collect();
        let mut highest = None;
        let mut met = std::collections::BTreeSet::new();
        for &seq in &seen {
            if !met.insert(seq) {
                loss.duplicates += 1;
            } else if Some(seq) < highest {
                loss.reordered += 1;
            }
            highest = highest.max(Some(seq));
        }
        seen.sort_unstable();
        let mut next = from_seq;
        for seq in seen.into_iter().chain([to_seq.max(from_seq)]) {
            let missing = seq.saturating_sub(next);
            loss.lost += missing;
            if missing > 0 {
                loss.first_lost.get_or_insert(next);
            }
            loss.longest_run = loss.longest_run.max(missing);
            next = next.max(seq + 1);
        }
        loss
    }
}

impl Window {
    fn hear(&mut self, from_ns: u64, to_ns: u64, open: bool) {
        let silence_ns = to_ns.saturating_sub(from_ns);
        if silence_ns > self.silence_ns {
            self.silence_ns = silence_ns;
            self.silence_from_ns = from_ns;
            self.silence_open = open;
        }
    }
}

/// The smallest value with at least `pct` of all at or below it.
fn nearest_rank(sorted: &[u64], pct: usize) -> Option<u64> {
    let rank = (sorted.len() * pct).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}
