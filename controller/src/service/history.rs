//! Revisions: which there are, what one would change, and going back to one.

use std::collections::BTreeSet;
use std::sync::Arc;

use hawser_controller_core::Fleet;
use hawser_controller_core::changes::{Configs, EdgeChanges, blinks, site_changes};
use hawser_controller_core::lint::{Finding, lint};
use hawser_controller_core::rollout::Policy;
use hawser_proto::operator::v1 as operator;

use super::compiler::Compiled;
use super::intent::{Applied, Expected, Proposal, says_the_same};
use super::manifest::{self, RevisionRecord};
use super::state::{EdgeState, FleetState, whole};
use super::tokens::Principal;
use super::{Controller, ServiceError};
use crate::clock::now_unix_ms;
use crate::secret;

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

impl Controller {
    /// Newest first; the page token is the last revision of the page before.
    pub async fn list_revisions(
        &self,
        page_size: u32,
        page_token: &str,
    ) -> Result<operator::ListRevisionsResponse, ServiceError> {
        let before: u64 = match page_token {
            "" => u64::MAX,
            token => token.parse().map_err(|_| ServiceError::Argument {
                field: "page_token",
                problem: "is not one that was given".into(),
            })?,
        };
        let size = match page_size as usize {
            0 => DEFAULT_PAGE,
            size => size.min(MAX_PAGE),
        };
        let current = self.state().revision;
        let mut all = manifest::all_revisions(self.store.as_ref()).await?;
        all.retain(|record| record.revision < before);
        let more = all.len() > size;
        let page: Vec<operator::Revision> =
            all.iter().rev().take(size).map(|record| told(record, current)).collect();
        let last = page.last().filter(|_| more).map(|r| r.revision.to_string());
        Ok(operator::ListRevisionsResponse {
            revisions: page,
            next_page_token: last.unwrap_or_default(),
        })
    }

    /// What one revision is.
    pub async fn revision(&self, revision: u64) -> Result<operator::Revision, ServiceError> {
        let record = manifest::read_revision(self.store.as_ref(), revision)
            .await?
            .ok_or(ServiceError::RevisionUnknown(revision))?;
        Ok(told(&record, self.state().revision))
    }

    /// What applying this document would do. Changes nothing.
    pub async fn plan(&self, document: Vec<u8>) -> Result<operator::PlanResponse, ServiceError> {
        let state = self.state();
        let document_sha256 = secret::sha256_hex(&document);
        let refused = |faults| operator::PlanResponse {
            faults,
            base_revision: state.revision,
            document_sha256: document_sha256.clone(),
            ..Default::default()
        };
        let fleet = match self.parse(document).await? {
            Ok(fleet) => fleet,
            Err(faults) => return Ok(refused(faults)),
        };
        let compiled = match self.compile(fleet, &state).await? {
            Ok(compiled) => compiled,
            Err(faults) => return Ok(refused(faults)),
        };
        let unchanged = says_the_same(&state, &compiled);
        let findings = self.findings(&compiled.fleet);
        let differ: BTreeSet<&String> = compiled.changed.keys().collect();
        let plan =
            changes(&configs_now(&state, &differ)?, &configs_then(&state, &compiled, &differ)?);
        Ok(operator::PlanResponse {
            base_revision: state.revision,
            unchanged,
            findings: findings.into_iter().map(finding).collect(),
            document_sha256,
            ..plan
        })
    }

    /// What `to` has that `from` has not, both with the numbers of today.
    pub async fn diff(&self, from: u64, to: u64) -> Result<operator::PlanResponse, ServiceError> {
        if from == 0 {
            return Err(ServiceError::RevisionUnknown(0));
        }
        let state = self.state();
        let (old, new) = (self.compiled(from, &state).await?, self.compiled(to, &state).await?);
        let differ = old.changed.keys().chain(new.changed.keys()).collect();
        let plan =
            changes(&configs_then(&state, &old, &differ)?, &configs_then(&state, &new, &differ)?);
        let unchanged = old.fleet == new.fleet;
        Ok(operator::PlanResponse { base_revision: from, unchanged, ..plan })
    }

