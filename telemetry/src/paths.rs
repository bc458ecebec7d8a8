//! What is told of paths: each one's series, and what a site's come to. Beyond the bound only the latter.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hawser_proto::agent::v1::{PathSample, PathState};
use indexmap::IndexMap;

use crate::catalogue as c;
use crate::catalogue::Scope;
use crate::snapshot::{SetId, Snapshot};

/// What a path is called at one end.
#[derive(Debug, Clone, Copy)]
pub struct PathNames<'a> {
    pub site: &'a str,
    pub edge: &'a str,
    pub uplink: &'a str,
    pub peer_site: &'a str,
    pub peer_uplink: &'a str,
}

/// One path as one end sees it: nothing of it is copied.
#[derive(Debug, Clone, Copy)]
pub struct PathRow<'a> {
    pub names: PathNames<'a>,
    pub sample: &'a PathSample,
}

impl PathRow<'_> {
    /// How many series it makes.
    fn series(&self) -> usize {
        let sample = self.sample;
        let optional = if sample.rtt_us > 0 { 2 } else { 0 }
            + quantiles(sample).into_iter().filter(|(_, us)| *us > 0).count()
            + usize::from(sample.mos_milli > 0)
            + usize::from(sample.sa_age_ms > 0);
        // State, loss, octets and packets both ways, rekeys, MTU.
        9 + optional + sample.verdicts.len() + sample.selected_for.len()
    }
}

