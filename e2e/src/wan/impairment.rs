//! Changes to a link ([`Impairment`]) and what is in effect on one direction of it ([`Settings`]).

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which direction of a link. End `a` is the one that the description file calls so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dir {
    #[serde(rename = "a-b")]
    AToB,
    #[serde(rename = "b-a")]
    BToA,
    #[default]
    #[serde(rename = "both")]
    Both,
}

impl Dir {
    /// The indices (0: a to b, 1: b to a) that this covers.
    #[must_use]
    pub fn indices(self) -> &'static [usize] {
        match self {
            Self::AToB => &[0],
            Self::BToA => &[1],
            Self::Both => &[0, 1],
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JitterShape {
    /// Even over ± `jitter_ms`.
    #[default]
    Uniform,
    /// Standard deviation `jitter_ms`, cut at four of them.
    Normal,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceEnd {
    /// Start again at the first row.
    #[default]
    Loop,
    /// Stay at the last row for ever.
    Hold,
}

/// A change to a link: what is `None` stays as it is. One-way times: a round trip sees both directions.
///
/// The field names are the keys of `hawser-lab impair LINK KEY=VALUE...` and of `impair:` in a description file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Impairment {
    pub dir: Dir,
    /// Fixed delay, 0 to 60,000 ms.
    pub delay_ms: Option<f64>,
    /// Spread around the fixed delay.
    pub jitter_ms: Option<f64>,
    pub jitter: Option<JitterShape>,
    /// Whether jitter may let a frame overtake another; else frames keep their order.
    pub jitter_reorders: Option<bool>,
    /// Independent loss of each frame.
    pub loss_pct: Option<f64>,
    /// Share of frames lost in bursts (Gilbert-Elliott), in addition to `loss_pct`.
    pub burst_loss_pct: Option<f64>,
    /// Mean length of a burst in frames, at least 1.
    pub burst_len: Option<f64>,
    /// Share of frames held back by `reorder_hold_ms`, so that later ones overtake them.
    pub reorder_pct: Option<f64>,
    pub reorder_hold_ms: Option<f64>,
    pub duplicate_pct: Option<f64>,
    /// Share of frames with one bit flipped behind the Ethernet header.
    pub corrupt_pct: Option<f64>,
    /// Bottleneck rate; 0 means none.
    pub rate_kbit: Option<u64>,
    /// Bound of the bottleneck's queue as waiting time. The tighter of the two bounds holds.
    pub queue_ms: Option<f64>,
    /// Bound of the bottleneck's queue in bytes; 0 means none.
    pub queue_bytes: Option<u64>,
    /// Drop every frame.
    pub blackhole: Option<bool>,
    /// Take the carrier of the sending end's device away (`dir: both`: of both ends).
    pub carrier_down: Option<bool>,
    /// A trace file, or `none`. While it plays, half of its RTT stands in for `delay_ms`.
    pub trace: Option<PathBuf>,
    /// Column by name, or by number (1 is the first after `t_ms`).
    pub trace_column: Option<String>,
    pub trace_end: Option<TraceEnd>,
}

impl Impairment {
    /// Everything dropped, both ways.
    #[must_use]
    pub fn blackhole(on: bool) -> Self {
        Self { blackhole: Some(on), ..Self::default() }
    }

    /// Random loss, both ways.
    #[must_use]
    pub fn loss(pct: f64) -> Self {
        Self { loss_pct: Some(pct), ..Self::default() }
    }

    /// Fixed one-way delay, both ways.
    #[must_use]
    pub fn delay(ms: f64) -> Self {
        Self { delay_ms: Some(ms), ..Self::default() }
    }

    /// The same change in one direction only.
    #[must_use]
    pub fn toward(mut self, dir: Dir) -> Self {
        self.dir = dir;
        self
    }

    /// Reads `KEY=VALUE` words, such as `loss_pct=5 dir=a-b`.
    ///
    /// # Errors
    /// A word without `=`, a key that is given twice or unknown, a value of the wrong type.
    pub fn from_words<S: AsRef<str>>(words: &[S]) -> Result<Self, ImpairmentFault> {
        let mut map = serde_json::Map::new();
        for word in words {
            let word = word.as_ref();
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| ImpairmentFault::NotKeyValue { word: word.to_owned() })?;
            // Text fields may look like numbers ("trace_column=2").
            let text = matches!(key, "dir" | "jitter" | "trace" | "trace_column" | "trace_end");
            let parsed = match value.parse::<serde_json::Value>() {
                Ok(parsed) if !text => parsed,
                _ => serde_json::Value::String(value.to_owned()),
            };
            if map.insert(key.to_owned(), parsed).is_some() {
                return Err(ImpairmentFault::Twice { key: key.to_owned() });
            }
        }
        serde_json::from_value(serde_json::Value::Object(map))
            .map_err(|source| ImpairmentFault::Unreadable { source })
    }
}

/// Why a change was refused. Nothing of a refused change is in effect.
#[derive(Debug, thiserror::Error)]
pub enum ImpairmentFault {
    #[error("`{word}` is not KEY=VALUE; write for example loss_pct=5")]
    NotKeyValue { word: String },
    #[error("`{key}` is given twice; keep one")]
    Twice { key: String },
    #[error("this change can't be read")]
    Unreadable { source: serde_json::Error },
    #[error("{key} is {value}; it must be {min} to {max}")]
    OutOfRange { key: &'static str, value: f64, min: f64, max: f64 },
    #[error("burst_len {len} with burst_loss_pct {pct} would need gaps shorter than one frame")]
    BurstTooDense { len: f64, pct: f64 },
    #[error("the trace can't be used")]
    Trace {
        #[from]
        source: super::trace::TraceError,
    },
}

/// What is in effect on one direction. Units as in [`Impairment`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub delay_ms: f64,
    pub jitter_ms: f64,
    pub jitter: JitterShape,
    pub jitter_reorders: bool,
    pub loss_pct: f64,
    pub burst_loss_pct: f64,
    pub burst_len: f64,
    pub reorder_pct: f64,
    pub reorder_hold_ms: f64,
    pub duplicate_pct: f64,
    pub corrupt_pct: f64,
    pub rate_kbit: u64,
    pub queue_ms: f64,
    pub queue_bytes: u64,
    pub blackhole: bool,
    pub carrier_down: bool,
    pub trace: Option<PathBuf>,
    pub trace_column: String,
    pub trace_end: TraceEnd,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delay_ms: 0.0,
            jitter_ms: 0.0,
            jitter: JitterShape::Uniform,
            jitter_reorders: false,
            loss_pct: 0.0,
            burst_loss_pct: 0.0,
            burst_len: 3.0,
            reorder_pct: 0.0,
            reorder_hold_ms: 5.0,
            duplicate_pct: 0.0,
            corrupt_pct: 0.0,
            rate_kbit: 0,
            queue_ms: 100.0,
            queue_bytes: 0,
            blackhole: false,
            carrier_down: false,
            trace: None,
            trace_column: "1".to_owned(),
            trace_end: TraceEnd::Loop,
        }
    }
}

