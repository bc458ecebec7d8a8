//! Traces of real uplinks: one RTT, or a lost probe, a row.

use super::TraceEnd;
use std::sync::Arc;

/// Rows of one column. Times in µs since the first row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// (start of the row, round-trip time or lost), ascending.
    rows: Vec<(u64, Option<u64>)>,
    /// From the first row to the end of the last.
    length_us: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("the file can't be read")]
    Read {
        #[from]
        source: std::io::Error,
    },
    #[error("line {line}: {what}")]
    Line { line: usize, what: String },
    #[error("there is no column `{column}`; there are: {}", .known.join(", "))]
    NoColumn { column: String, known: Vec<String> },
    #[error("there are no rows")]
    Empty,
}

/// Longer traces than a day of 200 ms rows are refused.
const MAX_ROWS: usize = 500_000;

impl Trace {
    /// Reads CSV: a header `t_ms,NAME,NAME...`, then rows of a time and an RTT in ms a column, empty when lost.
    /// `column` is a name, or a number from 1.
    ///
    /// # Errors
    /// A malformed line, times that do not ascend, an unknown column.
    pub fn parse(text: &str, column: &str) -> Result<Self, TraceError> {
        let mut lines = text.lines().enumerate();
        let (_, header) = lines.next().ok_or(TraceError::Empty)?;
        let column = pick_column(header, column)?;
        let mut rows: Vec<(u64, Option<u64>)> = Vec::new();
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let fault = |what: &str| TraceError::Line { line: index + 1, what: what.to_owned() };
            if rows.len() == MAX_ROWS {
                return Err(fault("too many rows; cut the trace"));
            }
            let mut fields = line.trim_end_matches('\r').split(',');
            let time = fields.next().and_then(us_of_ms).ok_or_else(|| fault("t_ms is no time"))?;
            let field = fields.nth(column - 1).ok_or_else(|| fault("a column is missing"))?;
            let rtt = match field.trim() {
                "" => None,
                ms => Some(us_of_ms(ms).ok_or_else(|| fault("the RTT is no time"))?),
            };
            if rows.last().is_some_and(|&(last, _)| time <= last) {
                return Err(fault("t_ms must ascend"));
            }
            rows.push((time, rtt));
        }
        let &(first, _) = rows.first().ok_or(TraceError::Empty)?;
        rows.iter_mut().for_each(|row| row.0 -= first);
        let last = rows[rows.len() - 1].0;
        // The last row lasts as long as the one before it; 200 ms when it is the only one.
        let step = if rows.len() > 1 { last - rows[rows.len() - 2].0 } else { 200_000 };
        Ok(Self { rows, length_us: last + step })
    }

    #[must_use]
    pub fn length_us(&self) -> u64 {
        self.length_us
    }

    fn rtt_at(&self, elapsed_us: u64) -> Option<u64> {
        let after = self.rows.partition_point(|&(start, _)| start <= elapsed_us);
        self.rows[after.saturating_sub(1)].1
    }
}

/// A trace being played from `start_us` on.
#[derive(Clone, Debug)]
pub struct Playback {
    pub trace: Arc<Trace>,
    pub start_us: u64,
    pub end: TraceEnd,
}

impl Playback {
    /// Half the round-trip time in force at `now_us`, or `None` when probes were lost then.
    #[must_use]
    pub fn delay_us(&self, now_us: u64) -> Option<u64> {
        let elapsed = now_us.saturating_sub(self.start_us);
        let place = match self.end {
            TraceEnd::Loop => elapsed % self.trace.length_us,
            TraceEnd::Hold => elapsed,
        };
        self.trace.rtt_at(place).map(|rtt| rtt / 2)
    }
}

fn pick_column(header: &str, wanted: &str) -> Result<usize, TraceError> {
    let names: Vec<&str> = header.trim().split(',').map(str::trim).collect();
    if names.first() != Some(&"t_ms") {
        return Err(TraceError::Line { line: 1, what: "the first column must be t_ms".to_owned() });
    }
    let by_name = names.iter().skip(1).position(|name| *name == wanted).map(|at| at + 1);
    let by_number = wanted.parse().ok().filter(|at| (1..names.len()).contains(at));
    by_name.or(by_number).ok_or_else(|| TraceError::NoColumn {
        column: wanted.to_owned(),
        known: names.iter().skip(1).map(|name| (*name).to_owned()).collect(),
    })
}

fn us_of_ms(text: &str) -> Option<u64> {
    let ms: f64 = text.trim().parse().ok()?;
    (0.0..1e12).contains(&ms).then_some((ms * 1_000.0).round() as u64)
}
