//! Two real agents of two fleets at one controller's process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hawser_controller::init::{Setup, add_fleet, init};
use hawser_controller::pki::{Advertised, Host};
use hawser_controller::server::{self, Options};
use hawser_controller::service::AdviceMode;
use hawser_controller::store::StoreChoice;
use hawser_edge::control::{Control, ControlEvent, EnrolOptions, Order, enrol, start};
use hawser_proto::operator::v1 as operator;
use hawser_proto::operator::v1::operator_client::OperatorClient;
use hawser_proto::token::EnrolmentToken;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

const DOCUMENT: &str = include_str!("../../e2e/fleets/demo.yaml");
/// Of the same name in both fleets.
const EDGE: &str = "b1-1";
const SOON: Duration = Duration::from_secs(30);

/// One fleet's operator.
struct Operator {
    client: OperatorClient<Channel>,
    token: String,
}

impl Operator {
    async fn of(context: &Path, address: SocketAddr) -> Self {
        let text = std::fs::read(context).unwrap();
        let context: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let name = match context["fleet"].as_str() {
            Some(fleet) => format!("{fleet}.controller.hawser"),
            None => "controller.hawser".to_owned(),
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(context["ca_pem"].as_str().unwrap()))
            .domain_name(name);
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
        let token = context["token"].as_str().unwrap().to_owned();
        Self { client: OperatorClient::new(channel), token }
    }

    fn asked<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    }

    async fn apply(&mut self, document: &str) {
        let document = document.as_bytes().to_vec();
        let request = self.asked(operator::ApplyRequest { document, ..Default::default() });
        assert_eq!(self.client.apply(request).await.unwrap().into_inner().faults, []);
    }

    async fn token(&mut self) -> EnrolmentToken {
        let request = self.asked(operator::CreateTokenRequest {
            kind: operator::TokenKind::Enrolment.into(),
            edge: EDGE.to_owned(),
            valid_for_s: 600,
            ..Default::default()
        });
        self.client.create_token(request).await.unwrap().into_inner().token.parse().unwrap()
    }

    async fn until_confirmed(&mut self, number: u64) {
        let confirmed = async {
            loop {
                let request = self.asked(operator::ListSitesRequest::default());
                let sites = self.client.list_sites(request).await.unwrap().into_inner().sites;
                let mut edges = sites.into_iter().flat_map(|site| site.edges);
                let edge = edges.find(|edge| edge.name == EDGE).unwrap();
                let held = edge.generations.and_then(|generations| generations.confirmed);
                if edge.connected && held.is_some_and(|id| id.number == number) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(SOON, confirmed).await.expect("confirmed in time");
    }
}

async fn order(control: &mut Control) -> Order {
    let next = async {
        loop {
            if let ControlEvent::ApplyGeneration(order) = control.events.recv().await.unwrap() {
                return order;
            }
        }
    };
    tokio::time::timeout(SOON, next).await.expect("a generation in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_two_fleets_enrol_at_one_process_and_each_gets_its_own_fleets_generation() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let data = folder.path().join("controller");
    let advertised = Advertised { host: Host::Address(address.ip()), port: address.port() };
    let setup = Setup { fleet: "acme".to_owned(), advertised: vec![advertised] };
    let acme = init(&data, &setup).await.unwrap();
    let beta = add_fleet(&data, "beta", Vec::new(), &StoreChoice::Sled).await.unwrap();
    let options = Options {
        data,
        store: StoreChoice::Sled,
        listen: address,
        telemetry_interval: Duration::from_millis(500),
        advice: AdviceMode::On,
        edge_lifetime: hawser_controller::pki::EDGE_LIFETIME,
    };
    let running = server::start(options).await.unwrap();

    let of_beta = DOCUMENT.replace("fleet: acme", "fleet: beta");
    let of_beta = of_beta.replace("probe_interval_ms: 100", "probe_interval_ms: 150");
    let mut held = Vec::new();
    let fleets = [("acme", acme, DOCUMENT), ("beta", beta, of_beta.as_str())];
    for (fleet, made, document) in fleets {
        let mut operator = Operator::of(&made.admin_context, address).await;
        operator.apply(document).await;
        let state_dir = folder.path().join(fleet);
        let token = operator.token().await;
        let identity = enrol(&state_dir, &token, &EnrolOptions::default()).await.unwrap();
        assert_eq!((identity.fleet(), identity.edge()), (fleet, EDGE));
        let mut control = start(Arc::new(identity), &state_dir, Arc::new(Vec::new)).unwrap();
        let order = order(&mut control).await;
        let id = order.id;
        assert_eq!((order.state.fleet.as_str(), order.state.edge.as_str()), (fleet, EDGE));
        held.push((control, order.bytes.clone()));
        order.reply.send(Ok(())).unwrap();
        operator.until_confirmed(id.number).await;
    }
    assert_ne!(held[0].1, held[1].1, "they are told different things");
    for (control, _) in held {
        control.handle.stop();
        control.task.await.unwrap();
    }
    running.stop().await.unwrap();
}
