//! The Operator service: a bearer token in the metadata, what it may do checked per call.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use hawser_controller_core::rollout::Policy;
use hawser_proto::operator::v1::operator_server::Operator;
use hawser_proto::operator::v1::*;
use hawser_telemetry::TraceContext;
use tonic::{Request, Response, Status};

use super::status::{peer, status, to_its_end};
use crate::audit::Entry;
use crate::service::{
    Applied, Controller, Created, DecisionFilter, Expected, Generation, NewToken, Operation,
    Principal, Proposal, Question, Reading, RevokedNow, ServiceError, Subscription,
};

type Answer<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Service(Arc<Controller>);

impl Service {
    pub fn new(controller: &Arc<Controller>) -> Self {
        Self(Arc::clone(controller))
    }

    /// Who asks, if they may.
    async fn allow<T>(
        &self,
        request: &Request<T>,
        operation: Operation,
    ) -> Result<Principal, Status> {
        let from = peer(request)?.address.ip();
        let admitted = self.0.admit(bearer(request), from, operation).await;
        admitted.map_err(|error| status(&error))
    }
}

fn bearer<T>(request: &Request<T>) -> Option<&str> {
    bearer_of(request.metadata().get("authorization")?.to_str().ok()?)
}

/// The token of an `authorization` value.
pub fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(|token| !token.is_empty())
}

/// W3C Trace Context, as gRPC carries it.
fn trace_of<T>(request: &Request<T>) -> Option<TraceContext> {
    TraceContext::parse(request.metadata().get("traceparent")?.to_str().ok()?)
}

fn answer<T>(result: Result<T, ServiceError>) -> Answer<T> {
    result.map(Response::new).map_err(|error| status(&error))
}

impl Service {
    fn applied(&self, applied: Applied) -> ApplyResponse {
        match applied {
            Applied::Faulty(faults) => ApplyResponse { faults, ..Default::default() },
            Applied::Unchanged { revision } => {
                ApplyResponse { revision, unchanged: true, ..Default::default() }
            }
            Applied::Committed { revision, changed } => {
                let rollout = self.0.rollout();
                ApplyResponse {
                    revision,
                    changed: generations(changed),
                    rollout: (rollout.revision == revision).then_some(rollout),
                    ..Default::default()
                }
            }
        }
    }
}

/// The commit itself is durable; only the spare copy may not be.
pub async fn export_after(controller: &Controller, applied: &Applied) {
    if matches!(applied, Applied::Committed { .. })
        && let Err(error) = controller.checkpoint().await
    {
        tracing::error!(%error, "exporting the store failed");
    }
}

fn generations(changed: Vec<(String, Generation)>) -> Vec<EdgeGeneration> {
    changed.into_iter().map(|(edge, id)| EdgeGeneration { edge, id: Some(id.into()) }).collect()
}

pub fn policy(asked: RolloutPolicy) -> Policy {
    let default = Policy::default();
    let ms = |seconds: u32, default: u64| match seconds {
        0 => default,
        seconds => u64::from(seconds) * 1_000,
    };
    Policy {
        canary_sites: asked.canary_sites,
        soak_ms: ms(asked.soak_s, default.soak_ms),
        settle_within_ms: ms(asked.settle_within_s, default.settle_within_ms),
        confirm_within_ms: (asked.confirm_within_s > 0)
            .then(|| u64::from(asked.confirm_within_s) * 1_000),
        growth: if asked.growth == 0 { default.growth } else { asked.growth },
    }
}

fn audit_entry(entry: Entry) -> AuditEntry {
    AuditEntry {
        sequence: entry.sequence,
        unix_ms: entry.unix_ms,
        actor: entry.record.actor,
        action: entry.record.action,
        subject: entry.record.subject,
        detail: entry.record.detail,
        suppressed: entry.suppressed,
        previous: entry.previous,
        hash: entry.hash,
    }
}

