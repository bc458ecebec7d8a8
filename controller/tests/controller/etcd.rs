//! Controllers whose store is in etcd: the real binaries, a real etcd.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hawser_controller::backup::{self, BackupError, Restored};
use hawser_controller::init::{self, Setup};
use hawser_controller::server;
use hawser_controller::store::{EtcdOptions, OpenReport, StoreChoice, StoreError};
use hawser_proto::operator::v1::*;

use crate::etcd_server::Etcd;
use crate::harness::*;

/// The lease of one that was killed, the start of one that waited, and a busy machine.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(40);

/// `hawser-controller run`; killed when dropped.
struct Process {
    child: Child,
    port_file: PathBuf,
}

impl Process {
    fn start(data: &Path, etcd: &Etcd) -> Self {
        let port_file = data.join("port");
        let _ = std::fs::remove_file(&port_file);
        let child = Command::new(env!("CARGO_BIN_EXE_hawser-controller"))
            .args(["run", "--listen", "127.0.0.1:0", "--store", "etcd", "--etcd-endpoints"])
            .arg(format!("https://127.0.0.1:{}", etcd.port()))
            .arg("--etcd-ca")
            .arg(etcd.file("ca.pem"))
            .arg("--etcd-cert")
            .arg(etcd.file("client.pem"))
            .arg("--etcd-key")
            .arg(etcd.file("client.key"))
            .arg("--data")
            .arg(data)
            .arg("--port-file")
            .arg(&port_file)
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Self { child, port_file }
    }

    fn port(&self) -> Option<u16> {
        std::fs::read_to_string(&self.port_file).ok()?.parse().ok()
    }

    async fn serves(&mut self) -> u16 {
        let end = Instant::now() + FOLLOWS_WITHIN;
        loop {
            if let Some(port) = self.port() {
                return port;
            }
            assert!(self.child.try_wait().expect("its status").is_none(), "it ended");
            assert!(Instant::now() < end, "it serves in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// True: cleanly.
    fn terminate(&mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        self.child.wait().expect("it is gone").success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn make(dir: &Path, choice: &StoreChoice) -> (PathBuf, Admin) {
    let data = dir.join("first");
    let advertised = vec!["127.0.0.1:4511".parse().expect("an address")];
    let setup = Setup { fleet: "acme".into(), advertised };
    let made = init::init_in(&data, &setup, choice).await.expect("init");
    let context = std::fs::read(&made.admin_context).expect("the context");
    (data, serde_json::from_slice(&context).expect("its JSON"))
}

async fn revision(admin: &Admin, port: u16) -> u64 {
    let mut client = operator(admin, port, &admin.token).await;
    let found = client.get_fleet(GetFleetRequest { revision: 0 }).await.expect("the fleet");
    found.into_inner().revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_by_goes_on_where_a_killed_controller_stopped_and_etcd_may_die_too() {
    let mut etcd = Etcd::start();
    let dir = tempfile::tempdir().unwrap();
    let choice = StoreChoice::Etcd(etcd.options());
    let (data, admin) = make(dir.path(), &choice).await;
    let mut first = Process::start(&data, &etcd);
    let port = first.serves().await;
    let applied = apply(&mut operator(&admin, port, &admin.token).await, &fleet(&[])).await;
    assert_eq!(applied.revision, 1);

    // The same folder elsewhere, made while the first one runs.
    let (file, standby) = (dir.path().join("backup"), dir.path().join("second"));
    backup::backup(&data, &choice, &file).await.unwrap();
    backup::restore(&file, &standby, Restored::There).await.unwrap();
    let mut second = Process::start(&standby, &etcd);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(second.port(), None, "it waits");
    assert_eq!(revision(&admin, port).await, 1);
    first.child.kill().unwrap();
    let port = second.serves().await;
    assert_eq!(revision(&admin, port).await, 1);

    etcd.kill();
    let mut client = operator(&admin, port, &admin.token).await;
    let document = fleet(&[("cost: 21", "cost: 22")]).into_bytes();
    let asked = ApplyRequest { document, ..Default::default() };
    let refused = client.apply(asked.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    assert!(refused.message().starts_with("STORE_UNAVAILABLE: "), "{refused}");
    etcd.restart();
    eventually("etcd serves again", async || client.apply(asked.clone()).await.is_ok()).await;
    assert_eq!(revision(&admin, port).await, 2);
    let checked = backup::check(&standby, &choice).await.unwrap();
    assert_eq!((checked.opened, checked.revisions, checked.faults.len()), (true, 2, 0));

    // One that waits is told to stop, too; and one that leads leaves at once.
    let mut third = Process::start(&data, &etcd);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(third.terminate());
    assert!(second.terminate());
    let mut again = Process::start(&data, &etcd);
    let started = Instant::now();
    let port = again.serves().await;
    assert!(started.elapsed() < Duration::from_secs(8), "the lead was free");
    assert_eq!(revision(&admin, port).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_moves_a_fleet_between_a_folder_and_etcd() {
    let etcd = Etcd::start();
    let dir = tempfile::tempdir().unwrap();
    let (data, admin) = make(dir.path(), &StoreChoice::Sled).await;
    let running = start(&data).await;
    let client = &mut operator(&admin, running.address().port(), &admin.token).await;
    assert_eq!(apply(client, &fleet(&[])).await.revision, 1);
    running.stop().await.unwrap();

    let in_etcd = StoreChoice::Etcd(etcd.options());
    let (file, moved) = (dir.path().join("backup"), dir.path().join("moved"));
    backup::backup(&data, &StoreChoice::Sled, &file).await.unwrap();
    backup::restore(&file, &moved, Restored::Filled(&in_etcd)).await.unwrap();
    let running = start_in(&moved, in_etcd.clone()).await;
    assert!(matches!(running.opened(), OpenReport::Restored { .. }), "{:?}", running.opened());
    let client = &mut operator(&admin, running.address().port(), &admin.token).await;
    assert_eq!(revision(&admin, running.address().port()).await, 1);
    let changed = fleet(&[("cost: 21", "cost: 22")]);
    let applied = apply(client, &changed).await;
    assert_eq!(applied.revision, 2);
    assert!(number(applied.changed[0].id) > 1_000, "no agent has seen the number");

    // Not over what is there; not by a second one either.
    let twice = dir.path().join("twice");
    let refused = backup::restore(&file, &twice, Restored::Filled(&in_etcd)).await;
    assert!(matches!(refused, Err(BackupError::Store(StoreError::Led { .. }))), "{refused:?}");
    let (file, back) = (dir.path().join("from-etcd"), dir.path().join("back"));
    backup::backup(&moved, &in_etcd, &file).await.unwrap();
    running.stop().await.unwrap();
    let refused =
        backup::restore(&file, &dir.path().join("thrice"), Restored::Filled(&in_etcd)).await;
    assert!(matches!(refused, Err(BackupError::Store(StoreError::NotEmpty))), "{refused:?}");
    let other = EtcdOptions { prefix: "/elsewhere".into(), ..etcd.options() };
    for (name, choice) in [("a", StoreChoice::Sled), ("b", StoreChoice::Etcd(other))] {
        let data = back.join(name);
        std::fs::create_dir_all(&back).unwrap();
        backup::restore(&file, &data, Restored::Filled(&choice)).await.unwrap();
        let running = start_in(&data, choice).await;
        assert_eq!(revision(&admin, running.address().port()).await, 2, "{name}");
        running.stop().await.unwrap();
    }
}

async fn start_in(data: &Path, store: StoreChoice) -> server::Running {
    server::start(server::Options { store, ..options(data) }).await.expect("the controller starts")
}
