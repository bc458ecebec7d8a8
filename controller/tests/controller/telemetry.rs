use std::time::Duration;

use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::*;
use hawser_proto::config::v1::EdgeConfig;
use hawser_proto::operator::v1::*;
use prost::Message as _;

use crate::harness::*;

fn sample(path_id: u32, state: PathState) -> PathSample {
    PathSample { path_id, state: state.into(), rtt_us: 20_000, ..Default::default() }
}

fn telemetry(paths: Vec<PathSample>) -> FromAgent {
    FromAgent::Telemetry(Telemetry { unix_ms: 1, paths, ..Default::default() })
}

async fn paths(lab: &Lab, site: &str) -> Vec<Path> {
    let asked = ListPathsRequest { site: site.into(), ..Default::default() };
    let listed = lab.operator().await.list_paths(asked).await;
    listed.expect("paths").into_inner().paths
}

async fn state_of(lab: &Lab, id: u32) -> PathState {
    let all = paths(lab, "").await;
    all.iter().find(|p| p.id == id).expect("the path").state()
}

#[tokio::test]
async fn a_path_is_counted_once_and_up_only_if_both_ends_say_so() {
    let lab = Lab::with_fleet().await;
    let all = paths(&lab, "").await;
    assert_eq!(all.len(), 8);
    assert_eq!(paths(&lab, "b1").await.len(), 4);
    assert!(all.iter().all(|p| p.state() == PathState::Connecting));
    let path = paths(&lab, "b1").await.remove(0);
    let (a, b) = (path.a.clone().unwrap(), path.b.clone().unwrap());
    let mut ends = [(&*a.site, &*a.edge), (&*b.site, &*b.edge)];
    ends.sort();
    assert_eq!(ends, [("b1", "b1-1"), ("hq", "hq-1")]);

    let (hq, b1) = (lab.enrol("hq-1").await, lab.enrol("b1-1").await);
    let hq = lab.connect(&hq, GenerationState::default()).await;
    let b1 = lab.connect(&b1, GenerationState::default()).await;
    let foreign = 1_000_000;
    hq.say(telemetry(vec![sample(path.id, PathState::Up), sample(foreign, PathState::Up)])).await;
    eventually("one end is heard", async || state_of(&lab, path.id).await == PathState::Up).await;
    b1.say(telemetry(vec![sample(path.id, PathState::Down)])).await;
    eventually("the other end counts too", async || {
        state_of(&lab, path.id).await == PathState::Down
    })
    .await;
    b1.say(telemetry(vec![sample(path.id, PathState::Up)])).await;
    hq.say(telemetry(vec![sample(path.id, PathState::Up)])).await;
    eventually("both say up", async || state_of(&lab, path.id).await == PathState::Up).await;
    let status = lab.operator().await.get_status(GetStatusRequest {}).await;
    let status = status.unwrap().into_inner();
    assert_eq!((status.paths, status.edges_connected), (8, 2));
    assert_eq!(status.counters["samples_dropped"], 1);
    assert_eq!((status.sites, status.edges), (3, 3));

    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(state_of(&lab, path.id).await, PathState::Connecting);
}