#[tonic::async_trait]
impl Operator for Service {
    async fn validate(&self, request: Request<ValidateRequest>) -> Answer<ValidateResponse> {
        self.allow(&request, Operation::Validate).await?;
        let faults = self.0.validate(request.into_inner().document).await;
        answer(faults.map(|faults| ValidateResponse { faults }))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<ApplyResponse> {
        let by = self.allow(&request, Operation::Apply).await?;
        let trace = trace_of(&request);
        let asked = request.into_inner();
        let expected = match (asked.expect_none, asked.expected_revision) {
            (true, _) => Expected::None,
            (false, 0) => Expected::Any,
            (false, revision) => Expected::Revision(revision),
        };
        let proposal = Proposal {
            document: asked.document,
            comment: asked.comment,
            expected,
            policy: asked.rollout.map(policy),
            trace,
        };
        let controller = Arc::clone(&self.0);
        let applied = to_its_end(async move {
            let applied = controller.apply(&by, proposal).await?;
            export_after(&controller, &applied).await;
            Ok(applied)
        });
        Ok(Response::new(self.applied(applied.await?)))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Answer<ApplyResponse> {
        let by = self.allow(&request, Operation::Rollback).await?;
        let asked = request.into_inner();
        let expected = match asked.expected_revision {
            0 => Expected::Any,
            revision => Expected::Revision(revision),
        };
        let policy = asked.rollout.map(policy);
        let controller = Arc::clone(&self.0);
        let applied = to_its_end(async move {
            let applied =
                controller.rollback(&by, asked.revision, asked.comment, expected, policy).await?;
            export_after(&controller, &applied).await;
            Ok(applied)
        });
        Ok(Response::new(self.applied(applied.await?)))
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Answer<PlanResponse> {
        self.allow(&request, Operation::Plan).await?;
        let PlanRequest { document, revision } = request.into_inner();
        let document = match revision {
            0 => document,
            revision => {
                let document = self.0.document(revision).await;
                document.map_err(|error| status(&error))?.bytes
            }
        };
        answer(self.0.plan(document).await)
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Answer<PlanResponse> {
        self.allow(&request, Operation::Diff).await?;
        let DiffRequest { from, to } = request.into_inner();
        answer(self.0.diff(from, to).await)
    }

    async fn list_revisions(
        &self,
        request: Request<ListRevisionsRequest>,
    ) -> Answer<ListRevisionsResponse> {
        self.allow(&request, Operation::ListRevisions).await?;
        let asked = request.into_inner();
        answer(self.0.list_revisions(asked.page_size, &asked.page_token).await)
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Answer<ListAuditResponse> {
        self.allow(&request, Operation::ListAudit).await?;
        let ListAuditRequest { after_sequence, page_size, newest } = request.into_inner();
        let after = (!newest).then_some(after_sequence);
        let page = self.0.list_audit(after, page_size).await;
        answer(page.map(|page| ListAuditResponse {
            entries: page.entries.into_iter().map(audit_entry).collect(),
            head_sequence: page.head.sequence,
            head_hash: page.head.hash,
        }))
    }

    async fn get_rollout(&self, request: Request<GetRolloutRequest>) -> Answer<Rollout> {
        self.allow(&request, Operation::GetRollout).await?;
        Ok(Response::new(self.0.rollout()))
    }

    async fn confirm_rollout(&self, request: Request<ConfirmRolloutRequest>) -> Answer<Rollout> {
        let by = self.allow(&request, Operation::ConfirmRollout).await?;
        let controller = Arc::clone(&self.0);
        let done = to_its_end(async move { controller.confirm_rollout(&by).await });
        Ok(Response::new(done.await?))
    }

    async fn abort_rollout(&self, request: Request<AbortRolloutRequest>) -> Answer<Rollout> {
        let by = self.allow(&request, Operation::AbortRollout).await?;
        let reason = request.into_inner().reason;
        let controller = Arc::clone(&self.0);
        let done = to_its_end(async move { controller.abort_rollout(&by, reason).await });
        Ok(Response::new(done.await?))
    }

    async fn set_drain(&self, request: Request<SetDrainRequest>) -> Answer<SetDrainResponse> {
        let by = self.allow(&request, Operation::SetDrain).await?;
        let SetDrainRequest { target, drained, comment } = request.into_inner();
        let controller = Arc::clone(&self.0);
        let done =
            to_its_end(async move { controller.set_drain(&by, &target, drained, comment).await });
        let changed = done.await?;
        Ok(Response::new(SetDrainResponse {
            unchanged: changed.is_none(),
            changed: generations(changed.unwrap_or_default()),
        }))
    }

    async fn list_drains(&self, request: Request<ListDrainsRequest>) -> Answer<ListDrainsResponse> {
        self.allow(&request, Operation::ListDrains).await?;
        Ok(Response::new(ListDrainsResponse { drains: self.0.list_drains() }))
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Answer<RevokeResponse> {
        let by = self.allow(&request, Operation::Revoke).await?;
        let RevokeRequest { target, comment } = request.into_inner();
        let controller = Arc::clone(&self.0);
        let done = to_its_end(async move { controller.revoke(&by, &target, &comment).await });
        Ok(Response::new(revoked(done.await?)))
    }

    async fn replace(&self, request: Request<ReplaceRequest>) -> Answer<ReplaceResponse> {
        let by = self.allow(&request, Operation::Replace).await?;
        let ReplaceRequest { target, comment, valid_for_s } = request.into_inner();
        let controller = Arc::clone(&self.0);
        let done =
            to_its_end(
                async move { controller.replace(&by, &target, &comment, valid_for_s).await },
            );
        let (ended, tokens) = done.await?;
        let token = |(edge, created): (String, Created)| ReplacementToken {
            edge,
            token: Some(CreateTokenResponse {
                id: created.id,
                token: created.text,
                expires_unix_ms: created.expires_unix_ms,
            }),
        };
        Ok(Response::new(ReplaceResponse {
            revoked: Some(revoked(ended)),
            tokens: tokens.into_iter().map(token).collect(),
        }))
    }

    async fn get_authority(
        &self,
        request: Request<GetAuthorityRequest>,
    ) -> Answer<AuthorityStatus> {
        self.allow(&request, Operation::GetAuthority).await?;
        answer(self.0.authority())
    }

    async fn rotate_authority(
        &self,
        request: Request<RotateAuthorityRequest>,
    ) -> Answer<AuthorityStatus> {
        let by = self.allow(&request, Operation::RotateAuthority).await?;
        let RotateAuthorityRequest { certificate_pem, renew_within_s, comment } =
            request.into_inner();
        let controller = Arc::clone(&self.0);
        let done = to_its_end(async move {
            controller.rotate_authority(&by, &certificate_pem, renew_within_s, &comment).await
        });
        Ok(Response::new(done.await?))
    }

    async fn retire_authority(
        &self,
        request: Request<RetireAuthorityRequest>,
    ) -> Answer<AuthorityStatus> {
        let by = self.allow(&request, Operation::RetireAuthority).await?;
        let RetireAuthorityRequest { force, comment } = request.into_inner();
        let controller = Arc::clone(&self.0);
        let done =
            to_its_end(async move { controller.retire_authority(&by, force, &comment).await });
        Ok(Response::new(done.await?))
    }

    async fn get_fleet(&self, request: Request<GetFleetRequest>) -> Answer<GetFleetResponse> {
        self.allow(&request, Operation::GetFleet).await?;
        let document = self.0.document(request.into_inner().revision).await;
        answer(document.map(|document| GetFleetResponse {
            revision: document.revision,
            document: document.bytes,
            committed_unix_ms: document.committed_unix_ms,
            committed_by: document.committed_by,
            comment: document.comment,
        }))
    }

    async fn get_status(&self, request: Request<GetStatusRequest>) -> Answer<GetStatusResponse> {
        self.allow(&request, Operation::GetStatus).await?;
        Ok(Response::new(self.0.status()))
    }

    async fn list_sites(&self, request: Request<ListSitesRequest>) -> Answer<ListSitesResponse> {
        self.allow(&request, Operation::ListSites).await?;
        let asked = request.into_inner();
        Ok(Response::new(self.0.sites(asked.page_size, &asked.page_token)))
    }

    async fn list_paths(&self, request: Request<ListPathsRequest>) -> Answer<ListPathsResponse> {
        self.allow(&request, Operation::ListPaths).await?;
        let asked = request.into_inner();
        answer(self.0.paths(&asked.site, asked.page_size, &asked.page_token))
    }

    async fn list_decisions(
        &self,
        request: Request<ListDecisionsRequest>,
    ) -> Answer<ListDecisionsResponse> {
        self.allow(&request, Operation::ListDecisions).await?;
        let asked = request.into_inner();
        let decisions = self.0.decisions(&DecisionFilter {
            site: asked.site,
            traffic_class: asked.traffic_class,
            since_unix_ms: asked.since_unix_ms,
            until_unix_ms: asked.until_unix_ms,
            limit: asked.limit,
        });
        answer(decisions.map(|decisions| ListDecisionsResponse { decisions }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Answer<CreateTokenResponse> {
        let by = self.allow(&request, Operation::CreateToken).await?;
        let asked = request.into_inner();
        let new = NewToken {
            kind: asked.kind(),
            edge: asked.edge,
            role: asked.role,
            valid_for_s: asked.valid_for_s,
            comment: asked.comment,
        };
        let controller = Arc::clone(&self.0);
        let created = to_its_end(async move { controller.create_token(&by, new).await }).await?;
        Ok(Response::new(CreateTokenResponse {
            id: created.id,
            token: created.text,
            expires_unix_ms: created.expires_unix_ms,
        }))
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Answer<ListTokensResponse> {
        self.allow(&request, Operation::ListTokens).await?;
        let tokens = self.0.list_tokens().await;
        answer(tokens.map(|tokens| ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Answer<RevokeTokenResponse> {
        let by = self.allow(&request, Operation::RevokeToken).await?;
        let id = request.into_inner().id;
        let controller = Arc::clone(&self.0);
        to_its_end(async move { controller.revoke_token(&by, &id).await }).await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Answer<ListEventsResponse> {
        self.allow(&request, Operation::ListEvents).await?;
        let asked = request.into_inner();
        let events = self.0.list_events(asked.since_unix_ms, asked.limit);
        Ok(Response::new(ListEventsResponse { events }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        self.allow(&request, Operation::Explain).await?;
        let asked = request.into_inner();
        answer(self.0.explain(&Question {
            site: asked.site,
            peer: asked.peer,
            traffic_class: asked.traffic_class,
            at_unix_ms: asked.at_unix_ms,
            limit: asked.limit,
        }))
    }

    async fn list_advice(&self, request: Request<ListAdviceRequest>) -> Answer<ListAdviceResponse> {
        self.allow(&request, Operation::ListAdvice).await?;
        Ok(Response::new(self.0.list_advice()))
    }

    type RecordStream = Pin<Box<dyn Stream<Item = Result<RecordPart, Status>> + Send>>;

    async fn record(&self, request: Request<RecordRequest>) -> Answer<Self::RecordStream> {
        self.allow(&request, Operation::Record).await?;
        let RecordRequest { site, since_unix_ms, until_unix_ms } = request.into_inner();
        let edges = self.0.edges_of(&site).map_err(|error| status(&error))?;
        let reading = |edge| Reading::new(edge, since_unix_ms, until_unix_ms);
        let readings: VecDeque<Reading> = edges.into_iter().map(reading).collect();
        // A piece is asked for when the operator has taken the one before.
        let stream = futures::stream::try_unfold(
            (readings, Arc::clone(&self.0)),
            |(mut readings, controller): (VecDeque<Reading>, Arc<Controller>)| async move {
                while let Some(reading) = readings.front_mut() {
                    let read = controller.read_history(reading).await;
                    if let Some(blocks) = read.map_err(|error| status(&error))? {
                        let edge = reading.edge.clone();
                        return Ok(Some((RecordPart { edge, blocks }, (readings, controller))));
                    }
                    readings.pop_front();
                }
                Ok(None)
            },
        );
        Ok(Response::new(Box::pin(stream)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        self.allow(&request, Operation::Watch).await?;
        let subscription = self.0.watch_events(request.into_inner().since_unix_ms);
        let controller = Arc::clone(&self.0);
        let stream = futures::stream::unfold(
            (subscription, controller),
            |(mut subscription, controller): (Subscription, Arc<Controller>)| async move {
                let event = tokio::select! {
                    () = controller.stopping().cancelled() => None,
                    event = subscription.next() => event,
                };
                event.map(|event| (Ok(event), (subscription, controller)))
            },
        );
        Ok(Response::new(Box::pin(stream)))
    }
}

fn revoked(done: RevokedNow) -> RevokeResponse {
    RevokeResponse { serials: done.serials, list_number: done.list_number }
}
