//! What paths measured over the last hours, for charts; the disk has it too, at most some minutes old.

mod past;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};

use hawser_controller_core::trend::{self, Bounds, Dropped, End, Key, Point, State};
use hawser_proto::agent::v1::{PathSample, PathState};

pub use self::past::LongStore;
use super::state::{FleetState, PathEndInfo};
use super::{Controller, ServiceError};
use crate::clock::{ms, now_unix_ms};
use crate::files::{self, Access, FileError};
use crate::secret;

/// Beside the store: backups leave it out.
const FOLDER: &str = "trends";
const FILE: &str = "paths.bin";
const DIGEST_BYTES: usize = 32;
const DEFAULT_PAGE: usize = 1_000;
const MAX_PAGE: usize = 5_000;

#[derive(Debug)]
pub struct Trends {
    rings: Mutex<trend::Trends>,
    /// Where older figures are.
    past: OnceLock<past::Reach>,
}

impl Default for Trends {
    fn default() -> Self {
        let rings = Mutex::new(trend::Trends::new(Bounds::DEFAULT));
        Self { rings, past: OnceLock::new() }
    }
}

impl Trends {
    fn lock(&self) -> MutexGuard<'_, trend::Trends> {
        self.rings.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct TrendQuestion {
    pub path_id: u32,
    pub since_unix_ms: u64,
    /// 0: until now.
    pub until_unix_ms: u64,
    /// Points of each end; 0: the controller's own.
    pub limit: u32,
}

/// What one end of a path measured.
#[derive(Debug)]
pub struct EndTrend {
    pub site: String,
    pub edge: String,
    pub uplink: String,
    pub points: Vec<Point>,
    /// Where the next page begins.
    pub next_since_unix_ms: Option<u64>,
}

/// What both ends of a path measured, and what its traffic classes must get.
#[derive(Debug)]
pub struct PathTrend {
    pub ends: [EndTrend; 2],
    pub limits: Vec<Limit>,
    pub long_store: LongStore,
}

/// What a traffic class must get; 0: no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub traffic_class: String,
    pub sla_class: String,
    pub max_rtt_us: u32,
    pub max_jitter_us: u32,
    pub max_loss_ppm: u32,
}

impl Controller {
    pub(super) fn note_trends(
        &self,
        state: &FleetState,
        edge: &str,
        samples: &[PathSample],
        now: u64,
    ) {
        let span_ms = u32::try_from(ms(self.settings.telemetry_interval)).unwrap_or(u32::MAX);
        let mut trends = self.trends.lock();
        for sample in samples {
            let Some(path) = state.paths.get(&sample.path_id) else { continue };
            let end = if path.a.edge == edge { End::A } else { End::B };
            trends.take(Key { path_id: path.id, end }, point(sample, now, span_ms));
        }
    }

    /// Both ends of a path, with what its traffic classes must get. What is older than the rings comes from the long
    /// store, if there is one.
    pub async fn path_trend(&self, asked: &TrendQuestion) -> Result<PathTrend, ServiceError> {
        let (mut ends, limits) = self.trend(asked)?;
        let until = if asked.until_unix_ms == 0 { now_unix_ms() } else { asked.until_unix_ms };
        let begins =
            ends.iter().filter_map(|end| end.points.first()).map(|point| point.at_ms).min();
        let edges = [ends[0].edge.clone(), ends[1].edge.clone()];
        let edges = edges.each_ref().map(String::as_str);
        let (mut older, long_store) =
            self.older(asked, edges, begins.unwrap_or(until).min(until)).await;
        for end in &mut ends {
            let old = older.remove(&end.edge).unwrap_or_default();
            end.points.splice(0..0, old);
        }
        Ok(PathTrend { ends, limits, long_store })
    }

