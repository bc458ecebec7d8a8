//! Leading traffic away for a while, beside the document: maintenance is no intent, and no revision.

use hawser_proto::operator::v1 as operator;

use super::commit::{Named, next_state};
use super::events::event;
use super::intent::{check_comment, refuse_while_staged};
use super::manifest::DrainRecord;
use super::state::FleetState;
use super::tokens::Principal;
use super::{Controller, ServiceError, compiler};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::store::blob::BlobWriter;

const MAX_DRAINS: usize = 1_000;

impl Controller {
    /// Leads traffic away from a site, an edge or `EDGE/UPLINK`, or lets it come back. None: it was so already. Else the
    /// edges that change.
    pub async fn set_drain(
        &self,
        by: &Principal,
        target: &str,
        drained: bool,
        comment: String,
    ) -> Result<Option<Named>, ServiceError> {
        check_comment(&comment)?;
        let _changing = self.change_lock.lock().await;
        let state = self.state();
        refuse_while_staged(&state)?;
        let fleet = state.fleet.clone().ok_or(ServiceError::FleetEmpty)?;
        if !compiler::has_target(&fleet, target) {
            return Err(ServiceError::TargetUnknown(target.to_owned()));
        }
        if state.drains.contains_key(target) == drained {
            return Ok(None);
        }
        if drained && state.drains.len() >= MAX_DRAINS {
            return Err(ServiceError::DrainLimit(MAX_DRAINS));
        }
        let mut wanted = FleetState { ..(*state).clone() };
        if drained {
            let record = DrainRecord {
                since_unix_ms: now_unix_ms(),
                by: by.actor(),
                comment: comment.clone(),
            };
            wanted.drains.insert(target.to_owned(), record);
        } else {
            wanted.drains.remove(target);
        }
        let compiled = self.compile(fleet, &wanted).await?;
        let compiled = compiled.map_err(|_| ServiceError::RevisionUnreadable(state.revision))?;
        let mut blobs = BlobWriter::new(self.store.as_ref());
        let (next, names) = next_state(&wanted, compiled, state.revision, &mut blobs).await?;
        let action = if drained { "DRAINED" } else { "UNDRAINED" };
        let detail = format!("{} edges change; {comment}", names.len());
        let audit = Record::new(by.actor(), action, target, detail);
        self.commit(&state, next, blobs, Vec::new(), audit).await?;
        let message = format!("{target}: {} edges change", names.len());
        self.events.publish(event(action, "", "", message));
        Ok(Some(names))
    }

    pub fn list_drains(&self) -> Vec<operator::Drain> {
        let state = self.state();
        let drain = |(target, record): (&String, &DrainRecord)| operator::Drain {
            target: target.clone(),
            since_unix_ms: record.since_unix_ms,
            by: record.by.clone(),
            comment: record.comment.clone(),
        };
        state.drains.iter().map(drain).collect()
    }
}
