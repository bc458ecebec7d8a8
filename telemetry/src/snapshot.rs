//! One collection: points of metrics, which share the labels of the things that they are about.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use crate::catalogue::{self, Metric, Scope};
use crate::histogram::Reading;

pub type Text = Cow<'static, str>;

/// The labels of one thing: a path, a site, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetId(u32);

#[derive(Debug)]
struct LabelSet {
    scope: Scope,
    values: Box<[Box<str>]>,
}

#[derive(Debug, Clone)]
pub enum Value {
    Number(f64),
    Histogram(Arc<Reading>),
}

/// One series at the snapshot's time.
#[derive(Debug)]
pub struct Point {
    set: SetId,
    /// Values of the metric's own labels.
    pub own: Box<[Text]>,
    pub value: Value,
}

/// What one collection tells. Points are kept by metric; a label set is stored once, whatever many metrics it has.
#[derive(Debug)]
pub struct Snapshot {
    pub taken: SystemTime,
    sets: Vec<LabelSet>,
    columns: Vec<Vec<Point>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Snapshot {
            taken: SystemTime::now(),
            sets: vec![LabelSet { scope: Scope::Process, values: Box::default() }],
            columns: catalogue::ALL.iter().map(|_| Vec::new()).collect(),
        }
    }
}

impl Snapshot {
    /// The process itself.
    pub const PROCESS: SetId = SetId(0);

    /// A thing's labels: values in the order of the scope's names.
    pub fn set(&mut self, scope: Scope, values: &[&str]) -> SetId {
        assert_eq!(scope.labels().len(), values.len(), "labels of {scope:?}");
        let id = SetId(u32::try_from(self.sets.len()).expect("fewer label sets than 2^32"));
        self.sets.push(LabelSet { scope, values: values.iter().map(|v| (*v).into()).collect() });
        id
    }

    /// Adds a point. What is not a number is left out.
    pub fn put(&mut self, metric: &'static Metric, set: SetId, own: &[Text], value: f64) {
        if value.is_finite() {
            self.push(metric, set, own, Value::Number(value));
        }
    }

    pub fn put_histogram(
        &mut self,
        metric: &'static Metric,
        set: SetId,
        own: &[Text],
        reading: Reading,
    ) {
        self.push(metric, set, own, Value::Histogram(Arc::new(reading)));
    }

    fn push(&mut self, metric: &'static Metric, set: SetId, own: &[Text], value: Value) {
        assert_eq!(metric.own.len(), own.len(), "own labels of {}", metric.name);
        assert_eq!(metric.scope, self.sets[set.0 as usize].scope, "scope of {}", metric.name);
        self.columns[metric.index()].push(Point { set, own: own.into(), value });
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
        let set = &self.sets[point.set.0 as usize];
        let shared = set.values.iter().map(|v| &**v);
        metric.labels().zip(shared.chain(point.own.iter().map(|v| &**v)))
    }
}
