//! What is told of paths: each one's series, and what a site's come to. Beyond the bound only the latter.

use std::collections::BTreeMap;

use hawser_proto::agent::v1 as wire;

use crate::catalogue as c;
use crate::catalogue::Scope;
use crate::snapshot::{SetId, Snapshot, Text};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathState {
    Down,
    #[default]
    Connecting,
    Up,
}

/// One path as one end sees it. `None`: not known.
#[derive(Debug, Clone, Default)]
pub struct PathRow {
    pub site: String,
    pub edge: String,
    pub uplink: String,
    pub peer_site: String,
    pub peer_uplink: String,
    pub path: u32,
    pub state: PathState,
    /// 0: no answer yet.
    pub rtt_us: u32,
    /// Of 0.5, 0.95, 0.99; 0: not known.
    pub rtt_quantiles_us: [u32; 3],
    pub jitter_us: u32,
    pub loss_tx_ppm: u32,
    pub loss_rx_ppm: u32,
    /// 0: not known.
    pub mos_milli: u32,
    /// Names of SLA classes, and whether the path meets each.
    pub verdicts: Vec<(String, bool)>,
    /// Traffic classes that this end sends over it.
    pub selected_for: Vec<String>,
    pub tx_bytes: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub rx_packets: u64,
    pub rekeys: u64,
    pub sa_age_ms: Option<u64>,
    pub mtu_bytes: u32,
}

/// What a path is called at one end.
#[derive(Debug, Clone, Copy)]
pub struct PathNames<'a> {
    pub site: &'a str,
    pub edge: &'a str,
    pub uplink: &'a str,
    pub peer_site: &'a str,
    pub peer_uplink: &'a str,
}

impl PathRow {
    /// What an agent tells of one of its paths.
    pub fn new(names: PathNames<'_>, sample: &wire::PathSample) -> Self {
        PathRow {
            site: names.site.to_owned(),
            edge: names.edge.to_owned(),
            uplink: names.uplink.to_owned(),
            peer_site: names.peer_site.to_owned(),
            peer_uplink: names.peer_uplink.to_owned(),
            path: sample.path_id,
            state: match sample.state() {
                wire::PathState::Up => PathState::Up,
                wire::PathState::Down => PathState::Down,
                wire::PathState::Connecting | wire::PathState::Unspecified => PathState::Connecting,
            },
            rtt_us: sample.rtt_us,
            rtt_quantiles_us: [sample.rtt_p50_us, sample.rtt_p95_us, sample.rtt_p99_us],
            jitter_us: sample.jitter_us,
            loss_tx_ppm: sample.loss_tx_ppm,
            loss_rx_ppm: sample.loss_rx_ppm,
            mos_milli: sample.mos_milli,
            verdicts: sample.verdicts.iter().map(|v| (v.sla_class.clone(), v.meets)).collect(),
            selected_for: sample.selected_for.clone(),
            tx_bytes: sample.tx_bytes,
            rx_bytes: sample.rx_bytes,
            tx_packets: sample.tx_packets,
            rx_packets: sample.rx_packets,
            rekeys: sample.rekeys,
            sa_age_ms: Some(sample.sa_age_ms).filter(|ms| *ms > 0),
            mtu_bytes: sample.inner_mtu_bytes,
        }
    }

    /// How many series it makes.
    fn series(&self) -> usize {
        let optional = if self.rtt_us > 0 { 2 } else { 0 }
            + self.rtt_quantiles_us.iter().filter(|q| **q > 0).count()
            + usize::from(self.mos_milli > 0)
            + usize::from(self.sa_age_ms.is_some());
        // State, loss, octets and packets both ways, rekeys, MTU.
        9 + optional + self.verdicts.len() + self.selected_for.len()
    }
}

