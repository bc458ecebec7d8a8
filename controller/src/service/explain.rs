//! Why traffic of a site was where it was, and why nothing moved: decisions and explanations put together.

use std::collections::BTreeMap;

use hawser_proto::agent::v1::{Decision, Explanation};
use hawser_proto::operator::v1::{Account, ExplainResponse};

use super::index::EdgeLive;
use super::state::FleetState;
use super::{Controller, ServiceError};

const DEFAULT_ACCOUNTS: usize = 100;
const MAX_ACCOUNTS: usize = 1_000;
/// Decisions about next hops in one answer.
const MAX_NEXT_HOPS: usize = 100;

/// What is asked; empty and 0: all, and now.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub site: String,
    /// An edge or a site.
    pub peer: String,
    pub traffic_class: String,
    pub at_unix_ms: u64,
    pub limit: u32,
}

/// A traffic class of one tunnel.
type Key<'a> = (&'a str, &'a str);

impl Controller {
    /// Of every edge of the site.
    pub fn explain(&self, question: &Question) -> Result<ExplainResponse, ServiceError> {
        let state = self.state();
        if !state.sites().contains(question.site.as_str()) {
            return Err(ServiceError::SiteUnknown(question.site.clone()));
        }
        let mut answer = ExplainResponse::default();
        self.index.with_all(|live| {
            let here = live.iter().filter(|(edge, _)| state.site_of(edge) == question.site);
            for (edge, live) in here {
                let oldest = live.explanations.oldest_unix_ms();
                if oldest > 0 && !(1..=oldest).contains(&answer.remembered_since_unix_ms) {
                    answer.remembered_since_unix_ms = oldest;
                }
                answer.accounts.extend(accounts(&state, edge, live, question));
                answer.next_hops.extend(next_hops(live, question));
            }
        });
        let newest = |account: &Account| account.in_force.as_ref().map_or(0, |d| d.unix_ms);
        answer.accounts.sort_by(|a, b| {
            let name = |a: &Account| (a.edge.clone(), a.peer_edge.clone(), a.traffic_class.clone());
            newest(b).cmp(&newest(a)).then_with(|| name(a).cmp(&name(b)))
        });
        let limit = match question.limit as usize {
            0 => DEFAULT_ACCOUNTS,
            limit => limit.min(MAX_ACCOUNTS),
        };
        answer.left_out = answer.accounts.len().saturating_sub(limit) as u32;
        answer.accounts.truncate(limit);
        answer.next_hops.sort_by_key(|d| std::cmp::Reverse((d.unix_ms, d.sequence)));
        answer.next_hops.truncate(MAX_NEXT_HOPS);
        Ok(answer)
    }
}

fn accounts(state: &FleetState, edge: &str, live: &EdgeLive, question: &Question) -> Vec<Account> {
    let at = at(question);
    let peer_site = |peer: &str| state.site_of(peer);
    let wanted = |peer: &str, class: &str| {
        (question.traffic_class.is_empty() || class == question.traffic_class)
            && (question.peer.is_empty()
                || peer == question.peer
                || peer_site(peer) == question.peer)
    };
    let mut found: BTreeMap<Key<'_>, Account> = BTreeMap::new();
    let blank = |peer: &str, class: &str, tunnel_id: u32| Account {
        edge: edge.to_owned(),
        peer_edge: peer.to_owned(),
        peer_site: peer_site(peer),
        traffic_class: class.to_owned(),
        tunnel_id,
        ..Account::default()
    };
    // Each agent's decisions come in order, and a clock that steps back must not hide the newest.
    let of_paths = live.decisions.iter().filter(|d| !of_next_hop(d));
    for decision in of_paths.filter(|d| wanted(&d.peer_edge, &d.traffic_class)) {
        let account =
            found.entry((&decision.peer_edge, &decision.traffic_class)).or_insert_with(|| {
                blank(&decision.peer_edge, &decision.traffic_class, decision.tunnel_id)
            });
        if decision.unix_ms <= at {
            account.in_force = Some(decision.clone());
        } else if account.next.is_none() {
            account.next = Some(decision.clone());
        }
    }
    for told in live.explanations.iter().filter(|e| wanted(&e.peer_edge, &e.traffic_class)) {
        let account = found
            .entry((&told.peer_edge, &told.traffic_class))
            .or_insert_with(|| blank(&told.peer_edge, &told.traffic_class, told.tunnel_id));
        if fits(account, told) && nearer(told, account.explanation.as_ref(), at) {
            account.explanation = Some(told.clone());
        }
    }
    found.into_values().collect()
}

/// It was said while the decision in force was: what was said before or after is about something else.
fn fits(account: &Account, told: &Explanation) -> bool {
    let begun = account.in_force.as_ref().is_none_or(|d| told.unix_ms >= d.unix_ms);
    begun && account.next.as_ref().is_none_or(|d| told.unix_ms < d.unix_ms)
}

fn nearer(told: &Explanation, than: Option<&Explanation>, at: u64) -> bool {
    than.is_none_or(|than| told.unix_ms.abs_diff(at) <= than.unix_ms.abs_diff(at))
}

/// Without a time the newest ones; with one, for each set of prefixes the one in force and the one after.
fn next_hops(live: &EdgeLive, question: &Question) -> Vec<Decision> {
    let of_hops = live.decisions.iter().filter(|d| of_next_hop(d));
    if question.at_unix_ms == 0 {
        return of_hops.rev().take(MAX_NEXT_HOPS).cloned().collect();
    }
    let mut found: BTreeMap<(u32, &[String]), [Option<&Decision>; 2]> = BTreeMap::new();
    for decision in of_hops {
        let entry = found.entry((decision.segment_id, &decision.prefixes)).or_default();
        if decision.unix_ms <= question.at_unix_ms {
            entry[0] = Some(decision);
        } else {
            entry[1].get_or_insert(decision);
        }
    }
    found.into_values().flatten().flatten().cloned().collect()
}

pub fn of_next_hop(decision: &Decision) -> bool {
    !decision.prefixes.is_empty()
}

fn at(question: &Question) -> u64 {
    match question.at_unix_ms {
        0 => u64::MAX,
        at => at,
    }
}
