//! Who applies documents and asks how the fleet is.

use std::time::{Duration, Instant};

use hawser_proto::operator::v1::operator_client::OperatorClient;
use hawser_proto::operator::v1::{ApplyRequest, GetStatusRequest, GetStatusResponse};
use tonic::Request;
use tonic::transport::Channel;

use crate::process::Controller;

pub struct Operator {
    client: OperatorClient<Channel>,
    bearer: String,
}

impl Operator {
    pub async fn connect(controller: &Controller) -> Result<Self, String> {
        let client = OperatorClient::new(controller.channel(None).await?);
        Ok(Self { client, bearer: format!("Bearer {}", controller.token()) })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = self.bearer.parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }

    pub async fn apply(&mut self, document: &str) -> Result<(), String> {
        let asked = ApplyRequest { document: document.as_bytes().to_vec(), ..Default::default() };
        let request = self.request(asked);
        let done = self.client.apply(request).await.map_err(|status| status.to_string())?;
        match done.into_inner().faults.first() {
            None => Ok(()),
            Some(fault) => Err(format!("{}: {}", fault.path, fault.message)),
        }
    }

    pub async fn status(&mut self) -> Result<GetStatusResponse, String> {
        let request = self.request(GetStatusRequest {});
        let status = self.client.get_status(request).await;
        status.map(tonic::Response::into_inner).map_err(|status| status.to_string())
    }

    pub async fn converged(&mut self, count: usize, within: Duration) -> Result<(), String> {
        let end = Instant::now() + within;
        while self.status().await?.edges_converged as usize != count {
            if Instant::now() > end {
                return Err("the fleet does not converge".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
