//! An operator's connection.

use hawser_proto::operator::v1::operator_client::OperatorClient;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

pub type Client = OperatorClient<InterceptedService<Channel, Bearer>>;

#[derive(Clone)]
pub struct Bearer(String);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value: MetadataValue<_> =
            format!("Bearer {}", self.0).parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// What `init` wrote for the operator.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Access {
    ca_pem: String,
    token: String,
}

pub async fn connect(access: &Access, port: u16) -> Option<Client> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&access.ca_pem))
        .domain_name("controller.hawser");
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).ok()?;
    let channel = endpoint.tls_config(tls).ok()?.connect().await.ok()?;
    Some(OperatorClient::with_interceptor(channel, Bearer(access.token.clone())))
}
