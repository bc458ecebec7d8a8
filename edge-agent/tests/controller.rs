//! The agent's link against the real controller: enrolment, generations, decisions, restarts.

#[path = "controller/authority.rs"]
mod authority;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hawser_controller::init::{Setup, init};
use hawser_controller::pki::{Advertised, Host};
use hawser_controller::server::{self, Options, Running};
use hawser_controller::service::AdviceMode;
use hawser_controller::store::StoreChoice;
use hawser_edge::control::{
    Control, ControlEvent, EnrolOptions, Identity, Order, enrol, start as start_link,
};
use hawser_edge_core::config::Fault;
use hawser_edge_core::generation::ApplyReason;
use hawser_proto::agent::v1 as agent;
use hawser_proto::operator::v1 as operator;
use hawser_proto::operator::v1::operator_client::OperatorClient;
use hawser_proto::token::EnrolmentToken;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

const FLEET: &str = include_str!("../../e2e/fleets/demo.yaml");
const SOON: Duration = Duration::from_secs(30);

struct World {
    data: tempfile::TempDir,
    address: SocketAddr,
    controller: Option<Running>,
}

#[derive(Clone)]
struct Bearer(String);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value: MetadataValue<_> = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

type Client = OperatorClient<InterceptedService<Channel, Bearer>>;

impl World {
    async fn new() -> World {
        let data = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let advertised = Advertised { host: Host::Address(address.ip()), port: address.port() };
        let setup = Setup { fleet: "acme".to_owned(), advertised: vec![advertised] };
        init(&data.path().join("controller"), &setup).await.unwrap();
        let mut world = World { data, address, controller: None };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        let options = Options {
            data: self.data.path().join("controller"),
            store: StoreChoice::Sled,
            listen: self.address,
            telemetry_interval: Duration::from_millis(500),
            advice: AdviceMode::On,
            edge_lifetime: hawser_controller::pki::EDGE_LIFETIME,
        };
        self.controller = Some(server::start(options).await.unwrap());
    }

    async fn stop(&mut self) {
        self.controller.take().unwrap().stop().await.unwrap();
    }

    async fn operator(&self) -> Client {
        let context = self.data.path().join("controller/admin-context.json");
        let context: serde_json::Value =
            serde_json::from_slice(&std::fs::read(context).unwrap()).unwrap();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(context["ca_pem"].as_str().unwrap()))
            .domain_name("controller.hawser");
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
        let token = context["token"].as_str().unwrap().to_owned();
        OperatorClient::with_interceptor(channel, Bearer(token))
    }

    async fn apply(&self, document: &str) -> operator::ApplyResponse {
        let request =
            operator::ApplyRequest { document: document.as_bytes().to_vec(), ..Default::default() };
        let response = self.operator().await.apply(request).await.unwrap().into_inner();
        assert_eq!(response.faults, []);
        response
    }

    async fn token(&self, edge: &str) -> EnrolmentToken {
        let request = operator::CreateTokenRequest {
            kind: operator::TokenKind::Enrolment.into(),
            edge: edge.to_owned(),
            valid_for_s: 600,
            ..Default::default()
        };
        let made = self.operator().await.create_token(request).await.unwrap().into_inner();
        made.token.parse().unwrap()
    }

    async fn edge(&self, name: &str) -> operator::EdgeStatus {
        let request = operator::ListSitesRequest::default();
        let sites = self.operator().await.list_sites(request).await.unwrap().into_inner().sites;
        sites.into_iter().flat_map(|s| s.edges).find(|e| e.name == name).unwrap()
    }

    /// Waits until the controller says so of the edge.
    async fn until(&self, what: &str, name: &str, is_so: impl Fn(&operator::EdgeStatus) -> bool) {
        let waiting = async {
            while !is_so(&self.edge(name).await) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(SOON, waiting).await.is_err() {
            panic!("not in time: {what}: {:#?}", self.edge(name).await);
        }
    }

    fn state_dir(&self) -> std::path::PathBuf {
        self.data.path().join("edge")
    }
}

