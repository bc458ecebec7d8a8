//! One collection: points of metrics, which share the labels of the things that they are about.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::fast::RandomState;
use indexmap::{Equivalent, IndexSet};

use crate::catalogue::{self, Metric, Scope};
use crate::histogram::Reading;

/// The labels of one thing: a path, a site, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetId(u32);

impl SetId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
struct LabelSet {
    scope: Scope,
    /// Of [`Snapshot::fleets`]; the process has none.
    fleet: u16,
    /// Its first value in [`Snapshot::ends`].
    first: u32,
}

#[derive(Debug, Clone)]
pub enum Value {
    Number(f64),
    Histogram(Arc<Reading>),
}

/// One series at the snapshot's time.
#[derive(Debug)]
pub struct Point {
    pub(crate) set: SetId,
    /// Values of the metric's own labels, in [`Snapshot::own`].
    pub(crate) own: u32,
    pub value: Value,
}

/// Of metrics without labels of their own: most are.
const NO_LABELS: u32 = 0;

/// What one collection tells. Points are kept by metric; labels are stored once, whatever many metrics have them: a large
/// fleet has some hundred thousand points, and they are small.
#[derive(Debug)]
pub struct Snapshot {
    pub taken: SystemTime,
    sets: Vec<LabelSet>,
    /// Names, each with its own set. The last is the present one.
    fleets: Vec<(Box<str>, SetId)>,
    /// The values of all sets, one after another, and where each ends.
    texts: String,
    ends: Vec<usize>,
    own: IndexSet<Box<[Box<str>]>, RandomState>,
    columns: Vec<Vec<Point>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Snapshot {
            taken: SystemTime::now(),
            sets: vec![LabelSet { scope: Scope::Process, fleet: 0, first: 0 }],
            fleets: Vec::new(),
            texts: String::new(),
            ends: Vec::new(),
            own: std::iter::once(Box::default()).collect(),
            columns: catalogue::ALL.iter().map(|_| Vec::new()).collect(),
        }
    }
}

impl Snapshot {
    /// The process itself.
    pub const PROCESS: SetId = SetId(0);

    /// One that tells of this fleet only.
    pub fn of_fleet(name: &str) -> Self {
        let mut snapshot = Self::default();
        snapshot.enter_fleet(name);
        snapshot
    }

    /// What is put from now on is this fleet's. Returns the fleet's own set.
    pub fn enter_fleet(&mut self, name: &str) -> SetId {
        let set = SetId(u32::try_from(self.sets.len()).expect("fewer labels than 2^32"));
        self.fleets.push((name.into(), set));
        self.set(Scope::Fleet, &[])
    }

    /// The present fleet itself.
    pub fn fleet(&self) -> SetId {
        self.fleets.last().expect("a fleet was entered").1
    }

    /// A thing's labels: values in the order of the scope's names, but for the fleet, which is the present one.
    pub fn set(&mut self, scope: Scope, values: &[&str]) -> SetId {
        assert_eq!(scope.labels().len(), 1 + values.len(), "labels of {scope:?}");
        let id = |len: usize| u32::try_from(len).expect("fewer labels than 2^32");
        let set = SetId(id(self.sets.len()));
        let present = self.fleets.len().checked_sub(1).expect("a fleet was entered");
        let fleet = u16::try_from(present).expect("fewer fleets than 2^16");
        self.sets.push(LabelSet { scope, fleet, first: id(self.ends.len()) });
        for value in values {
            self.texts.push_str(value);
            self.ends.push(self.texts.len());
        }
        set
    }

    /// Makes room for so many points of each metric of a scope.
    pub(crate) fn reserve(&mut self, scope: Scope, points: usize) {
        for metric in catalogue::ALL.iter().filter(|metric| metric.scope == scope) {
            self.columns[metric.index()].reserve(points);
        }
    }

    /// Adds a point. What is not a number is left out.
    pub fn put(&mut self, metric: &'static Metric, set: SetId, own: &[&str], value: f64) {
        if value.is_finite() {
            self.push(metric, set, own, Value::Number(value));
        }
    }

    pub fn put_histogram(
        &mut self,
        metric: &'static Metric,
        set: SetId,
        own: &[&str],
        reading: Reading,
    ) {
        self.push(metric, set, own, Value::Histogram(Arc::new(reading)));
    }