    /// Applies the document of an older revision as a new one.
    pub async fn rollback(
        &self,
        by: &Principal,
        revision: u64,
        comment: String,
        expected: Expected,
        policy: Option<Policy>,
    ) -> Result<Applied, ServiceError> {
        if revision == 0 {
            return Err(ServiceError::RevisionUnknown(0));
        }
        let document = self.document(revision).await?.bytes;
        let comment =
            if comment.is_empty() { format!("rollback to revision {revision}") } else { comment };
        let proposal = Proposal { document, comment, expected, policy, trace: None };
        self.propose(by.actor(), "REVISION_ROLLED_BACK", proposal).await
    }

    fn findings(&self, fleet: &Fleet) -> Vec<Finding> {
        let watched = self.sla_watch.watched(&self.state());
        lint(fleet, &watched, now_unix_ms())
    }

    async fn compiled(&self, revision: u64, state: &FleetState) -> Result<Compiled, ServiceError> {
        let document = self.document(revision).await?;
        let unreadable = |_| ServiceError::RevisionUnreadable(document.revision);
        let fleet = self.parse_again(document.bytes).await?.map_err(unreadable)?;
        self.compile(fleet, state).await?.map_err(unreadable)
    }
}

fn told(record: &RevisionRecord, current: u64) -> operator::Revision {
    operator::Revision {
        revision: record.revision,
        committed_unix_ms: record.committed_unix_ms,
        committed_by: record.committed_by.clone(),
        comment: record.comment.clone(),
        document_sha256: record.document.sha256.clone(),
        current: record.revision == current,
    }
}

/// What the edges have now: those that differ as a whole, of the others the controller's own part.
fn configs_now(state: &FleetState, differ: &BTreeSet<&String>) -> Result<Configs, ServiceError> {
    let of = |(name, edge): (&String, &Arc<EdgeState>)| {
        let differs = differ.contains(name);
        let config = if differs { whole(name, &edge.bytes)? } else { edge.config.clone() };
        Ok((name.clone(), config))
    };
    state.edges.iter().map(of).collect()
}

/// What they would have by what was compiled for this state.
fn configs_then(
    state: &FleetState,
    compiled: &Compiled,
    differ: &BTreeSet<&String>,
) -> Result<Configs, ServiceError> {
    let mut configs = configs_now(state, differ)?;
    configs.retain(|name, _| compiled.edges.contains(name));
    for (name, edge) in &compiled.changed {
        configs.insert(name.clone(), whole(name, &edge.bytes)?);
    }
    Ok(configs)
}

fn changes(old: &Configs, new: &Configs) -> operator::PlanResponse {
    let edge = |edge: EdgeChanges| operator::EdgePlan {
        edge: edge.edge,
        action: edge.action.name().to_owned(),
        changes: edge
            .changes
            .into_iter()
            .map(|change| operator::PlannedChange {
                action: change.action.name().to_owned(),
                what: change.what,
                detail: change.detail,
            })
            .collect(),
    };
    let sites = site_changes(old, new).into_iter().map(|site| operator::SitePlan {
        site: site.site,
        action: site.action.name().to_owned(),
        edges: site.edges.into_iter().map(edge).collect(),
    });
    let blinks = blinks(old, new).into_iter().map(|blink| operator::Blink {
        path_id: blink.path_id,
        name: blink.name,
        why: blink.why,
        about_ms: blink.about_ms,
        stops_traffic: blink.stops_traffic,
    });
    operator::PlanResponse {
        sites: sites.collect(),
        blinks: blinks.collect(),
        ..Default::default()
    }
}

fn finding(finding: Finding) -> operator::Finding {
    operator::Finding {
        code: finding.code.to_owned(),
        subject: finding.subject,
        message: finding.message,
        mend: finding.mend,
    }
}
