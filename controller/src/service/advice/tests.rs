use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use hawser_proto::agent::v1::{ClassVerdict, ControllerMessage, PathSample};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::init::{self, Setup};
use crate::pki::Pki;
use crate::service::{Expected, Principal, Proposal, Role, Settings};
use crate::store::SledStore;

const SPOKES: usize = 6;

/// A fleet of one hub, whose telemetry and time are the test's.
struct World {
    _dir: TempDir,
    controller: Arc<Controller>,
    agents: Vec<Receiver<ControllerMessage>>,
    now: Millis,
}

fn document() -> String {
    let mut text = String::from(
        "fleet: acme\nsla_classes: [{name: business, max_loss_pct: 1}]\n\
         traffic_classes: [{name: default, sla: business}]\nsites:\n",
    );
    for index in 0..=SPOKES {
        let name = if index == SPOKES { "hq".to_owned() } else { format!("b{index}") };
        let uplink = |isp: &str, net: u8| {
            format!(
                "{{name: isp-{isp}, interface: {isp}, provider: isp-{isp}, \
                 addresses: [198.51.{net}.{}]}}",
                index + 1
            )
        };
        let _ = write!(
            text,
            "  - name: {name}\n    lans: [{{interface: lan0, prefixes: [10.{index}.0.0/16]}}]\n    \
             edges: [{{name: {name}-1, uplinks: [{}, {}]}}]\n",
            uplink("a", 100),
            uplink("b", 101)
        );
    }
    text + "topologies: [{name: hubs, kind: hub-spoke, hubs: [hq], spokes: all}]\n"
}

impl World {
    async fn new(mode: AdviceMode) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let advertised = vec!["127.0.0.1:4511".parse().unwrap()];
        let setup = Setup { fleet: "acme".into(), advertised };
        init::init(&data, &setup).await.unwrap();
        let pki = Arc::new(Pki::load(&data, "acme", &setup.advertised).unwrap());
        let store = tokio::task::spawn_blocking(move || SledStore::open(&data)).await.unwrap();
        let settings = Settings {
            fleet: "acme".into(),
            controllers: vec!["127.0.0.1:4511".into()],
            telemetry_interval: Duration::from_secs(1),
            advice: mode,
        };
        let store = Arc::new(store.unwrap().0);
        let controller = Controller::open(settings, store, pki).await.unwrap();
        let admin = Principal { token_id: "test".into(), role: Role::Admin };
        let proposal = Proposal {
            document: document().into_bytes(),
            comment: String::new(),
            expected: Expected::Any,
            policy: None,
            trace: None,
        };
        let applied = controller.apply(&admin, proposal).await;
        assert!(matches!(applied, Ok(crate::service::Applied::Committed { .. })), "{applied:?}");
        let agents = (0..SPOKES).map(|n| {
            let edge = format!("b{n}-1");
            let (_, _, commands) = controller.index.connect(&edge);
            controller.hear_connected(&edge, true);
            commands
        });
        let agents = agents.collect();
        World { _dir: dir, controller, agents, now: Millis(0) }
    }

    /// So many spokes lose too much on provider isp-a.
    fn run(&mut self, seconds: u64, suffering: usize) {
        for _ in 0..seconds / 5 {
            self.now = Millis(self.now.0 + 5_000);
            for spoke in 0..SPOKES {
                let samples = self.samples(spoke, spoke < suffering);
                let edge = format!("b{spoke}-1");
                self.controller.hear_samples_at(&edge, &samples, self.now);
            }
            self.controller.look(self.now);
        }
    }

    fn samples(&self, spoke: usize, suffers: bool) -> Vec<PathSample> {
        let sample = |path: u32| PathSample {
            path_id: path,
            state: PathState::Up.into(),
            verdicts: vec![ClassVerdict {
                sla_class: "business".into(),
                meets: !suffers || !self.over_isp_a(spoke).contains(&path),
                reason: String::new(),
            }],
            ..PathSample::default()
        };
        self.paths(spoke, |_| true).into_iter().map(sample).collect()
    }

    fn over_isp_a(&self, spoke: usize) -> BTreeSet<u32> {
        let edge = format!("b{spoke}-1");
        let config = &self.controller.state().edges[&edge].config;
        let isp_a = config.uplinks.iter().find(|u| u.name == "isp-a").unwrap().id;
        self.paths(spoke, |uplink| uplink == isp_a)
    }

    fn paths(&self, spoke: usize, wanted: impl Fn(u32) -> bool) -> BTreeSet<u32> {
        let edge = format!("b{spoke}-1");
        let config = &self.controller.state().edges[&edge].config;
        let paths = config.tunnels.iter().flat_map(|tunnel| &tunnel.paths);
        paths.filter(|path| wanted(path.local_uplink_id)).map(|path| path.id).collect()
    }

    fn told(&mut self, spoke: usize) -> Vec<agent::Advice> {
        let commands = std::iter::from_fn(|| self.agents[spoke].try_recv().ok());
        let advice = commands.map(|command| match command.message {
            Some(ToAgent::Advice(advice)) => advice,
            other => panic!("{other:?}"),
        });
        advice.collect()
    }

    fn codes(&self) -> BTreeMap<String, usize> {
        let mut codes = BTreeMap::new();
        for event in self.controller.list_events(0, 1_000) {
            *codes.entry(event.code).or_default() += 1;
        }
        codes
    }
}

