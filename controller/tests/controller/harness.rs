//! A controller in a temporary folder, its operator, and agents that speak the protocol.

use std::path::Path;
use std::time::Duration;

use hawser_controller::init::{self, Setup};
use hawser_controller::server::{self, Options, Running};
use hawser_controller::service::AdviceMode;
use hawser_controller::store::StoreChoice;
use hawser_proto::agent::v1::agent_link_client::AgentLinkClient;
use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::enrolment_client::EnrolmentClient;
use hawser_proto::agent::v1::*;
use hawser_proto::config::v1::{EdgeConfig, GenerationId};
use hawser_proto::operator::v1::operator_client::OperatorClient;
use hawser_proto::operator::v1::*;
use hawser_proto::token::EnrolmentToken;
use prost::Message as _;
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status, Streaming};

/// Nothing on loopback takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

pub type Operator = OperatorClient<InterceptedService<Channel, Bearer>>;

/// Puts the token into each request.
#[derive(Clone)]
pub struct Bearer(pub String);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.0.is_empty() {
            let value = format!("Bearer {}", self.0).parse().expect("a token is ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// What `init` tells its operator.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Admin {
    pub controller: String,
    pub ca_pem: String,
    pub token: String,
}

pub struct Lab {
    pub dir: TempDir,
    pub admin: Admin,
    pub running: Option<Running>,
}

impl Lab {
    pub async fn new(fleet: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (data, admin) = initialise(dir.path(), fleet).await;
        let running = start(&data).await;
        Self { dir, admin, running: Some(running) }
    }

    /// With the document of three sites applied.
    pub async fn with_fleet() -> Self {
        let lab = Self::new("acme").await;
        lab.apply(&fleet(&[])).await;
        lab
    }

    pub fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    pub fn port(&self) -> u16 {
        self.running.as_ref().expect("running").address().port()
    }

    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await.expect("a clean stop");
        }
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.running = Some(start(&self.data()).await);
    }

    pub async fn operator(&self) -> Operator {
        operator(&self.admin, self.port(), &self.admin.token).await
    }

    pub async fn apply(&self, document: &str) -> ApplyResponse {
        let applied = apply(&mut self.operator().await, document).await;
        assert_eq!(applied.faults, [], "{document}");
        applied
    }

    /// The token's text.
    pub async fn enrolment_token(&self, edge: &str) -> String {
        let asked = CreateTokenRequest {
            kind: TokenKind::Enrolment.into(),
            edge: edge.into(),
            ..Default::default()
        };
        let made = self.operator().await.create_token(asked).await;
        made.expect("a token").into_inner().token
    }

    pub async fn enrol(&self, edge: &str) -> EdgeKeys {
        let token = self.enrolment_token(edge).await;
        let key = new_key();
        let answer = self.enrol_with(&token, &key).await.expect("a certificate");
        EdgeKeys { edge: edge.into(), chain: answer.certificate_chain_der, key }
    }

    pub async fn enrol_with(&self, token: &str, key: &KeyPair) -> Result<EnrolResponse, Status> {
        let token: EnrolmentToken = token.parse().expect("a token");
        self.enrol_secret(&token.secret, key).await
    }

    pub async fn enrol_secret(
        &self,
        secret: &[u8],
        key: &KeyPair,
    ) -> Result<EnrolResponse, Status> {
        let request =
            rcgen::CertificateParams::default().serialize_request(key).expect("a request");
        let asked = EnrolRequest {
            secret: secret.to_vec(),
            csr_der: request.der().to_vec(),
            agent_version: "test".into(),
        };
        let channel = channel(&self.admin, self.port(), None).await?;
        let answer = EnrolmentClient::new(channel).enrol(asked).await;
        answer.map(tonic::Response::into_inner)
    }

    pub async fn connect(&self, keys: &EdgeKeys, generations: GenerationState) -> Agent {
        let hello = hello("acme", &keys.edge, generations);
        let mut agent = self.open(Some(keys), hello).await.expect("a session");
        agent.welcome = Some(match agent.next().await {
            ToAgent::Welcome(welcome) => welcome,
            other => panic!("no welcome but {other:?}"),
        });
        match agent.next().await {
            ToAgent::Facts(facts) => agent.first_facts = facts,
            other => panic!("no facts but {other:?}"),
        }
        agent
    }

    pub async fn open(&self, keys: Option<&EdgeKeys>, hello: Hello) -> Result<Agent, Status> {
        let channel = channel(&self.admin, self.port(), keys).await?;
        let (to_controller, messages) = mpsc::channel(16);
        let first = AgentMessage { message: Some(FromAgent::Hello(hello)) };
        to_controller.send(first).await.expect("room");
        let mut client = AgentLinkClient::new(channel);
        let stream = client.session(ReceiverStream::new(messages)).await?;
        Ok(Agent {
            to_controller,
            from_controller: stream.into_inner(),
            welcome: None,
            first_facts: Facts::default(),
        })
    }

    /// Codes of what happened, oldest first.
    pub async fn event_codes(&self) -> Vec<String> {
        let asked = ListEventsRequest { limit: 1_000, ..Default::default() };
        let events = self.operator().await.list_events(asked).await;
        let events = events.expect("events").into_inner().events;
        events.into_iter().map(|event| event.code).collect()
    }

    /// Waits for an event; what agents say is handled a little later.
    pub async fn event(&self, code: &str) {
        eventually(&format!("event {code}"), async || {
            self.event_codes().await.iter().any(|c| c == code)
        })
        .await;
    }

    pub async fn edge_status(&self, edge: &str) -> EdgeStatus {
        let asked = ListSitesRequest::default();
        let sites = self.operator().await.list_sites(asked).await;
        let sites = sites.expect("sites").into_inner().sites;
        let mut edges = sites.into_iter().flat_map(|site| site.edges);
        edges.find(|e| e.name == edge).expect("the edge is listed")
    }
}

