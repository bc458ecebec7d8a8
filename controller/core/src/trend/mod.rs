//! What each end of each path measured over the last hours: for charts. Bounded, whatever the fleet.
//!
//! Each series has two rings: the newest points one step apart, older ones in wider buckets, so that a whole day fits. The
//! more series there are, the fewer points each has. What is merged into wider buckets, and what is dropped, is counted.

mod codec;
pub mod past;
mod series;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use codec::Corrupt;
use series::{Limits, Series};
pub use series::{Point, State};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Points of all series together, 32 octets each.
    pub points: usize,
    pub series: usize,
    /// Of one series, even if there is room for more.
    pub points_of_one: usize,
    /// Between the newest points, if there is room.
    pub step_ms: u32,
    /// The newest points reach at least so far back; with few of them, each is wider.
    pub fine_covers_ms: u64,
    pub keep_ms: u64,
}

impl Bounds {
    /// A fleet of 2,000 sites with 4 paths each gets 62 points for each end: 21 s apart for a quarter of an hour, 20 for a day.
    pub const DEFAULT: Self = Self {
        points: 1_000_000,
        series: 40_000,
        points_of_one: 2_160,
        step_ms: 5_000,
        fine_covers_ms: 900_000,
        keep_ms: 24 * 3_600_000,
    };

    fn limits(&self, series: usize) -> Limits {
        let share = self.points / series.max(1);
        let points = share.clamp(16, self.points_of_one.max(16));
        // Two thirds of them show the last hours step by step.
        let coarse = points / 3;
        let fine = points - coarse;
        let step_ms = u64::from(self.step_ms).max(self.fine_covers_ms / fine as u64);
        let bucket_ms = (self.keep_ms / coarse as u64).max(step_ms);
        Limits { fine, coarse, step_ms, bucket_ms, keep_ms: self.keep_ms }
    }
}

/// One end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub path_id: u32,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The edge with the lower ID.
    A,
    B,
}

/// What has been lost so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Merged into a wider bucket.
    pub merged: u64,
    /// Too old, or no room.
    pub expired: u64,
    /// Samples of series for which there is no room.
    pub refused: u64,
}

/// All series.
#[derive(Debug, Clone, PartialEq)]
pub struct Trends {
    bounds: Bounds,
    series: BTreeMap<Key, Series>,
    dropped: Dropped,
}

impl Trends {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, series: BTreeMap::new(), dropped: Dropped::default() }
    }

    /// One more sample. A clock that went back takes away what it has not reached again.
    pub fn take(&mut self, key: Key, point: Point) {
        if !self.series.contains_key(&key) && self.series.len() >= self.bounds.series {
            self.dropped.refused += 1;
            return;
        }
        self.series.entry(key).or_default();
        let limits = self.bounds.limits(self.series.len());
        let series = self.series.get_mut(&key).expect("it was just made");
        series.take(point, &limits, &mut self.dropped);
    }

    /// Forgets paths that are not there any more.
    pub fn retain(&mut self, is_path: impl Fn(u32) -> bool) {
        let dropped = &mut self.dropped;
        self.series.retain(|key, series| {
            let stays = is_path(key.path_id);
            if !stays {
                dropped.expired += series.len() as u64;
            }
            stays
        });
    }

    /// Points in that time, oldest first: at most `limit`, and where the next page begins.
    pub fn between(
        &self,
        key: Key,
        since_ms: u64,
        until_ms: u64,
        limit: usize,
    ) -> (Vec<Point>, Option<u64>) {
        let Some(series) = self.series.get(&key) else {
            return (Vec::new(), None);
        };
        let mut wanted = series.points().filter(|p| p.ends_ms() > since_ms && p.at_ms <= until_ms);
        let page: Vec<Point> = wanted.by_ref().take(limit.max(1)).copied().collect();
        let next = wanted.next().map(|_| page.last().map_or(0, Point::ends_ms));
        (page, next)
    }

    /// Since this was made; restored ones begin anew.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    pub fn points(&self) -> usize {
        self.series.values().map(Series::len).sum()
    }

    /// As it is kept on a disk.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&self.series)
    }

    /// # Errors
    /// The octets are not what [`Trends::encode`] made.
    pub fn decode(bytes: &[u8], bounds: Bounds) -> Result<Self, Corrupt> {
        let series = codec::decode(bytes, &bounds)?;
        Ok(Self { bounds, series, dropped: Dropped::default() })
    }
}