async fn enrolled(world: &World) -> Arc<Identity> {
    let token = world.token("b1-1").await;
    let identity = enrol(&world.state_dir(), &token, &EnrolOptions::default()).await.unwrap();
    Arc::new(identity)
}

async fn order(control: &mut Control) -> Order {
    let next = async {
        loop {
            match control.events.recv().await.expect("the link runs") {
                ControlEvent::ApplyGeneration(order) => return order,
                ControlEvent::Revert(revert) => panic!("reverted to {:?}", revert.to),
                _ => {}
            }
        }
    };
    tokio::time::timeout(SOON, next).await.expect("a generation in time")
}

async fn reverted(control: &mut Control) -> u64 {
    loop {
        let next = tokio::time::timeout(SOON, control.events.recv()).await.expect("in time");
        if let ControlEvent::Revert(revert) = next.expect("the link runs") {
            let to = revert.to.map_or(0, |(id, _)| id.number);
            revert.reply.send(Ok(())).unwrap();
            return to;
        }
    }
}

fn number(id: &Option<hawser_proto::config::v1::GenerationId>) -> u64 {
    id.as_ref().map_or(0, |id| id.number)
}

fn start(identity: Arc<Identity>, state_dir: &Path) -> Control {
    start_link(identity, state_dir, Arc::new(Vec::new)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_token_to_confirmed_generation_and_through_a_restart_of_either_side() {
    let mut world = World::new().await;
    world.apply(FLEET).await;
    let identity = enrolled(&world).await;
    assert_eq!((identity.fleet(), identity.edge()), ("acme", "b1-1"));

    let mut control = start(identity.clone(), &world.state_dir());
    let first = order(&mut control).await;
    assert_eq!((first.reason, first.state.tunnels.len()), (ApplyReason::Offered, 1));
    let first_number = first.id.number;
    first.reply.send(Ok(())).unwrap();
    world
        .until("confirmed", "b1-1", |e| {
            let generations = e.generations.clone().unwrap_or_default();
            e.connected && number(&generations.confirmed) == first_number
        })
        .await;
    let handle = control.handle.clone();
    let knows = async {
        while handle.generations().confirmed_id().map(|id| id.number) != Some(first_number) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, knows).await.expect("the agent knows it too");

    // What it can't do it rejects, and says why.
    let changed = FLEET.replace("probe_interval_ms: 100", "probe_interval_ms: 150");
    world.apply(&changed).await;
    let second = order(&mut control).await;
    assert!(second.id > first.id);
    let fault = Fault {
        code: "INTERFACE_MISSING",
        path: "uplinks[0].interface".to_owned(),
        message: "there is no isp-a".to_owned(),
        mend: "plug it in".to_owned(),
    };
    second.reply.send(Err(vec![fault])).unwrap();
    assert_eq!(reverted(&mut control).await, first_number);
    world
        .until("told why", "b1-1", |e| {
            e.last_nack.iter().any(|f| f.code == "INTERFACE_MISSING" && f.mend == "plug it in")
        })
        .await;

    // The controller goes and comes back: the agent keeps what it has and finds its way again.
    world.stop().await;
    handle.decision(agent::Decision {
        traffic_class: "default".to_owned(),
        cause: "PATH_DOWN".to_owned(),
        ..Default::default()
    });
    assert_eq!(handle.generations().confirmed_id().map(|id| id.number), Some(first_number));
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.start().await;
    world.until("back", "b1-1", |e| e.connected).await;
    let acknowledged = async {
        while handle.counters()["control_decisions_waiting"] > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, acknowledged).await.expect("decisions are backfilled");
    let wanted = operator::ListDecisionsRequest { limit: 10, ..Default::default() };
    let decisions = world.operator().await.list_decisions(wanted).await.unwrap().into_inner();
    assert_eq!(decisions.decisions.len(), 1);
    assert_eq!(decisions.decisions[0].cause, "PATH_DOWN");

    // The agent is stopped and starts again, with the controller away.
    world.stop().await;
    control.handle.stop();
    control.task.await.unwrap();
    drop(control.events);
    let mut control = start(identity, &world.state_dir());
    let booted = order(&mut control).await;
    assert_eq!((booted.reason, booted.id.number), (ApplyReason::Boot, first_number));
    booted.reply.send(Ok(())).unwrap();

    // A mended document gets through after all.
    world.start().await;
    world.until("back again", "b1-1", |e| e.connected).await;
    world.apply(&FLEET.replace("probe_interval_ms: 100", "probe_interval_ms: 200")).await;
    let third = order(&mut control).await;
    let third_number = third.id.number;
    assert!(third_number > second.id.number);
    third.reply.send(Ok(())).unwrap();
    world
        .until("confirmed too", "b1-1", |e| {
            number(&e.generations.clone().unwrap_or_default().confirmed) == third_number
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_once_and_again_only_for_the_same_key() {
    let mut world = World::new().await;
    world.apply(FLEET).await;
    let token = world.token("b1-1").await;
    let options = EnrolOptions::default();
    enrol(&world.state_dir(), &token, &options).await.unwrap();
    // The agent was killed before it stored what it got: the key is there, the chain is not.
    std::fs::remove_file(world.state_dir().join("identity.pem")).unwrap();
    enrol(&world.state_dir(), &token, &options).await.unwrap();
    // Someone else finds the token.
    let thief = tempfile::tempdir().unwrap();
    let refused = enrol(thief.path(), &token, &options).await.unwrap_err();
    assert_eq!(refused.code(), "ENROL_REFUSED");
    assert!(refused.to_string().contains("TOKEN_USED"), "{refused}");
    // Nobody made this one.
    let guess = EnrolmentToken { secret: [0; 16], ..token };
    let refused = enrol(thief.path(), &guess, &options).await.unwrap_err();
    assert!(refused.to_string().contains("TOKEN_UNKNOWN"), "{refused}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_of_another_fleet_gets_no_session() {
    let (mut ours, mut theirs) = (World::new().await, World::new().await);
    for world in [&ours, &theirs] {
        world.apply(FLEET).await;
    }
    let identity = enrolled(&theirs).await;
    // Their edge, told to go to our controller.
    let controllers = vec![ours.address.to_string()];
    let key = hawser_edge::control::EdgeKey::load_or_create(&theirs.state_dir()).unwrap();
    let stray = Identity::new(key, identity.chain().to_vec(), identity.root().clone(), controllers);
    let control = start(Arc::new(stray.unwrap()), &theirs.state_dir());
    let refused = async {
        while control.handle.link_status().failed_attempts < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("attempts fail");
    assert!(control.handle.link_status().connected.is_none());
    assert!(!ours.edge("b1-1").await.connected);
    for world in [&mut ours, &mut theirs] {
        world.stop().await;
    }
}

/// How `hawser-edge doctor --json` ends, and its report.
async fn doctor(state_dir: &Path) -> (Option<i32>, serde_json::Value) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_hawser-edge"));
    let command = command.arg("--state-dir").arg(state_dir).args(["doctor", "--json"]);
    let output = command.output().await.unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_ends_with_5_where_nothing_is_broken_and_something_is_to_be_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new().await;
    world.apply(FLEET).await;
    enrolled(&world).await;
    let (exit, report) = doctor(&world.state_dir()).await;
    assert_eq!((exit, report["worst"].as_str()), (Some(5), Some("warning")), "{report:#}");
    let codes = |report: &serde_json::Value| -> Vec<String> {
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        findings.iter().filter_map(|f| Some(f["code"].as_str()?.to_owned())).collect()
    };
    let found = codes(&report);
    for code in ["AGENT_NOT_RUNNING", "NO_GENERATION"] {
        assert!(found.iter().any(|found| found == code), "{found:?}");
    }
    assert!(!found.contains(&"CONTROLLER_UNREACHABLE".to_owned()), "{report:#}");
    // One thing that is broken decides, whatever else is only warned of.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.state_dir(), open).unwrap();
    let (exit, report) = doctor(&world.state_dir()).await;
    assert_eq!((exit, report["worst"].as_str()), (Some(1), Some("broken")), "{report:#}");
    world.stop().await;
}
