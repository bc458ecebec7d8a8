//! The AgentLink service: the edge is the one that the client certificate names.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use hawser_proto::agent::v1::agent_link_server::AgentLink;
use hawser_proto::agent::v1::{AgentMessage, ControllerMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::PeerInfo;
use super::status::{peer, status};
use crate::pki::edge_identity;
use crate::service::{Controller, Peer, ServiceError};

/// Messages waiting for an agent; beyond it the session waits, and at last cuts the agent off.
const QUEUE_DEPTH: usize = 64;

#[derive(Debug)]
pub struct Service(Arc<Controller>);

impl Service {
    pub fn new(controller: &Arc<Controller>) -> Self {
        Self(Arc::clone(controller))
    }

    async fn identify(&self, info: &PeerInfo) -> Result<Peer, ServiceError> {
        let identity = match &info.certificate {
            None => Err(ServiceError::CertificateMissing),
            Some(der) => edge_identity(der).map_err(|_| ServiceError::CertificateForeign),
        };
        match identity {
            Ok(identity) => Ok(Peer { identity, address: info.address }),
            Err(error) => {
                let actor = format!("address:{}", info.address.ip());
                self.0.refused(actor, error.code(), "", format!("session: {error}")).await;
                Err(error)
            }
        }
    }
}

#[tonic::async_trait]
impl AgentLink for Service {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<ControllerMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let info = peer(&request)?;
        let identified = self.identify(&info).await;
        let peer = identified.map_err(|error| status(&error))?;
        let (to_agent, from_session) = mpsc::channel(QUEUE_DEPTH);
        let controller = Arc::clone(&self.0);
        let from_agent = request.into_inner();
        tokio::spawn(async move { controller.session(peer, from_agent, to_agent).await });
        let stream = ReceiverStream::new(from_session).map(Ok);
        Ok(Response::new(Box::pin(stream)))
    }
}