    fn trend(&self, asked: &TrendQuestion) -> Result<([EndTrend; 2], Vec<Limit>), ServiceError> {
        let state = self.state();
        let path =
            state.paths.get(&asked.path_id).ok_or(ServiceError::PathUnknown(asked.path_id))?;
        let limit = match asked.limit as usize {
            0 => DEFAULT_PAGE,
            limit => limit.min(MAX_PAGE),
        };
        let until = if asked.until_unix_ms == 0 { u64::MAX } else { asked.until_unix_ms };
        let trends = self.trends.lock();
        let of = |end: End, info: &PathEndInfo| {
            let key = Key { path_id: path.id, end };
            let (points, next) = trends.between(key, asked.since_unix_ms, until, limit);
            let config = state.edges.get(&info.edge).map(|edge| &edge.config);
            let uplink = config.and_then(|c| c.uplinks.iter().find(|u| u.id == info.uplink_id));
            EndTrend {
                site: state.site_of(&info.edge),
                edge: info.edge.clone(),
                uplink: uplink.map(|u| u.name.clone()).unwrap_or_default(),
                points,
                next_since_unix_ms: next,
            }
        };
        Ok(([of(End::A, &path.a), of(End::B, &path.b)], limits(&state, &path.a.edge)))
    }

    pub fn trend_dropped(&self) -> Dropped {
        self.trends.lock().dropped()
    }

    /// Takes what an earlier run kept. What is damaged is left behind and counted: it is only for charts.
    pub fn load_trends(&self, data: &Path) {
        let path = file(data);
        let Ok(bytes) = std::fs::read(&path) else { return };
        match unsealed(&bytes).and_then(|bytes| trend::Trends::decode(bytes, Bounds::DEFAULT).ok())
        {
            Some(read) => *self.trends.lock() = read,
            None => {
                self.counters.add("trends_not_read", 1);
                tracing::warn!(path = %path.display(), "it is damaged, charts begin anew");
            }
        }
    }

    /// Forgets paths that are gone, and writes the rest.
    pub fn save_trends(&self, data: &Path) -> Result<(), FileError> {
        let state = self.state();
        let mut bytes = {
            let mut trends = self.trends.lock();
            trends.retain(|path_id| state.paths.contains_key(&path_id));
            trends.encode()
        };
        bytes.extend(secret::sha256(&bytes));
        files::create_private_dir(&data.join(FOLDER))?;
        files::write_atomic(&file(data), &bytes, Access::Secret)
    }
}

fn file(data: &Path) -> PathBuf {
    data.join(FOLDER).join(FILE)
}

fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (data, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
    (secret::sha256(data) == *digest).then_some(data)
}

fn point(sample: &PathSample, now: u64, span_ms: u32) -> Point {
    let state = match sample.state() {
        PathState::Up => State::Up,
        PathState::Down => State::Down,
        PathState::Connecting | PathState::Unspecified => State::Connecting,
    };
    Point {
        // It tells of the interval that has just ended.
        at_ms: now.saturating_sub(u64::from(span_ms)),
        span_ms,
        state,
        carries: !sample.selected_for.is_empty(),
        measured: state == State::Up && sample.rtt_us > 0,
        rtt_us: sample.rtt_us,
        jitter_us: sample.jitter_us,
        loss_tx_ppm: sample.loss_tx_ppm,
        loss_rx_ppm: sample.loss_rx_ppm,
    }
}

fn limits(state: &FleetState, edge: &str) -> Vec<Limit> {
    let Some(edge) = state.edges.get(edge) else { return Vec::new() };
    let config = &edge.config;
    let of = |class: &hawser_proto::config::v1::TrafficClass| {
        let sla = config.sla_classes.iter().find(|sla| sla.name == class.sla_class)?;
        Some(Limit {
            traffic_class: class.name.clone(),
            sla_class: sla.name.clone(),
            max_rtt_us: sla.max_rtt_us,
            max_jitter_us: sla.max_jitter_us,
            max_loss_ppm: sla.max_loss_ppm,
        })
    };
    config.traffic_classes.iter().filter_map(of).collect()
}