/// Puts the paths of one or many edges. The series of paths are at most `max_series`, or there are none.
pub fn put_paths(snapshot: &mut Snapshot, rows: &[PathRow], max_series: usize) {
    let wanted: usize = rows.iter().map(PathRow::series).sum();
    let aggregated = wanted > max_series;
    if !aggregated {
        rows.iter().for_each(|row| put_path(snapshot, row));
    }
    let mut sites = BTreeMap::<(&str, &str), Vec<&PathRow>>::new();
    for row in rows {
        sites.entry((&row.site, &row.edge)).or_default().push(row);
    }
    for ((site, edge), rows) in sites {
        let set = snapshot.set(Scope::Site, &[site, edge]);
        put_site(snapshot, set, &rows);
    }
    let process = Snapshot::PROCESS;
    snapshot.put(&c::TELEMETRY_SERIES_MAX, process, &[], max_series as f64);
    snapshot.put(&c::TELEMETRY_AGGREGATED, process, &[], f64::from(u8::from(aggregated)));
}

const TX: Text = Text::Borrowed("tx");
const RX: Text = Text::Borrowed("rx");

fn put_path(snapshot: &mut Snapshot, row: &PathRow) {
    let path = row.path.to_string();
    let labels = [&row.site, &row.edge, &row.uplink, &row.peer_site, &row.peer_uplink, &path];
    let set = snapshot.set(Scope::Path, &labels.map(String::as_str));
    snapshot.put(&c::PATH_STATE, set, &[], f64::from(row.state as u8));
    if row.rtt_us > 0 {
        snapshot.put(&c::PATH_RTT, set, &[], seconds(row.rtt_us));
        snapshot.put(&c::PATH_JITTER, set, &[], seconds(row.jitter_us));
    }
    for (quantile, us) in ["0.5", "0.95", "0.99"].into_iter().zip(row.rtt_quantiles_us) {
        if us > 0 {
            snapshot.put(&c::PATH_RTT_QUANTILE, set, &[quantile.into()], seconds(us));
        }
    }
    for (direction, ppm) in [(TX, row.loss_tx_ppm), (RX, row.loss_rx_ppm)] {
        snapshot.put(&c::PATH_LOSS, set, &[direction], ratio(ppm));
    }
    if row.mos_milli > 0 {
        snapshot.put(&c::PATH_MOS, set, &[], f64::from(row.mos_milli) / 1e3);
    }
    for (class, met) in &row.verdicts {
        snapshot.put(&c::PATH_SLA_MET, set, &[class.clone().into()], f64::from(u8::from(*met)));
    }
    for class in &row.selected_for {
        snapshot.put(&c::PATH_SELECTED, set, &[class.clone().into()], 1.0);
    }
    for (direction, bytes, packets) in
        [(TX, row.tx_bytes, row.tx_packets), (RX, row.rx_bytes, row.rx_packets)]
    {
        snapshot.put(&c::PATH_IO, set, std::slice::from_ref(&direction), bytes as f64);
        snapshot.put(&c::PATH_PACKETS, set, &[direction], packets as f64);
    }
    snapshot.put(&c::PATH_REKEYS, set, &[], row.rekeys as f64);
    if let Some(ms) = row.sa_age_ms {
        snapshot.put(&c::PATH_SA_AGE, set, &[], ms as f64 / 1e3);
    }
    snapshot.put(&c::PATH_MTU, set, &[], f64::from(row.mtu_bytes));
}

fn put_site(snapshot: &mut Snapshot, set: SetId, rows: &[&PathRow]) {
    let states =
        [("up", PathState::Up), ("connecting", PathState::Connecting), ("down", PathState::Down)];
    for (name, state) in states {
        let count = rows.iter().filter(|r| r.state == state).count();
        snapshot.put(&c::SITE_PATHS, set, &[name.into()], count as f64);
    }
    let mut missed = BTreeMap::<&str, u32>::new();
    for (class, met) in rows.iter().flat_map(|r| &r.verdicts) {
        *missed.entry(class).or_default() += u32::from(!met);
    }
    for (class, count) in missed {
        let class = Text::Owned(class.to_owned());
        snapshot.put(&c::SITE_PATHS_OUT_OF_SLA, set, &[class], f64::from(count));
    }
    for (direction, octets) in
        [(TX, octets(rows, |r| r.tx_bytes)), (RX, octets(rows, |r| r.rx_bytes))]
    {
        snapshot.put(&c::SITE_IO, set, &[direction], octets);
    }
    let up: Vec<&PathRow> = rows.iter().filter(|r| r.state == PathState::Up).copied().collect();
    let most = |figure: fn(&PathRow) -> u32| up.iter().map(|r| figure(r)).max();
    if let Some(us) = most(|r| r.rtt_us).filter(|us| *us > 0) {
        snapshot.put(&c::SITE_RTT_MAX, set, &[], seconds(us));
    }
    if let Some(us) = most(|r| r.jitter_us) {
        snapshot.put(&c::SITE_JITTER_MAX, set, &[], seconds(us));
    }
    for (direction, ppm) in [(TX, most(|r| r.loss_tx_ppm)), (RX, most(|r| r.loss_rx_ppm))] {
        if let Some(ppm) = ppm {
            snapshot.put(&c::SITE_LOSS_MAX, set, &[direction], ratio(ppm));
        }
    }
    if let Some(mos) = up.iter().map(|r| r.mos_milli).filter(|m| *m > 0).min() {
        snapshot.put(&c::SITE_MOS_MIN, set, &[], f64::from(mos) / 1e3);
    }
}