impl Settings {
    /// These settings with a change applied; the change's direction is the caller's business.
    ///
    /// # Errors
    /// A value out of its range.
    pub fn with(&self, change: &Impairment) -> Result<Self, ImpairmentFault> {
        let mut next = self.clone();
        set(&mut next.delay_ms, change.delay_ms);
        set(&mut next.jitter_ms, change.jitter_ms);
        set(&mut next.jitter, change.jitter);
        set(&mut next.jitter_reorders, change.jitter_reorders);
        set(&mut next.loss_pct, change.loss_pct);
        set(&mut next.burst_loss_pct, change.burst_loss_pct);
        set(&mut next.burst_len, change.burst_len);
        set(&mut next.reorder_pct, change.reorder_pct);
        set(&mut next.reorder_hold_ms, change.reorder_hold_ms);
        set(&mut next.duplicate_pct, change.duplicate_pct);
        set(&mut next.corrupt_pct, change.corrupt_pct);
        set(&mut next.rate_kbit, change.rate_kbit);
        set(&mut next.queue_ms, change.queue_ms);
        set(&mut next.queue_bytes, change.queue_bytes);
        set(&mut next.blackhole, change.blackhole);
        set(&mut next.carrier_down, change.carrier_down);
        set(&mut next.trace_column, change.trace_column.clone());
        set(&mut next.trace_end, change.trace_end);
        if let Some(trace) = &change.trace {
            next.trace = (trace.as_os_str() != "none").then(|| trace.clone());
        }
        next.check()?;
        Ok(next)
    }

    fn check(&self) -> Result<(), ImpairmentFault> {
        const LONGEST_MS: f64 = 60_000.0;
        for (key, value, min, max) in [
            ("delay_ms", self.delay_ms, 0.0, LONGEST_MS),
            ("jitter_ms", self.jitter_ms, 0.0, LONGEST_MS),
            ("loss_pct", self.loss_pct, 0.0, 100.0),
            ("burst_loss_pct", self.burst_loss_pct, 0.0, 99.0),
            ("burst_len", self.burst_len, 1.0, 1e6),
            ("reorder_pct", self.reorder_pct, 0.0, 100.0),
            ("reorder_hold_ms", self.reorder_hold_ms, 0.0, LONGEST_MS),
            ("duplicate_pct", self.duplicate_pct, 0.0, 100.0),
            ("corrupt_pct", self.corrupt_pct, 0.0, 100.0),
            ("rate_kbit", self.rate_kbit as f64, 0.0, 100e6),
            ("queue_ms", self.queue_ms, 0.0, LONGEST_MS),
            ("queue_bytes", self.queue_bytes as f64, 0.0, 1e9),
        ] {
            // Also refuses NaN, which no comparison holds for.
            if !(min..=max).contains(&value) {
                return Err(ImpairmentFault::OutOfRange { key, value, min, max });
            }
        }
        let share = self.burst_loss_pct / 100.0;
        if share > self.burst_len * (1.0 - share) {
            let (len, pct) = (self.burst_len, self.burst_loss_pct);
            return Err(ImpairmentFault::BurstTooDense { len, pct });
        }
        Ok(())
    }
}

fn set<T>(field: &mut T, change: Option<T>) {
    if let Some(value) = change {
        *field = value;
    }
}
