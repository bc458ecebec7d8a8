//! The Operator service: a bearer token in the metadata, its role checked per call.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use hawser_proto::operator::v1::operator_server::Operator;
use hawser_proto::operator::v1::*;
use tonic::{Request, Response, Status};

use super::status::{peer, status, to_its_end};
use crate::service::{
    Applied, Controller, DecisionFilter, NewToken, Principal, Question, Reading, Role,
    ServiceError, Subscription,
};

type Answer<T> = Result<Response<T>, Status>;

#[derive(Debug)]
pub struct Service(Arc<Controller>);

impl Service {
    pub fn new(controller: &Arc<Controller>) -> Self {
        Self(Arc::clone(controller))
    }

    /// Who asks, if they may; a refusal is audited.
    async fn allow<T>(&self, request: &Request<T>, needed: Role) -> Result<Principal, Status> {
        let result = match bearer(request) {
            Some(token) => self.0.authorise(token, needed).await,
            None => Err(ServiceError::ApiTokenMissing),
        };
        match result {
            Ok(principal) => Ok(principal),
            Err(error) => {
                let actor = format!("address:{}", peer(request)?.address.ip());
                let detail = format!("operator call: {error}");
                self.0.refused(actor, error.code(), "", detail).await;
                Err(status(&error))
            }
        }
    }
}

fn bearer<T>(request: &Request<T>) -> Option<&str> {
    let value = request.metadata().get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(|token| !token.is_empty())
}

fn answer<T>(result: Result<T, ServiceError>) -> Answer<T> {
    result.map(Response::new).map_err(|error| status(&error))
}

#[tonic::async_trait]
impl Operator for Service {
    async fn validate(&self, request: Request<ValidateRequest>) -> Answer<ValidateResponse> {
        self.allow(&request, Role::Viewer).await?;
        let faults = self.0.validate(request.into_inner().document).await;
        answer(faults.map(|faults| ValidateResponse { faults }))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<ApplyResponse> {
        let by = self.allow(&request, Role::Operator).await?;
        let ApplyRequest { document, comment, expected_revision } = request.into_inner();
        let controller = Arc::clone(&self.0);
        let applied = to_its_end(async move {
            let applied = controller.apply(&by, document, comment, expected_revision).await?;
            if matches!(applied, Applied::Committed { .. })
                && let Err(error) = controller.checkpoint().await
            {
                // The commit itself is durable; only the spare copy is not.
                tracing::error!(%error, "exporting the store failed");
            }
            Ok(applied)
        })
        .await?;
        Ok(Response::new(match applied {
            Applied::Faulty(faults) => ApplyResponse { faults, ..Default::default() },
            Applied::Unchanged { revision } => {
                ApplyResponse { revision, unchanged: true, ..Default::default() }
            }
            Applied::Committed { revision, changed } => ApplyResponse {
                revision,
                changed: changed
                    .into_iter()
                    .map(|(edge, id)| EdgeGeneration { edge, id: Some(id.into()) })
                    .collect(),
                ..Default::default()
            },
        }))
    }

    async fn get_fleet(&self, request: Request<GetFleetRequest>) -> Answer<GetFleetResponse> {
        self.allow(&request, Role::Viewer).await?;
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
        self.allow(&request, Role::Viewer).await?;
        Ok(Response::new(self.0.status()))
    }

    async fn list_sites(&self, request: Request<ListSitesRequest>) -> Answer<ListSitesResponse> {
        self.allow(&request, Role::Viewer).await?;
        let asked = request.into_inner();
        Ok(Response::new(self.0.sites(asked.page_size, &asked.page_token)))
    }

    async fn list_paths(&self, request: Request<ListPathsRequest>) -> Answer<ListPathsResponse> {
        self.allow(&request, Role::Viewer).await?;
        let asked = request.into_inner();
        answer(self.0.paths(&asked.site, asked.page_size, &asked.page_token))
    }

    async fn list_decisions(
        &self,
        request: Request<ListDecisionsRequest>,
    ) -> Answer<ListDecisionsResponse> {
        self.allow(&request, Role::Viewer).await?;
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
        let needed = match request.get_ref().kind() {
            TokenKind::Enrolment => Role::Operator,
            TokenKind::Api | TokenKind::Unspecified => Role::Admin,
        };
        let by = self.allow(&request, needed).await?;
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
        self.allow(&request, Role::Operator).await?;
        let tokens = self.0.list_tokens().await;
        answer(tokens.map(|tokens| ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Answer<RevokeTokenResponse> {
        let by = self.allow(&request, Role::Operator).await?;
        let id = request.into_inner().id;
        let controller = Arc::clone(&self.0);
        to_its_end(async move { controller.revoke_token(&by, &id).await }).await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Answer<ListEventsResponse> {
        self.allow(&request, Role::Viewer).await?;
        let asked = request.into_inner();
        let events = self.0.list_events(asked.since_unix_ms, asked.limit);
        Ok(Response::new(ListEventsResponse { events }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        self.allow(&request, Role::Viewer).await?;
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
        self.allow(&request, Role::Viewer).await?;
        Ok(Response::new(self.0.list_advice()))
    }

    type RecordStream = Pin<Box<dyn Stream<Item = Result<RecordPart, Status>> + Send>>;

    async fn record(&self, request: Request<RecordRequest>) -> Answer<Self::RecordStream> {
        self.allow(&request, Role::Viewer).await?;
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
        self.allow(&request, Role::Viewer).await?;
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