#[tokio::test]
async fn a_providers_trouble_reaches_agents_and_operators_and_its_end_too() {
    let mut world = World::new(AdviceMode::On).await;
    world.run(90, 0);
    assert_eq!(world.told(0), []);
    world.run(25, 4);
    let avoided = world.over_isp_a(0).into_iter().collect::<Vec<_>>();
    let told = world.told(0);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0].avoid_path_ids, told[0].ttl_s), (&avoided, 300));
    assert!(told[0].reason.starts_with("provider isp-a"), "{}", told[0].reason);
    let list = world.controller.list_advice();
    assert_eq!((list.troubles.len(), list.troubles[0].seen_by), (1, 4));
    let given = list.advice.iter().find(|given| given.edge == "b0-1").unwrap();
    assert_eq!((&*given.site, &given.id), ("b0", &told[0].id));
    let codes = world.codes();
    assert_eq!((codes["TROUBLE_FOUND"], codes["ADVICE_GIVEN"]), (1, 4), "{codes:?}");
    world.run(1_200, 0);
    let last = world.told(0).pop().unwrap();
    assert_eq!((&last.id, last.avoid_path_ids.len(), last.ttl_s), (&told[0].id, 0, 0));
    let codes = world.codes();
    assert_eq!((codes["TROUBLE_OVER"], codes["ADVICE_GIVEN"]), (1, codes["ADVICE_ENDED"]));
}

#[tokio::test]
async fn who_only_watches_says_nothing_and_who_is_off_sees_nothing() {
    for (mode, found) in [(AdviceMode::Watch, 1), (AdviceMode::Off, 0)] {
        let mut world = World::new(mode).await;
        world.run(90, 0);
        world.run(60, 4);
        assert!((0..SPOKES).all(|spoke| world.told(spoke).is_empty()), "{mode:?}");
        assert_eq!(world.codes().get("TROUBLE_FOUND").copied().unwrap_or(0), found, "{mode:?}");
        assert_eq!(world.controller.list_advice().mode, mode.name());
    }
}

#[test]
fn sla_classes_beyond_the_bits_of_a_report_are_left_out() {
    let advisor = Advisor::new("t");
    let mut inner = Inner { advisor, map_of: None, classes: BTreeMap::new() };
    for n in 0..MAX_SLA_CLASSES {
        assert_eq!(inner.bit(&format!("c{n}")), 1 << n);
    }
    assert_eq!(inner.bit("one more"), 0);
    assert_eq!(inner.bit("c3"), 8);
}