fn octets(rows: &[&PathRow], of: fn(&PathRow) -> u64) -> f64 {
    rows.iter().map(|r| of(r) as f64).sum()
}

fn seconds(us: u32) -> f64 {
    f64::from(us) / 1e6
}

fn ratio(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Value;

    fn rows(sites: u32, paths: u32) -> Vec<PathRow> {
        let row = |n: u32| PathRow {
            site: format!("b{}", n / paths),
            edge: format!("b{}-1", n / paths),
            path: n,
            state: if n.is_multiple_of(paths) { PathState::Down } else { PathState::Up },
            rtt_us: 1_000 + n,
            loss_tx_ppm: 10_000,
            mos_milli: 4_000 - n,
            verdicts: vec![("voice".into(), !n.is_multiple_of(paths))],
            selected_for: vec!["default".into()],
            tx_bytes: 100,
            sa_age_ms: Some(1_500),
            ..PathRow::default()
        };
        (0..sites * paths).map(row).collect()
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
        let rows = rows(3, 2);
        let all: usize = rows.iter().map(PathRow::series).sum();
        let mut exact = Snapshot::default();
        put_paths(&mut exact, &rows, all);
        let of_paths: usize =
            c::ALL.iter().filter(|m| m.scope == Scope::Path).map(|m| exact.points(m).len()).sum();
        assert_eq!(of_paths, all);
        assert_eq!(number(&exact, &c::TELEMETRY_AGGREGATED, &[]), 0.0);

        let mut over = Snapshot::default();
        put_paths(&mut over, &rows, all - 1);
        let of_paths = c::ALL.iter().filter(|m| m.scope == Scope::Path);
        assert!(of_paths.into_iter().all(|m| over.points(m).is_empty()));
        assert_eq!(number(&over, &c::TELEMETRY_AGGREGATED, &[]), 1.0);
        assert_eq!(number(&over, &c::SITE_PATHS, &[("site", "b1"), ("state", "up")]), 1.0);
        assert_eq!(over.points(&c::SITE_IO).len(), 6);
    }

    #[test]
    fn a_site_is_as_bad_as_its_worst_path_that_is_up() {
        let mut snapshot = Snapshot::default();
        put_paths(&mut snapshot, &rows(1, 3), usize::MAX);
        let b0 = ("site", "b0");
        assert_eq!(number(&snapshot, &c::SITE_RTT_MAX, &[b0]), 0.001002);
        assert_eq!(number(&snapshot, &c::SITE_MOS_MIN, &[b0]), 3.998);
        assert_eq!(number(&snapshot, &c::SITE_LOSS_MAX, &[b0, ("direction", "tx")]), 0.01);
        assert_eq!(number(&snapshot, &c::SITE_PATHS_OUT_OF_SLA, &[b0]), 1.0);
        assert_eq!(number(&snapshot, &c::SITE_IO, &[b0, ("direction", "tx")]), 300.0);
        assert_eq!(number(&snapshot, &c::PATH_STATE, &[("path", "0")]), 0.0);
        assert_eq!(number(&snapshot, &c::PATH_STATE, &[("path", "1")]), 2.0);
    }
}