    fn push(&mut self, metric: &'static Metric, set: SetId, own: &[&str], value: Value) {
        assert_eq!(metric.own.len(), own.len(), "own labels of {}", metric.name);
        assert_eq!(metric.scope, self.sets[set.index()].scope, "scope of {}", metric.name);
        let own = self.own_index(own);
        self.columns[metric.index()].push(Point { set, own, value });
    }

    fn own_index(&mut self, own: &[&str]) -> u32 {
        if own.is_empty() {
            return NO_LABELS;
        }
        let index = match self.own.get_index_of(&Labels(own)) {
            Some(index) => index,
            None => self.own.insert_full(own.iter().map(|v| (*v).into()).collect()).0,
        };
        u32::try_from(index).expect("fewer labels than 2^32")
    }

    /// Points, a histogram as one.
    pub fn series(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    pub fn points(&self, metric: &Metric) -> &[Point] {
        self.point_column(metric.index())
    }

    pub(crate) fn point_column(&self, index: usize) -> &[Point] {
        &self.columns[index]
    }

    /// Names and values of a point's labels.
    pub fn labels<'a>(
        &'a self,
        metric: &'static Metric,
        point: &'a Point,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.set_labels(point.set).chain(self.own_labels(metric, point))
    }

    /// Those of the thing that a point is about.
    pub(crate) fn set_labels(&self, set: SetId) -> impl Iterator<Item = (&'static str, &str)> {
        let LabelSet { scope, fleet, first } = self.sets[set.index()];
        let first = first as usize;
        let mut names = scope.labels().iter();
        let of_fleet = names.next().map(|name| (*name, &*self.fleets[usize::from(fleet)].0));
        let own = names.enumerate().map(move |(n, name)| {
            let at = first + n;
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            (*name, &self.texts[start..self.ends[at]])
        });
        of_fleet.into_iter().chain(own)
    }

    /// Those that are the metric's own.
    pub(crate) fn own_labels(
        &self,
        metric: &'static Metric,
        point: &Point,
    ) -> impl Iterator<Item = (&'static str, &str)> {
        metric.own.iter().copied().zip(self.own[point.own as usize].iter().map(|v| &**v))
    }
}

/// Labels that are looked for, without a copy.
struct Labels<'a>(&'a [&'a str]);

impl Hash for Labels<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As a slice of boxed strings does.
        self.0.hash(state);
    }
}

impl Equivalent<Box<[Box<str>]>> for Labels<'_> {
    fn equivalent(&self, key: &Box<[Box<str>]>) -> bool {
        self.0.iter().copied().eq(key.iter().map(|v| &**v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{CONTROLLER_COUNTS, TELEMETRY_RECORDS};

    #[test]
    fn the_same_labels_are_stored_once_and_told_apart_by_their_parts() {
        let mut snapshot = Snapshot::default();
        for own in [["ab", "c"], ["a", "bc"], ["ab", "c"]] {
            snapshot.put(&TELEMETRY_RECORDS, Snapshot::PROCESS, &own, 1.0);
        }
        let fleet = snapshot.enter_fleet("acme");
        snapshot.put(&CONTROLLER_COUNTS, fleet, &["ab"], 1.0);
        assert_eq!(snapshot.own.len(), 4, "and none at all");
        let told: Vec<Vec<(&str, &str)>> = snapshot
            .points(&TELEMETRY_RECORDS)
            .iter()
            .map(|point| snapshot.labels(&TELEMETRY_RECORDS, point).collect())
            .collect();
        assert_eq!(told[0], [("signal", "ab"), ("outcome", "c")]);
        assert_eq!(told[1], [("signal", "a"), ("outcome", "bc")]);
        assert_eq!(told[2], told[0]);
    }

    #[test]
    fn what_is_put_is_of_the_fleet_that_was_entered_last() {
        let mut snapshot = Snapshot::default();
        let sets = ["acme", "beta"].map(|fleet| {
            let own = snapshot.enter_fleet(fleet);
            assert_eq!(snapshot.fleet(), own);
            [own, snapshot.set(Scope::Site, &["b1", "b1-1"])]
        });
        let told = |set| snapshot.set_labels(set).collect::<Vec<_>>();
        for ([own, site], fleet) in sets.into_iter().zip(["acme", "beta"]) {
            assert_eq!(told(own), [("fleet", fleet)]);
            assert_eq!(told(site), [("fleet", fleet), ("site", "b1"), ("edge", "b1-1")]);
        }
        assert_eq!(told(Snapshot::PROCESS), []);
    }
}
