use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hawser_controller::backup::{self, Restored};
use hawser_controller::store::{OpenReport, StoreChoice};
use hawser_proto::agent::v1::GenerationState;
use hawser_proto::operator::v1::*;

use crate::harness::*;

const SLED: StoreChoice = StoreChoice::Sled;

/// The real binary; killed when dropped.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    fn start(data: &Path) -> Self {
        let port_file = data.join("port");
        let _ = std::fs::remove_file(&port_file);
        let mut child = Command::new(env!("CARGO_BIN_EXE_hawser-controller"))
            .args(["run", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .arg("--port-file")
            .arg(&port_file)
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(text) = std::fs::read_to_string(&port_file) {
                let port = text.parse().expect("a port");
                return Self { child, port };
            }
            assert!(child.try_wait().expect("its status").is_none(), "it ended");
            assert!(Instant::now() < end, "it serves in time");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL: nothing can be tidied up.
    fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it is gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (data, admin) = initialise(dir.path(), "acme").await;
    for round in 1..=8_u64 {
        let process = Process::start(&data);
        let mut client = operator(&admin, process.port, &admin.token).await;
        let cost = format!("cost: {}", 100 + round);
        let document = fleet(&[("cost: 21", &cost)]);
        let applied = apply(&mut client, &document).await;
        process.kill();
        assert_eq!(applied.revision, round);

        let process = Process::start(&data);
        let mut client = operator(&admin, process.port, &admin.token).await;
        let get = GetFleetRequest { revision: 0 };
        let found = client.get_fleet(get).await.unwrap().into_inner();
        assert_eq!(found.revision, round);
        assert_eq!(found.document, document.into_bytes());
        let sites = client.list_sites(ListSitesRequest::default()).await.unwrap();
        let sites = sites.into_inner().sites;
        let b1 = sites.iter().find(|s| s.name == "b1").unwrap();
        assert_eq!(number(b1.edges[0].desired), round);
        process.kill();
    }
}

#[tokio::test]
async fn a_stopped_process_ends_cleanly_and_secrets_are_the_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (data, admin) = initialise(dir.path(), "acme").await;
    assert_eq!(admin.controller, "https://127.0.0.1:4511");
    let mut process = Process::start(&data);
    let pid = process.child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    assert!(process.child.wait().unwrap().success());
    for secret in
        ["root-offline.key", "admin-context.json", "pki/intermediate.key", "pki/controller.key"]
    {
        let mode = std::fs::metadata(data.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let mode = std::fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn a_damaged_store_is_restored_from_its_export_and_numbers_never_repeat() {
    let mut lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    let before = agent.take_generation().await;
    lab.event("GENERATION_ACKED").await;
    drop(agent);
    lab.stop().await;
    damage(&lab.data().join("store/db"));
    lab.restart().await;
    let opened = lab.running.as_ref().unwrap().opened().clone();
    assert!(matches!(opened, OpenReport::Restored { .. }), "{opened:?}");
    lab.event("STORE_RESTORED").await;

    let get = GetFleetRequest { revision: 0 };
    let found = lab.operator().await.get_fleet(get).await.unwrap();
    assert_eq!(found.into_inner().document, fleet(&[]).into_bytes());
    let mut agent = lab.connect(&keys, applied(before.id)).await;
    assert_eq!(agent.welcome.clone().unwrap().confirmed, before.id);
    agent.hears_nothing().await;
    lab.apply(&fleet(&[("cost: 21", "cost: 99")])).await;
    let after = agent.generation().await;
    assert!(number(after.id) > number(before.id) + 1_000);
    lab.restart().await;
    let opened = lab.running.as_ref().unwrap().opened();
    assert_eq!(opened, &OpenReport::Opened);
}

#[tokio::test]
async fn an_old_backup_restored_brings_every_agent_back_under_numbers_that_nobody_has_seen() {
    let mut lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.take_generation().await;
    let file = lab.dir.path().join("backup");
    // While it runs.
    lab.apply(&fleet(&[("cost: 21", "cost: 22")])).await;
    let kept = agent.take_generation().await;
    backup::backup(&lab.data(), &SLED, &file).await.unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let checked = backup::check(&lab.data(), &SLED).await.unwrap();
    assert_eq!((checked.opened, checked.revisions, checked.faults.len()), (false, 2, 0));
    lab.apply(&fleet(&[("cost: 21", "cost: 23")])).await;
    let newest = agent.take_generation().await;
    lab.stop().await;
    let checked = backup::check(&lab.data(), &SLED).await.unwrap();
    assert_eq!((checked.opened, checked.revisions, checked.faults.len()), (true, 3, 0));

    let refused = backup::restore(&file, &lab.data(), Restored::Filled(&SLED)).await;
    assert!(refused.is_err(), "it never overwrites");
    std::fs::rename(lab.data(), lab.dir.path().join("lost")).unwrap();
    backup::restore(&file, &lab.data(), Restored::Filled(&SLED)).await.unwrap();
    lab.restart().await;
    let opened = lab.running.as_ref().unwrap().opened().clone();
    assert!(matches!(opened, OpenReport::Restored { .. }), "{opened:?}");
    let mut agent = lab.connect(&keys, applied(newest.id)).await;
    let back = agent.take_generation().await;
    assert!(number(back.id) > number(newest.id) + 1_000);
    assert_eq!(back.config, kept.config);
    lab.apply(&fleet(&[("cost: 21", "cost: 24")])).await;
    assert!(number(agent.take_generation().await.id) > number(back.id));
}

/// Overwrites what sled needs to open.
fn damage(path: &Path) {
    let length = std::fs::metadata(path).unwrap().len();
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&vec![0x5a; length as usize]).unwrap();
    file.sync_all().unwrap();
}
