//! What operators see.

use std::collections::BTreeMap;

use hawser_proto::agent::v1::{Decision, GenerationState, PathState};
use hawser_proto::operator::v1::{
    EdgeStatus, Event, GetStatusResponse, ListPathsResponse, ListSitesResponse, Path, PathEnd, Site,
};

use super::events::Subscription;
use super::index::{EdgeLive, Sample};
use super::revocations::Signed;
use super::state::{EdgeState, FleetState, PathEndInfo, PathInfo};
use super::{Controller, ServiceError, compiler};
use crate::clock::{ms, now_unix_ms};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;
/// A sample older than so many telemetry intervals says nothing of now.
const STALE_AFTER_INTERVALS: u64 = 3;

/// Which decisions are asked for; empty and 0: all.
#[derive(Debug, Clone, Default)]
pub struct DecisionFilter {
    pub site: String,
    pub traffic_class: String,
    pub since_unix_ms: u64,
    pub until_unix_ms: u64,
    pub limit: u32,
}

type Live = BTreeMap<String, EdgeLive>;

impl Controller {
    pub fn status(&self) -> GetStatusResponse {
        let state = self.state();
        let oldest = self.oldest_fresh();
        let mut counters = self.counters.snapshot();
        let dropped = self.trend_dropped();
        counters.insert("trend_points_merged".to_owned(), dropped.merged);
        counters.insert("trend_points_expired".to_owned(), dropped.expired);
        counters.insert("trend_samples_refused".to_owned(), dropped.refused);
        self.index.with_all(|live| {
            for (name, count) in live.values().flat_map(|edge| &edge.counters) {
                *counters.entry(format!("edge.{name}")).or_default() += count;
            }
            let up = |path: &&PathInfo| path_state(path, live, oldest) == PathState::Up;
            let converged = |(name, edge): &(&String, &std::sync::Arc<EdgeState>)| {
                let live = live.get(name.as_str());
                live.is_some_and(|live| live.applied() == edge.desired.id)
            };
            let connected = |name: &&String| live.get(*name).is_some_and(EdgeLive::connected);
            GetStatusResponse {
                fleet: self.settings.fleet.clone(),
                controller_version: env!("CARGO_PKG_VERSION").to_owned(),
                revision: state.revision,
                sites: count(state.sites().len()),
                edges: count(state.edges.len()),
                edges_connected: count(state.edges.keys().filter(connected).count()),
                edges_converged: count(state.edges.iter().filter(converged).count()),
                paths: count(state.paths.len()),
                paths_up: count(state.paths.values().filter(up).count()),
                uptime_s: self.started.elapsed().as_secs(),
                counters,
            }
        })
    }

    /// By name; the page token is the last name of the page before.
    pub fn sites(&self, page_size: u32, page_token: &str) -> ListSitesResponse {
        let state = self.state();
        let oldest = self.oldest_fresh();
        let revoked = self.revocations.signed();
        let roles = state
            .fleet
            .as_ref()
            .map(|fleet| compiler::roles(fleet, &state.allocations))
            .unwrap_or_default();
        let mut names = state.sites().into_iter().filter(|name| *name > page_token);
        let page: Vec<&str> = names.by_ref().take(page_of(page_size)).collect();
        let more = names.next().is_some();
        let next_page_token = next_token(more, page.last().copied());
        let sites = self.index.with_all(|live| {
            let site = |name: &&str| Site {
                name: (*name).to_owned(),
                role: roles.get(*name).copied().unwrap_or_default().to_owned(),
                edges: state
                    .edges
                    .iter()
                    .filter(|(_, edge)| edge.config.site == **name)
                    .map(|(edge, desired)| {
                        edge_status(&state, edge, desired, live, oldest, &revoked)
                    })
                    .collect(),
            };
            page.iter().map(site).collect()
        });
        ListSitesResponse { sites, next_page_token }
    }

    /// By ID; the page token is the last ID of the page before. A site's paths are those with an
    /// end there.
    pub fn paths(
        &self,
        site: &str,
        page_size: u32,
        page_token: &str,
    ) -> Result<ListPathsResponse, ServiceError> {
        let state = self.state();
        if !site.is_empty() && !state.sites().contains(site) {
            return Err(ServiceError::SiteUnknown(site.to_owned()));
        }
        let after: u32 = match page_token {
            "" => 0,
            token => token.parse().map_err(|_| ServiceError::Argument {
                field: "page_token",
                problem: "is not one that was given".into(),
            })?,
        };
        let oldest = self.oldest_fresh();
        let here = |end: &PathEndInfo| state.site_of(&end.edge) == site;
        let mut wanted = state.paths.iter().filter(|(id, path)| {
            **id > after && (site.is_empty() || here(&path.a) || here(&path.b))
        });
        let page: Vec<_> = wanted.by_ref().take(page_of(page_size)).collect();
        let more = wanted.next().is_some();
        let last = page.last().map(|(id, _)| id.to_string());
        let next_page_token = next_token(more, last.as_deref());
        let paths = self.index.with_all(|live| {
            let path = |(_, path): &(&u32, &PathInfo)| Path {
                id: path.id,
                tunnel_id: path.tunnel_id,
                a: Some(path_end(&state, path.id, &path.a, live)),
                b: Some(path_end(&state, path.id, &path.b, live)),
                family: path.family,
                state: path_state(path, live, oldest).into(),
            };
            page.iter().map(path).collect()
        });
        let first = page_token.is_empty();
        let ike_tunnels = if first { self.ike_tunnels(&state, site) } else { Vec::new() };
        Ok(ListPathsResponse { paths, next_page_token, ike_tunnels })
    }

