//! The Enrolment service: the token is the credential.

use std::sync::Arc;

use hawser_proto::agent::v1::enrolment_server::Enrolment;
use hawser_proto::agent::v1::{EnrolRequest, EnrolResponse};
use tonic::{Request, Response, Status};

use super::status::{peer, to_its_end};
use crate::service::{Controller, EnrolmentRequest};

#[derive(Debug)]
pub struct Service(Arc<Controller>);

impl Service {
    pub fn new(controller: &Arc<Controller>) -> Self {
        Self(Arc::clone(controller))
    }
}

#[tonic::async_trait]
impl Enrolment for Service {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let source = peer(&request)?.address.ip();
        let EnrolRequest { secret, csr_der, agent_version } = request.into_inner();
        let asked = EnrolmentRequest { source, secret, csr_der, agent_version };
        let controller = Arc::clone(&self.0);
        let answer = to_its_end(async move { controller.enrol(asked).await }).await?;
        Ok(Response::new(EnrolResponse {
            fleet: answer.fleet,
            site: answer.site,
            edge: answer.edge,
            certificate_chain_der: answer.chain_der,
            root_ca_der: answer.root_der,
            controllers: answer.controllers,
        }))
    }
}