/// An enrolled edge's identity.
pub struct EdgeKeys {
    pub edge: String,
    pub chain: Vec<Vec<u8>>,
    pub key: KeyPair,
}

/// One open session, as an agent has it.
pub struct Agent {
    to_controller: mpsc::Sender<AgentMessage>,
    from_controller: Streaming<ControllerMessage>,
    pub welcome: Option<Welcome>,
    pub first_facts: Facts,
}

impl Agent {
    pub async fn say(&self, message: FromAgent) {
        let message = AgentMessage { message: Some(message) };
        self.to_controller.send(message).await.expect("room");
    }

    pub async fn next(&mut self) -> ToAgent {
        self.try_next().await.expect("one more message")
    }

    /// `None`: the stream has ended.
    pub async fn try_next(&mut self) -> Option<ToAgent> {
        let next = tokio::time::timeout(PATIENCE, self.from_controller.message()).await;
        let message = next.expect("the controller answers in time");
        message.ok().flatten().and_then(|m| m.message)
    }

    pub async fn generation(&mut self) -> Generation {
        match self.next().await {
            ToAgent::Generation(generation) => generation,
            other => panic!("no generation but {other:?}"),
        }
    }

    pub async fn refusal(&mut self) -> Refusal {
        match self.next().await {
            ToAgent::Refusal(refusal) => refusal,
            other => panic!("no refusal but {other:?}"),
        }
    }

    pub async fn hears_nothing(&mut self) {
        let wait = Duration::from_millis(300);
        let next = tokio::time::timeout(wait, self.from_controller.message()).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// Takes the generation that comes and says so.
    pub async fn take_generation(&mut self) -> Generation {
        let generation = self.generation().await;
        self.say(FromAgent::Ack(Ack { id: generation.id })).await;
        generation
    }
}

pub fn hello(fleet: &str, edge: &str, generations: GenerationState) -> Hello {
    Hello {
        protocol_major: 1,
        protocol_minor: 0,
        agent_version: "test".into(),
        fleet: fleet.into(),
        edge: edge.into(),
        generations: Some(generations),
        boot_id: "boot".into(),
        ..Default::default()
    }
}

/// Has applied this one, not yet confirmed.
pub fn applied(id: Option<GenerationId>) -> GenerationState {
    GenerationState { highest_seen: id, applied: id, ..Default::default() }
}

pub fn decode(generation: &Generation) -> EdgeConfig {
    EdgeConfig::decode(&generation.config[..]).expect("a configuration")
}

pub fn number(id: Option<GenerationId>) -> u64 {
    id.expect("a generation").number
}

pub fn new_key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key")
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "{what} in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn initialise(dir: &Path, fleet: &str) -> (std::path::PathBuf, Admin) {
    let data = dir.join("data");
    let setup = Setup {
        fleet: fleet.into(),
        advertised: vec!["127.0.0.1:4511".parse().expect("an address")],
    };
    let made = init::init(&data, &setup).await.expect("init");
    let context = std::fs::read(&made.admin_context).expect("the context");
    (data, serde_json::from_slice(&context).expect("its JSON"))
}

pub async fn start(data: &Path) -> Running {
    server::start(options(data)).await.expect("the controller starts")
}

pub fn options(data: &Path) -> Options {
    Options {
        data: data.to_owned(),
        store: StoreChoice::Sled,
        listen: "127.0.0.1:0".parse().expect("an address"),
        telemetry_interval: Duration::from_millis(200),
        advice: AdviceMode::On,
        edge_lifetime: hawser_controller::pki::EDGE_LIFETIME,
    }
}

pub async fn operator(admin: &Admin, port: u16, token: &str) -> Operator {
    let channel = channel(admin, port, None).await.expect("a connection");
    OperatorClient::with_interceptor(channel, Bearer(token.to_owned()))
}

pub async fn apply(operator: &mut Operator, document: &str) -> ApplyResponse {
    let asked = ApplyRequest { document: document.as_bytes().to_vec(), ..Default::default() };
    operator.apply(asked).await.expect("apply").into_inner()
}

pub async fn channel(admin: &Admin, port: u16, keys: Option<&EdgeKeys>) -> Result<Channel, Status> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&admin.ca_pem))
        .domain_name("controller.hawser");
    if let Some(keys) = keys {
        let chain: String = keys.chain.iter().map(|der| pem(der)).collect();
        tls = tls.identity(Identity::from_pem(chain, keys.key.serialize_pem()));
    }
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .expect("an endpoint");
    let connected = endpoint.connect().await;
    connected.map_err(|error| Status::unavailable(format!("{error:?}")))
}

pub fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// Three sites; each change replaces a text of the document.
pub fn fleet(changes: &[(&str, &str)]) -> String {
    let mut document = include_str!("fleet.yaml").to_owned();
    for (from, to) in changes {
        assert!(document.contains(from), "{from}");
        document = document.replace(from, to);
    }
    document
}
