use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;

fn status() -> StatusView {
    StatusView {
        fleet: "acme".to_owned(),
        site: "b1".to_owned(),
        edge: "b1-1".to_owned(),
        agent_version: "0.1.0".to_owned(),
        uptime_s: 3723,
        generations: GenerationsView {
            applied: "1.4".to_owned(),
            confirmed: "1.3".to_owned(),
            ..Default::default()
        },
        uplinks: vec![UplinkView { name: "isp-a".to_owned(), ..Default::default() }],
        ..Default::default()
    }
}

fn path() -> PathView {
    PathView {
        peer_edge: "hq-1".to_owned(),
        local_uplink: "isp-a".to_owned(),
        remote_uplink: "isp-b".to_owned(),
        state: "up".to_owned(),
        rtt_us: 20_450,
        loss_tx_ppm: 12_300,
        tx_bytes: 123_456_789,
        selected_for: vec!["voice".to_owned()],
        ..Default::default()
    }
}

/// An engine that answers everything but `Why`, which it drops.
async fn engine(mut queries: mpsc::Receiver<LocalQuery>) {
    while let Some(LocalQuery { kind, reply }) = queries.recv().await {
        let _ = match kind {
            QueryKind::Status => reply.send(LocalAnswer::Status(status())),
            QueryKind::Paths => reply.send(LocalAnswer::Paths(vec![path()])),
            QueryKind::Why { .. } => continue,
        };
    }
}

struct Agent {
    dir: tempfile::TempDir,
    stop: CancellationToken,
}

impl Agent {
    fn start() -> Agent {
        let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let (tx, rx) = mpsc::channel(LOCAL_QUERIES);
        tokio::spawn(engine(rx));
        serve(dir.path(), tx, stop.clone()).unwrap();
        Agent { dir, stop }
    }

    async fn ask(&self, kind: QueryKind) -> Result<LocalAnswer, AskError> {
        let dir = self.dir.path().to_owned();
        tokio::task::spawn_blocking(move || ask(&dir, &kind)).await.unwrap()
    }

    async fn say(&self, text: &'static [u8]) -> String {
        let path: PathBuf = self.dir.path().join(SOCKET);
        let said = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(text).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        });
        said.await.unwrap()
    }
}

fn why() -> QueryKind {
    QueryKind::Why { peer: None, traffic_class: Some("voice".to_owned()), limit: 5 }
}

#[tokio::test]
async fn what_the_engine_answers_reaches_the_asker() {
    let agent = Agent::start();
    assert_eq!(agent.ask(QueryKind::Status).await.unwrap(), LocalAnswer::Status(status()));
    assert_eq!(agent.ask(QueryKind::Paths).await.unwrap(), LocalAnswer::Paths(vec![path()]));
    assert_eq!(agent.ask(why()).await.unwrap_err().code(), "AGENT_BUSY");
}

#[tokio::test]
async fn only_the_owner_may_ask() {
    let agent = Agent::start();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&agent.dir.path().join(SOCKET)), 0o600);
}

#[tokio::test]
async fn nonsense_gets_an_error_and_the_next_asker_an_answer() {
    let agent = Agent::start();
    for nonsense in [&b"\n"[..], b"{}\n", b"{\"query\":\"fly\"}\n", b"\xff\xfe\n", &[b'x'; 9000]] {
        let answer = agent.say(nonsense).await;
        // An endless line may be answered or cut; it never gets through.
        assert!(answer.contains("BAD_QUESTION") || nonsense.len() > 4096, "{answer}");
    }
    assert!(agent.ask(QueryKind::Status).await.is_ok());
}

#[tokio::test]
async fn askers_who_say_nothing_do_not_keep_others_out() {
    let agent = Agent::start();
    let socket = agent.dir.path().join(SOCKET);
    let silent: Vec<_> = (0..8).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    assert!(agent.ask(QueryKind::Status).await.is_ok());
    drop(silent);
}

#[tokio::test]
async fn the_socket_of_a_dead_agent_is_taken_over_and_a_stopped_one_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let dead = std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    drop(dead);
    assert_eq!(ask(dir.path(), &QueryKind::Status).unwrap_err().code(), "AGENT_NOT_RUNNING");
    let (tx, _rx) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let task = serve(dir.path(), tx, stop.clone()).unwrap();
    stop.cancel();
    task.await.unwrap();
    assert!(!dir.path().join(SOCKET).exists());
    let agent = Agent::start();
    agent.stop.cancel();
}

#[test]
fn tables_say_what_matters_in_words() {
    let text = render(&LocalAnswer::Status(status()));
    for words in ["b1-1 (site b1, fleet acme)", "1 h 2 min", "NOT CONNECTED", "1.4, PROVISIONAL"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let text = render(&LocalAnswer::Paths(vec![path()]));
    for words in ["isp-a", "20.4 ms", "1.23 % / 0.00 %", "123.4 MB", "voice"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let decision = DecisionView {
        sequence: 7,
        unix_ms: 1_709_210_096_789,
        cause: "PATH_DOWN".to_owned(),
        summary: "isp-a answers no probe".to_owned(),
        from_path: "isp-a → hq-1 isp-a".to_owned(),
        candidates: vec![CandidateView { chosen: true, ..Default::default() }],
        ..Default::default()
    };
    let hop = DecisionView {
        prefixes: vec!["10.9.0.0/16".to_owned()],
        from_next_hop: "hq-1".to_owned(),
        to_next_hop: "dr-1".to_owned(),
        advice_id: "t-4".to_owned(),
        ..decision.clone()
    };
    let selection = SelectionView { next_move_s: 125, ..Default::default() };
    let advice = AdviceView {
        id: "t-4".to_owned(),
        reason: "hub hq-1 suffers".to_owned(),
        avoid_edges: vec!["hq-1".to_owned()],
        left_s: 60,
        ..Default::default()
    };
    let why = WhyView {
        selections: vec![selection],
        decisions: vec![decision, hop],
        advice: Some(advice),
        ..WhyView::default()
    };
    let text = render(&LocalAnswer::Why(why));
    for words in [
        "2024-02-29 12:34:56.789Z #7",
        "PATH_DOWN",
        "isp-a answers no probe",
        "NOT MET",
        "none for 2 min 5 s",
        "10.9.0.0/16: hq-1 → dr-1",
        "followed the controller's advice t-4",
        "advises against hq-1: hub hq-1 suffers (t-4, for another 1 min 0 s)",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
}

#[test]
fn an_answer_survives_its_way_as_json() {
    for answer in [
        LocalAnswer::Status(status()),
        LocalAnswer::Paths(vec![path()]),
        LocalAnswer::Why(WhyView::default()),
    ] {
        let text = serde_json::to_string(&Response::Ok(answer.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Response>(&text).unwrap(), Response::Ok(answer));
    }
}