fn quantiles(sample: &PathSample) -> [(&'static str, u32); 3] {
    [("0.5", sample.rtt_p50_us), ("0.95", sample.rtt_p95_us), ("0.99", sample.rtt_p99_us)]
}

/// Puts the paths of one or many edges of the present fleet. The series of its paths are at most `max_series`, or there are none.
pub fn put_paths(snapshot: &mut Snapshot, rows: &[PathRow<'_>], max_series: usize) {
    let wanted: usize = rows.iter().map(PathRow::series).sum();
    let aggregated = wanted > max_series;
    if !aggregated {
        snapshot.reserve(Scope::Path, rows.len());
        rows.iter().for_each(|row| put_path(snapshot, row));
    }
    let mut sites = IndexMap::<(&str, &str), Vec<&PathSample>, RandomState>::default();
    for row in rows {
        sites.entry((row.names.site, row.names.edge)).or_default().push(row.sample);
    }
    for ((site, edge), samples) in sites {
        let set = snapshot.set(Scope::Site, &[site, edge]);
        put_site(snapshot, set, &samples);
    }
    let fleet = snapshot.fleet();
    snapshot.put(&c::TELEMETRY_SERIES_MAX, fleet, &[], max_series as f64);
    snapshot.put(&c::TELEMETRY_AGGREGATED, fleet, &[], f64::from(u8::from(aggregated)));
}

fn put_path(snapshot: &mut Snapshot, PathRow { names, sample }: &PathRow<'_>) {
    let path = sample.path_id.to_string();
    let PathNames { site, edge, uplink, peer_site, peer_uplink } = names;
    let set = snapshot.set(Scope::Path, &[site, edge, uplink, peer_site, peer_uplink, &path]);
    let state = match sample.state() {
        PathState::Up => 2.0,
        PathState::Connecting | PathState::Unspecified => 1.0,
        PathState::Down => 0.0,
    };
    snapshot.put(&c::PATH_STATE, set, &[], state);
    if sample.rtt_us > 0 {
        snapshot.put(&c::PATH_RTT, set, &[], seconds(sample.rtt_us));
        snapshot.put(&c::PATH_JITTER, set, &[], seconds(sample.jitter_us));
    }
    for (quantile, us) in quantiles(sample) {
        if us > 0 {
            snapshot.put(&c::PATH_RTT_QUANTILE, set, &[quantile], seconds(us));
        }
    }
    for (direction, ppm) in [("tx", sample.loss_tx_ppm), ("rx", sample.loss_rx_ppm)] {
        snapshot.put(&c::PATH_LOSS, set, &[direction], ratio(ppm));
    }
    if sample.mos_milli > 0 {
        snapshot.put(&c::PATH_MOS, set, &[], f64::from(sample.mos_milli) / 1e3);
    }
    for verdict in &sample.verdicts {
        let met = f64::from(u8::from(verdict.meets));
        snapshot.put(&c::PATH_SLA_MET, set, &[&verdict.sla_class], met);
    }
    for class in &sample.selected_for {
        snapshot.put(&c::PATH_SELECTED, set, &[class], 1.0);
    }
    for (direction, bytes, packets) in
        [("tx", sample.tx_bytes, sample.tx_packets), ("rx", sample.rx_bytes, sample.rx_packets)]
    {
        snapshot.put(&c::PATH_IO, set, &[direction], bytes as f64);
        snapshot.put(&c::PATH_PACKETS, set, &[direction], packets as f64);
    }
    snapshot.put(&c::PATH_REKEYS, set, &[], sample.rekeys as f64);
    if sample.sa_age_ms > 0 {
        snapshot.put(&c::PATH_SA_AGE, set, &[], sample.sa_age_ms as f64 / 1e3);
    }
    snapshot.put(&c::PATH_MTU, set, &[], f64::from(sample.inner_mtu_bytes));
}

fn put_site(snapshot: &mut Snapshot, set: SetId, samples: &[&PathSample]) {
    let count = |state| samples.iter().filter(|s| s.state() == state).count() as f64;
    let (up, down) = (count(PathState::Up), count(PathState::Down));
    let connecting = samples.len() as f64 - up - down;
    for (name, count) in [("up", up), ("connecting", connecting), ("down", down)] {
        snapshot.put(&c::SITE_PATHS, set, &[name], count);
    }
    let mut missed = BTreeMap::<&str, u32>::new();
    for verdict in samples.iter().flat_map(|s| &s.verdicts) {
        *missed.entry(&verdict.sla_class).or_default() += u32::from(!verdict.meets);
    }
    for (class, count) in missed {
        snapshot.put(&c::SITE_PATHS_OUT_OF_SLA, set, &[class], f64::from(count));
    }
    let octets = |of: fn(&PathSample) -> u64| samples.iter().map(|s| of(s) as f64).sum();
    for (direction, octets) in [("tx", octets(|s| s.tx_bytes)), ("rx", octets(|s| s.rx_bytes))] {
        snapshot.put(&c::SITE_IO, set, &[direction], octets);
    }
    let up = || samples.iter().filter(|s| s.state() == PathState::Up);
    let most = |figure: fn(&PathSample) -> u32| up().map(|s| figure(s)).max();
    if let Some(us) = most(|s| s.rtt_us).filter(|us| *us > 0) {
        snapshot.put(&c::SITE_RTT_MAX, set, &[], seconds(us));
    }
    if let Some(us) = most(|s| s.jitter_us) {
        snapshot.put(&c::SITE_JITTER_MAX, set, &[], seconds(us));
    }
    for (direction, ppm) in [("tx", most(|s| s.loss_tx_ppm)), ("rx", most(|s| s.loss_rx_ppm))] {
        if let Some(ppm) = ppm {
            snapshot.put(&c::SITE_LOSS_MAX, set, &[direction], ratio(ppm));
        }
    }
    if let Some(mos) = up().map(|s| s.mos_milli).filter(|m| *m > 0).min() {
        snapshot.put(&c::SITE_MOS_MIN, set, &[], f64::from(mos) / 1e3);
    }
}

fn seconds(us: u32) -> f64 {
    f64::from(us) / 1e6
}

fn ratio(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

#[cfg(test)]
mod tests {
    use hawser_proto::agent::v1::ClassVerdict;

    use super::*;
    use crate::snapshot::Value;

    /// Samples of `paths` paths at each site, and the site's name.
    fn samples(sites: u32, paths: u32) -> Vec<(String, PathSample)> {
        let sample = |n: u32| PathSample {
            path_id: n,
            state: if n.is_multiple_of(paths) { PathState::Down } else { PathState::Up }.into(),
            rtt_us: 1_000 + n,
            loss_tx_ppm: 10_000,
            mos_milli: 4_000 - n,
            verdicts: vec![ClassVerdict {
                sla_class: "voice".into(),
                meets: !n.is_multiple_of(paths),
                reason: String::new(),
            }],
            selected_for: vec!["default".into()],
            tx_bytes: 100,
            sa_age_ms: 1_500,
            ..PathSample::default()
        };
        (0..sites * paths).map(|n| (format!("b{}", n / paths), sample(n))).collect()
    }

    fn rows(samples: &[(String, PathSample)]) -> Vec<PathRow<'_>> {
        let row = |(site, sample)| PathRow {
            names: PathNames { site, edge: site, uplink: "", peer_site: "", peer_uplink: "" },
            sample,
        };
        samples.iter().map(|(site, sample)| row((site, sample))).collect()
    }

    fn number(snapshot: &Snapshot, metric: &'static c::Metric, labels: &[(&str, &str)]) -> f64 {
        let has = |point: &&crate::Point| {
            labels.iter().all(|l| snapshot.labels(metric, point).any(|have| have == *l))
        };
        let points: Vec<_> = snapshot.points(metric).iter().filter(has).collect();
        match points.as_slice() {
            [crate::Point { value: Value::Number(value), .. }] => *value,
            other => panic!("{} {labels:?}: {other:?}", metric.name),
        }
    }

    #[test]
    fn the_bound_is_met_to_the_series() {
        let samples = samples(3, 2);
        let rows = rows(&samples);
        let all: usize = rows.iter().map(PathRow::series).sum();
        let mut exact = Snapshot::of_fleet("acme");
        put_paths(&mut exact, &rows, all);
        let of_paths: usize =
            c::ALL.iter().filter(|m| m.scope == Scope::Path).map(|m| exact.points(m).len()).sum();
        assert_eq!(of_paths, all);
        assert_eq!(number(&exact, &c::TELEMETRY_AGGREGATED, &[]), 0.0);

        let mut over = Snapshot::of_fleet("acme");
        put_paths(&mut over, &rows, all - 1);
        let of_paths = c::ALL.iter().filter(|m| m.scope == Scope::Path);
        assert!(of_paths.into_iter().all(|m| over.points(m).is_empty()));
        assert_eq!(number(&over, &c::TELEMETRY_AGGREGATED, &[]), 1.0);
        assert_eq!(number(&over, &c::SITE_PATHS, &[("site", "b1"), ("state", "up")]), 1.0);
        assert_eq!(over.points(&c::SITE_IO).len(), 6);
    }

    #[test]
    fn a_site_is_as_bad_as_its_worst_path_that_is_up() {
        let mut snapshot = Snapshot::of_fleet("acme");
        put_paths(&mut snapshot, &rows(&samples(1, 3)), usize::MAX);
        let b0 = ("site", "b0");
        assert_eq!(number(&snapshot, &c::SITE_RTT_MAX, &[b0]), 0.001002);
        assert_eq!(number(&snapshot, &c::SITE_MOS_MIN, &[b0]), 3.998);
        assert_eq!(number(&snapshot, &c::SITE_LOSS_MAX, &[b0, ("direction", "tx")]), 0.01);
        assert_eq!(number(&snapshot, &c::SITE_PATHS_OUT_OF_SLA, &[b0]), 1.0);
        assert_eq!(number(&snapshot, &c::SITE_IO, &[b0, ("direction", "tx")]), 300.0);
        assert_eq!(number(&snapshot, &c::PATH_STATE, &[("path", "0")]), 0.0);
        assert_eq!(number(&snapshot, &c::PATH_STATE, &[("path", "1")]), 2.0);
    }
    #[test]
    fn one_fleets_paths_take_no_room_of_anothers() {
        let (large, small) = (samples(3, 2), samples(1, 2));
        let most = rows(&small).iter().map(PathRow::series).sum();
        let mut snapshot = Snapshot::default();
        for (fleet, samples) in [("large", &large), ("small", &small)] {
            snapshot.enter_fleet(fleet);
            put_paths(&mut snapshot, &rows(samples), most);
        }
        for (fleet, aggregated) in [("large", 1.0), ("small", 0.0)] {
            assert_eq!(
                number(&snapshot, &c::TELEMETRY_AGGREGATED, &[("fleet", fleet)]),
                aggregated
            );
        }
        let of_paths = snapshot.points(&c::PATH_STATE);
        assert_eq!(of_paths.len(), 2);
        assert!(of_paths.iter().all(|point| {
            snapshot.labels(&c::PATH_STATE, point).next() == Some(("fleet", "small"))
        }));
    }
}
