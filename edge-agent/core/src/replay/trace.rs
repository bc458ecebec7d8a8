//! The recording's format: CSV, first column `t_ms`, then one column per uplink with its round-trip time in ms; an empty field
//! is a lost probe.

use std::time::Duration;

/// Uplinks in one recording.
const UPLINKS_MAX: usize = 16;
/// Rows in one recording: a week at 5 Hz.
const ROWS_MAX: usize = 3_100_000;

/// One recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// As the header names them; at least one.
    pub uplinks: Vec<String>,
    /// In order of time.
    pub rows: Vec<Row>,
}

/// One instant of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Since the recording's own zero.
    pub at: Duration,
    /// One for each uplink; `None`: lost.
    pub rtt: Vec<Option<Duration>>,
}

/// Why a text is no recording. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    #[error("line 1: the header must be t_ms, then 1 to {UPLINKS_MAX} names of uplinks")]
    Header,
    #[error("line {line}: {found} fields, the header has {expected}")]
    Fields { line: usize, found: usize, expected: usize },
    #[error("line {line}: “{text}” is no number of milliseconds from 0 to a day")]
    Number { line: usize, text: String },
    #[error("line {line}: its time is not after the line before")]
    Order { line: usize },
    #[error("more than {ROWS_MAX} rows: split the recording")]
    TooLong,
    #[error("there is no row after the header")]
    Empty,
}

impl TraceError {
    /// Stable.
    pub fn code(&self) -> &'static str {
        match self {
            TraceError::Header => "TRACE_HEADER",
            TraceError::Fields { .. } => "TRACE_FIELDS",
            TraceError::Number { .. } => "TRACE_NUMBER",
            TraceError::Order { .. } => "TRACE_ORDER",
            TraceError::TooLong => "TRACE_TOO_LONG",
            TraceError::Empty => "TRACE_EMPTY",
        }
    }
}

impl Trace {
    /// Reads the whole text.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Trace, TraceError> {
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let uplinks = header(lines.next().map_or("", |(_, line)| line))?;
        let mut rows: Vec<Row> = Vec::new();
        for (line, text) in lines.filter(|(_, text)| !text.is_empty()) {
            if rows.len() == ROWS_MAX {
                return Err(TraceError::TooLong);
            }
            let row = row(text, line, uplinks.len())?;
            if rows.last().is_some_and(|before| before.at >= row.at) {
                return Err(TraceError::Order { line });
            }
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(TraceError::Empty);
        }
        Ok(Trace { uplinks, rows })
    }

    /// From the first row to one interval after the last.
    pub fn time(&self) -> Duration {
        let [first, last] = [self.rows.first(), self.rows.last()].map(|row| row.map(|r| r.at));
        let span = last.unwrap_or_default().saturating_sub(first.unwrap_or_default());
        span + self.interval()
    }

    /// The usual time between rows: the least.
    pub fn interval(&self) -> Duration {
        let gaps = self.rows.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at));
        gaps.min().unwrap_or(Duration::from_millis(200))
    }
}

fn header(line: &str) -> Result<Vec<String>, TraceError> {
    let mut names = line.split(',').map(|name| name.trim().to_owned());
    let first = names.next();
    let uplinks: Vec<String> = names.collect();
    let fits = first.as_deref() == Some("t_ms")
        && (1..=UPLINKS_MAX).contains(&uplinks.len())
        && uplinks.iter().all(|name| !name.is_empty());
    if fits { Ok(uplinks) } else { Err(TraceError::Header) }
}

fn row(text: &str, line: usize, uplinks: usize) -> Result<Row, TraceError> {
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    if fields.len() != uplinks + 1 {
        return Err(TraceError::Fields { line, found: fields.len(), expected: uplinks + 1 });
    }
    let at = millis(fields[0], line, f64::from(u32::MAX))?;
    let rtt = fields[1..].iter().map(|field| match *field {
        "" => Ok(None),
        field => millis(field, line, 86_400_000.0).map(Some),
    });
    Ok(Row { at, rtt: rtt.collect::<Result<_, _>>()? })
}

fn millis(text: &str, line: usize, most: f64) -> Result<Duration, TraceError> {
    let number = text.parse::<f64>().ok().filter(|n| (0.0..=most).contains(n));
    let number = number.ok_or_else(|| TraceError::Number { line, text: text.to_owned() })?;
    Ok(Duration::from_micros((number * 1e3).round() as u64))
}
