//! Two paths' probes on one grid.

use super::{Entry, TICKS_PER_MS, Tick};

/// A probe's fate stands for the path until the next probe, but no longer than this: idle paths are probed each half second.
const HOLD_TICKS: u64 = 2_000 * TICKS_PER_MS;
/// A piece of less than this tells nothing of a policy.
const LEAST_TICKS: u64 = 10_000 * TICKS_PER_MS;
/// Pieces of one pair; what comes after more gaps is left out.
const MAX_PIECES: usize = 1_000;

/// Rows of one piece: what [`crate::replay::Trace`] reads, a week at 5 Hz.
const MAX_ROWS: usize = 3_000_000;

/// Two uplinks side by side without a gap: columns `t_ms`, then the RTT in ms of each; an empty field is a lost probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `<edge>-<peer>-<uplink>-<uplink>-<begin>.csv`
    pub file_name: String,
    pub columns: [String; 2],
    pub begin: Tick,
    pub grid_ms: u32,
    /// RTT in ticks; `None`: lost.
    pub rows: Vec<[Option<u32>; 2]>,
}

impl Trace {
    /// Of the file, each with its newline.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let head = format!("t_ms,{},{}\n", self.columns[0], self.columns[1]);
        let rows = self.rows.iter().enumerate().map(|(index, [a, b])| {
            format!("{},{},{}\n", index as u64 * u64::from(self.grid_ms), field(*a), field(*b))
        });
        std::iter::once(head).chain(rows)
    }
}

fn field(rtt: Option<u32>) -> String {
    let per_ms = TICKS_PER_MS as u32;
    rtt.map_or_else(String::new, |ticks| format!("{}.{}", ticks / per_ms, ticks % per_ms))
}

/// Both in the order of sending. A new trace begins after each gap of either.
pub(super) fn traces(
    stem: &str,
    columns: &[String; 2],
    probes: [&[Entry]; 2],
    grid_ms: u32,
) -> Vec<Trace> {
    let step = u64::from(grid_ms.max(1)) * TICKS_PER_MS;
    let Some(begin) = probes.iter().filter_map(|p| p.first()).map(|e| e.sent.0).max() else {
        return Vec::new();
    };
    let end = probes.iter().filter_map(|p| p.last()).map(|e| e.sent.0).min().unwrap_or(0);
    let mut cursors = probes.map(Cursor::new);
    let mut traces = Vec::new();
    let mut rows: Vec<[Option<u32>; 2]> = Vec::new();
    let mut at = begin - begin % step;
    let mut started = at;
    while at <= end && traces.len() < MAX_PIECES {
        let [a, b] = [0, 1].map(|side| cursors[side].fate(at, at + step));
        if let (Some(a), Some(b)) = (a, b) {
            rows.push([a, b]);
            at += step;
            if rows.len() == MAX_ROWS {
                finish(&mut traces, stem, columns, started, grid_ms, &mut rows);
                started = at;
            }
            continue;
        }
        finish(&mut traces, stem, columns, started, grid_ms, &mut rows);
        // Over the gap in one step, however long it is.
        let next = cursors.iter().map(|cursor| cursor.resumes(at)).max().unwrap_or(end + 1);
        at = (next - next % step).max(at + step);
        started = at;
    }
    if traces.len() < MAX_PIECES {
        finish(&mut traces, stem, columns, started, grid_ms, &mut rows);
    }
    traces
}

fn finish(
    traces: &mut Vec<Trace>,
    stem: &str,
    columns: &[String; 2],
    started: u64,
    grid_ms: u32,
    rows: &mut Vec<[Option<u32>; 2]>,
) {
    let rows = std::mem::take(rows);
    if rows.len() as u64 * u64::from(grid_ms) * TICKS_PER_MS < LEAST_TICKS {
        return;
    }
    let begin = Tick(started);
    traces.push(Trace {
        file_name: format!("{stem}-{}.csv", begin.unix_ms()),
        columns: columns.clone(),
        begin,
        grid_ms,
        rows,
    });
}

/// Reads one path's probes forward.
struct Cursor<'a> {
    probes: &'a [Entry],
    /// The first one that was not sent before the present row.
    next: usize,
}

impl<'a> Cursor<'a> {
    fn new(probes: &'a [Entry]) -> Self {
        Cursor { probes, next: 0 }
    }

    /// Of the first probe sent in the row; else of the last one before, while it holds. The outer `None`: a gap.
    fn fate(&mut self, from: u64, to: u64) -> Option<Option<u32>> {
        while self.probes.get(self.next).is_some_and(|entry| entry.sent.0 < from) {
            self.next += 1;
        }
        if let Some(entry) = self.probes.get(self.next).filter(|entry| entry.sent.0 < to) {
            return Some(entry.rtt);
        }
        let before = self.next.checked_sub(1).and_then(|last| self.probes.get(last))?;
        (from - before.sent.0 <= HOLD_TICKS).then_some(before.rtt)
    }

    /// When the next probe is that ends a gap; this row if there is none.
    fn resumes(&self, at: u64) -> u64 {
        let held = self.next.checked_sub(1).and_then(|last| self.probes.get(last));
        match held.filter(|entry| at - entry.sent.0 <= HOLD_TICKS) {
            Some(_) => at,
            None => self.probes.get(self.next).map_or(u64::MAX, |entry| entry.sent.0),
        }
    }
}