#[tokio::test]
async fn paths_and_sites_come_in_pages() {
    let lab = Lab::with_fleet().await;
    let mut operator = lab.operator().await;
    let mut token = String::new();
    let mut ids = Vec::new();
    loop {
        let asked = ListPathsRequest { page_size: 3, page_token: token, ..Default::default() };
        let page = operator.list_paths(asked).await.unwrap().into_inner();
        ids.extend(page.paths.iter().map(|p| p.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids.len(), 8);
    assert!(ids.is_sorted());
    let asked = ListSitesRequest { page_size: 2, ..Default::default() };
    let page = operator.list_sites(asked).await.unwrap().into_inner();
    assert_eq!(page.next_page_token, "b2");
    let asked = ListSitesRequest { page_size: 2, page_token: page.next_page_token };
    let rest = operator.list_sites(asked).await.unwrap().into_inner();
    assert_eq!((&*rest.sites[0].name, &*rest.sites[0].role), ("hq", "hub"));
    assert_eq!(rest.next_page_token, "");
}

#[tokio::test]
async fn decisions_are_kept_once_acknowledged_and_listed_newest_first() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.generation().await;
    let decision = |sequence, class: &str| Decision {
        sequence,
        unix_ms: sequence * 1_000,
        edge: "hq-1".into(),
        traffic_class: class.into(),
        cause: "PATH_DOWN".into(),
        boot_id: "boot".into(),
        ..Default::default()
    };
    let decisions = vec![decision(1, "voice"), decision(2, "default")];
    let told = FromAgent::Decisions(Decisions { decisions });
    for _ in 0..2 {
        agent.say(told.clone()).await;
        match agent.next().await {
            ToAgent::DecisionsAck(ack) => {
                assert_eq!((&*ack.boot_id, ack.sequence), ("boot", 2));
            }
            other => panic!("{other:?}"),
        }
    }
    let list = async |site: &str, class: &str| {
        let asked = ListDecisionsRequest {
            site: site.into(),
            traffic_class: class.into(),
            ..Default::default()
        };
        let listed = lab.operator().await.list_decisions(asked).await;
        listed.map(|listed| {
            let decisions = listed.into_inner().decisions;
            decisions.into_iter().map(|d| (d.sequence, d.edge)).collect::<Vec<_>>()
        })
    };
    let both = vec![(2, "b1-1".to_owned()), (1, "b1-1".to_owned())];
    assert_eq!(list("b1", "").await.unwrap(), both);
    assert_eq!(list("", "voice").await.unwrap(), both[1..]);
    assert_eq!(list("hq", "").await.unwrap(), []);
    let unknown = list("nowhere", "").await.unwrap_err();
    assert!(unknown.message().starts_with("SITE_UNKNOWN: "), "{unknown}");
}

#[tokio::test]
async fn what_an_edge_learns_of_its_uplinks_reaches_its_neighbours_now_and_later() {
    let mut lab = Lab::with_fleet().await;
    let (hq_keys, b1_keys, b2_keys) =
        (lab.enrol("hq-1").await, lab.enrol("b1-1").await, lab.enrol("b2-1").await);
    let mut hq = lab.connect(&hq_keys, GenerationState::default()).await;
    assert!(hq.first_facts.full && hq.first_facts.endpoints.is_empty());
    hq.generation().await;
    let mut b2 = lab.connect(&b2_keys, GenerationState::default()).await;
    b2.generation().await;
    let mut b1 = lab.connect(&b1_keys, GenerationState::default()).await;
    let config = b1.generation().await.config;
    let config = EdgeConfig::decode(&config[..]).unwrap();
    let uplink_id = config.uplinks[1].id;
    let fact = UplinkFact {
        uplink_id,
        interface: "wan1".into(),
        carrier: true,
        addresses: vec!["198.51.100.77/24".into()],
        public_endpoints: vec!["203.0.113.5:40000".into()],
        mtu_bytes: 1_492,
    };
    let facts = LocalFacts { uplinks: vec![fact.clone()] };
    b1.say(FromAgent::LocalFacts(facts.clone())).await;
    let ToAgent::Facts(told) = hq.next().await else {
        panic!("no facts");
    };
    let expected = PeerEndpoint {
        edge_id: config.edge_id,
        uplink_id,
        endpoints: vec!["203.0.113.5:40000".into(), "198.51.100.77:4510".into()],
    };
    assert_eq!((told.full, &*told.endpoints), (false, &[expected.clone()][..]));
    b2.hears_nothing().await;
    b1.say(FromAgent::LocalFacts(facts)).await;
    hq.hears_nothing().await;
    assert_eq!(lab.edge_status("b1-1").await.uplinks, std::slice::from_ref(&fact));
    let brief = UplinkFact { public_endpoints: Vec::new(), ..fact };
    b1.say(FromAgent::Telemetry(Telemetry { uplinks: vec![brief], ..Default::default() })).await;
    hq.hears_nothing().await;

    lab.restart().await;
    let hq = lab.connect(&hq_keys, GenerationState::default()).await;
    assert_eq!(hq.first_facts.endpoints, [expected]);
    assert_eq!(hq.first_facts.version, told.version);
}

#[tokio::test]
async fn a_watcher_gets_events_as_they_happen() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut operator = lab.operator().await;
    let watch = operator.watch(WatchRequest { since_unix_ms: 0 }).await;
    let mut watch = watch.unwrap().into_inner();
    let agent = lab.connect(&keys, GenerationState::default()).await;
    let told = AgentEvent {
        unix_ms: 5,
        code: "PATH_DOWN".into(),
        subject: "path 3".into(),
        message: "no answer".into(),
    };
    let nonsense = AgentEvent { code: "not a code".into(), ..told.clone() };
    let events = vec![nonsense, told];
    agent.say(FromAgent::Events(AgentEvents { events })).await;
    let mut codes = Vec::new();
    let mut sequence = 0;
    while codes.last().map(String::as_str) != Some("PATH_DOWN") {
        let next = tokio::time::timeout(Duration::from_secs(10), watch.message()).await;
        let event = next.unwrap().unwrap().unwrap();
        assert!(event.sequence > sequence);
        sequence = event.sequence;
        assert_eq!(event.dropped_before, 0);
        assert_eq!((&*event.site, &*event.edge), ("b1", "b1-1"));
        codes.push(event.code);
    }
    assert_eq!(codes, ["EDGE_CONNECTED", "GENERATION_PUSHED", "PATH_DOWN"]);
}