    /// Newest first.
    pub fn decisions(&self, filter: &DecisionFilter) -> Result<Vec<Decision>, ServiceError> {
        let state = self.state();
        if !filter.site.is_empty() && !state.sites().contains(filter.site.as_str()) {
            return Err(ServiceError::SiteUnknown(filter.site.clone()));
        }
        let until = match filter.until_unix_ms {
            0 => u64::MAX,
            until => until,
        };
        let wanted = |decision: &&Decision| {
            let class = &filter.traffic_class;
            (class.is_empty() || decision.traffic_class == *class)
                && (filter.since_unix_ms..=until).contains(&decision.unix_ms)
        };
        let mut found: Vec<Decision> = self.index.with_all(|live| {
            live.iter()
                .filter(|(edge, _)| filter.site.is_empty() || state.site_of(edge) == filter.site)
                .flat_map(|(_, live)| live.decisions.iter().filter(wanted).cloned())
                .collect()
        });
        found.sort_by(|a, b| {
            let key = |d: &Decision| (d.unix_ms, d.sequence);
            key(b).cmp(&key(a)).then_with(|| a.edge.cmp(&b.edge))
        });
        found.truncate(page_of(filter.limit));
        Ok(found)
    }

    /// The newest ones, oldest of them first.
    pub fn list_events(&self, since_unix_ms: u64, limit: u32) -> Vec<Event> {
        self.events.list(since_unix_ms, page_of(limit))
    }

    pub fn watch_events(&self, since_unix_ms: u64) -> Subscription {
        self.events.subscribe(since_unix_ms)
    }

    pub(super) fn oldest_fresh(&self) -> u64 {
        let fresh_ms = ms(self.settings.telemetry_interval) * STALE_AFTER_INTERVALS;
        now_unix_ms().saturating_sub(fresh_ms)
    }
}

fn edge_status(
    state: &FleetState,
    name: &str,
    edge: &EdgeState,
    live: &Live,
    oldest: u64,
    revoked: &Signed,
) -> EdgeStatus {
    let own = |path: &&PathInfo| path.a.edge == name || path.b.edge == name;
    let paths: Vec<&PathInfo> = state.paths.values().filter(own).collect();
    let up = |path: &&&PathInfo| path_state(path, live, oldest) == PathState::Up;
    let paths_up = count(paths.iter().filter(up).count());
    let status = EdgeStatus {
        name: name.to_owned(),
        edge_id: edge.config.edge_id,
        desired: Some(edge.desired.id.into()),
        generations: Some(GenerationState::default()),
        paths: count(paths.len()),
        paths_up,
        ..EdgeStatus::default()
    };
    let Some(live) = live.get(name) else {
        return status;
    };
    let nack = live.last_nack.as_ref();
    EdgeStatus {
        enrolled: live.enrolment.is_some(),
        connected: live.connected(),
        last_seen_unix_ms: live.last_seen_unix_ms,
        agent_version: live.agent_version.clone(),
        generations: Some(live.generations.clone()),
        last_nack: nack.map(|nack| nack.faults.clone()).unwrap_or_default(),
        uplinks: live.uplinks.clone(),
        certificate_ends_unix_s: live.enrolment.as_ref().map_or(0, |r| r.not_after_unix_s),
        revoked: live.enrolment.as_ref().is_some_and(|r| revoked.contains(&r.serial)),
        ..status
    }
}

fn path_end(state: &FleetState, id: u32, end: &PathEndInfo, live: &Live) -> PathEnd {
    let uplinks = state.edges.get(&end.edge).map(|e| e.config.uplinks.iter());
    let uplink = uplinks.into_iter().flatten().find(|uplink| uplink.id == end.uplink_id);
    let sample = sample_of(id, end, live);
    PathEnd {
        site: state.site_of(&end.edge),
        edge: end.edge.clone(),
        uplink: uplink.map(|u| u.name.clone()).unwrap_or_default(),
        sample: sample.map(|s| s.sample.clone()),
        sample_unix_ms: sample.map_or(0, |s| s.received_unix_ms),
    }
}

pub(super) fn sample_of<'a>(id: u32, end: &PathEndInfo, live: &'a Live) -> Option<&'a Sample> {
    live.get(&end.edge)?.samples.get(&id)
}

/// Up only if each end that is heard says so; connecting while nobody is heard.
fn path_state(path: &PathInfo, live: &Live, oldest: u64) -> PathState {
    let heard: Vec<PathState> = [&path.a, &path.b]
        .into_iter()
        .filter_map(|end| sample_of(path.id, end, live))
        .filter(|sample| sample.received_unix_ms >= oldest)
        .map(|sample| sample.sample.state())
        .collect();
    if heard.contains(&PathState::Down) {
        PathState::Down
    } else if !heard.is_empty() && heard.iter().all(|s| *s == PathState::Up) {
        PathState::Up
    } else {
        PathState::Connecting
    }
}

fn page_of(size: u32) -> usize {
    match size as usize {
        0 => DEFAULT_PAGE,
        size => size.min(MAX_PAGE),
    }
}

fn next_token(more: bool, last: Option<&str>) -> String {
    last.filter(|_| more).unwrap_or_default().to_owned()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
