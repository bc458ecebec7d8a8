//! Against real charons, each in a network namespace of its own. The peer's is configured by hand. Kernels without ESP
//! refuse the children; the IKE SA comes up all the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use hawser_edge_core::config::PeerCa;
use hawser_edge_core::ike::{
    Child, Connection, Credential, IkeSa, IkeVersion, Mode, Proof, Protocol, Selector, Start,
    Wanted, lacks,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::dataplane::tests::net::Net;

const WITHIN: Duration = Duration::from_secs(60);
const KEY: &str = "a key for tests only";

const BY_HAND: &str = r#"
connections { gateway {
  local_addrs = 192.0.2.2
  remote_addrs = 192.0.2.1
  proposals = aes128-sha256-modp2048
  local { auth = psk
    id = peer.example }
  remote { auth = psk
    id = hawser.example }
  children { net {
    local_ts = 10.9.0.0/24
    remote_ts = 10.1.0.0/24
    esp_proposals = aes128-sha256 } }
} }
secrets { ike-1 { id-1 = hawser.example
  id-2 = peer.example
  secret = "a key for tests only" } }
"#;

/// A charon that lives as long as the value; `timeout` ends it should the test be killed.
struct Daemon {
    net: Net,
    folder: TempDir,
    process: Process,
}

impl Daemon {
    fn start(net: Net) -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().display();
        let settings = format!(
            "charon-systemd {{\n load = random nonce aes sha1 sha2 hmac pem pkcs1 pkcs8 x509 pubkey gmp kdf drbg \
             kernel-netlink socket-default vici\n plugins {{ vici {{ socket = unix://{at}/vici }} }}\n \
             filelog {{ log {{ path = {at}/log\n default = 1\n flush_line = yes }} }}\n}}\n"
        );
        let file = folder.path().join("strongswan.conf");
        fs::write(&file, settings).expect("written");
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "300", "/usr/sbin/charon-systemd"]).env("STRONGSWAN_CONF", file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = net.enter(move || command.spawn()).expect("charon-systemd is installed");
        Daemon { net, folder, process }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    async fn opened(&self) -> Charon {
        let start = Instant::now();
        loop {
            match Charon::open(&self.file("vici")).await {
                Ok(charon) => return charon,
                Err(error) if start.elapsed() > WITHIN => {
                    panic!("{error}: {error:?}\n{}", self.log())
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Loads a configuration written by hand.
    fn load(&self, configuration: &str) {
        let file = self.file("swanctl.conf");
        fs::write(&file, configuration).expect("written");
        let uri = format!("unix://{}", self.file("vici").display());
        let home = self.folder.path().display();
        let line = format!(
            "env SWANCTL_DIR={home} swanctl --load-all --noprompt --file {} --uri {uri}",
            file.display()
        );
        let output = self.net.run(&line);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // `timeout` hands the signal on.
        let pid = i32::try_from(self.process.id()).expect("a process ID");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

fn two() -> (Daemon, Daemon) {
    let (ours, peer) = (Net::new(), Net::new());
    ours.connect("wan", &["192.0.2.1/24"], &peer, "wan", &["192.0.2.2/24"]);
    (Daemon::start(ours), Daemon::start(peer))
}

fn desired(version: IkeVersion, key: &str) -> BTreeMap<String, Wanted> {
    let prefix = |text: &str| vec![Selector::Prefix(text.parse().expect("a prefix"))];
    let child = Child {
        mode: Mode::Tunnel,
        protocol: Protocol::Esp,
        proposals: vec!["aes128-sha256".into()],
        local: prefix("10.1.0.0/24"),
        remote: prefix("10.9.0.0/24"),
        start: Start::Now,
        if_id: None,
        rekey_s: 3600,
        rekey_bytes: 1 << 36,
    };
    let connection = Connection {
        proof: Proof::Psk,
        version,
        local: vec!["192.0.2.1".parse().expect("an address")],
        remote: vec!["192.0.2.2".parse().expect("an address")],
        local_id: "hawser.example".into(),
        remote_id: "peer.example".into(),
        proposals: vec!["aes128-sha256-modp2048".into()],
        mobike: true,
        several: false,
        force_udp: false,
        dpd_delay_s: 10,
        rekey_s: 14_400,
        reauthentication_s: 0,
        children: BTreeMap::from([("net".into(), child)]),
    };
    let credential = Credential::Psk(Zeroizing::new(key.as_bytes().to_vec()));
    BTreeMap::from([("gateway".to_owned(), Wanted { connection, credential })])
}

async fn all_done(charon: &mut Charon, desired: &BTreeMap<String, Wanted>) -> usize {
    let reports = charon.reconcile(desired).await.expect("charon answers");
    for report in &reports {
        assert!(report.result.is_ok(), "{report:?}");
    }
    reports.len()
}

async fn established(charon: &mut Charon, daemons: [&Daemon; 2]) -> IkeSa {
    let start = Instant::now();
    loop {
        let sas = charon.sas().await.expect("charon answers");
        if let Some(sa) = sas.into_iter().find(IkeSa::is_established) {
            return sa;
        }
        let logs = || daemons.map(Daemon::log).join("\n---\n");
        assert!(start.elapsed() < WITHIN, "no IKE SA\n{}", logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn comes_up(version: IkeVersion, number: u8) {
    let (ours, peer) = two();
    let (mut charon, mut peers) = (ours.opened().await, peer.opened().await);
    assert_eq!(lacks(charon.daemon()), []);
    peer.load(BY_HAND);

    let wanted = desired(version, KEY);
    assert_eq!(all_done(&mut charon, &wanted).await, 2);
    let sa = established(&mut charon, [&ours, &peer]).await;
    assert_eq!((sa.connection.as_str(), sa.version), ("hawser-gateway", number));
    assert_eq!((sa.local_host.as_str(), sa.remote_host.as_str()), ("192.0.2.1", "192.0.2.2"));
    let sa = established(&mut peers, [&ours, &peer]).await;
    assert_eq!(sa.connection, "gateway");
    assert_eq!(all_done(&mut charon, &wanted).await, 0, "the second time there is nothing to do");
}

#[tokio::test]
async fn an_ikev2_peer_configured_by_hand_authenticates_us_by_the_key() {
    comes_up(IkeVersion::V2, 2).await;
}

#[tokio::test]
async fn an_ikev1_peer_configured_by_hand_authenticates_us_by_the_key() {
    comes_up(IkeVersion::V1, 1).await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_the_right_one_mends_it() {
    let (ours, peer) = two();
    let mut charon = ours.opened().await;
    drop(peer.opened().await);
    peer.load(BY_HAND);
    all_done(&mut charon, &desired(IkeVersion::V2, "another key")).await;
    let start = Instant::now();
    while !peer.log().contains("MAC mismatched") {
        assert!(start.elapsed() < WITHIN, "never refused\n{}\n---\n{}", ours.log(), peer.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!charon.sas().await.expect("charon answers").iter().any(IkeSa::is_established));
    charon.reconcile(&desired(IkeVersion::V2, KEY)).await.expect("charon answers");
    established(&mut charon, [&ours, &peer]).await;
    for log in [ours.log(), peer.log()] {
        assert!(!log.contains(KEY) && !log.contains("another key"));
    }
}

#[tokio::test]
async fn what_is_no_longer_wanted_goes_and_what_others_loaded_stays() {
    let (ours, peer) = two();
    let mut charon = ours.opened().await;
    drop(peer.opened().await);
    peer.load(BY_HAND);
    ours.load(&BY_HAND.replace("192.0.2.", "203.0.113."));
    all_done(&mut charon, &desired(IkeVersion::V2, KEY)).await;
    established(&mut charon, [&ours, &peer]).await;

    // An agent that was restarted knows nothing of what it loaded, only whose it is.
    let mut charon = ours.opened().await;
    all_done(&mut charon, &BTreeMap::new()).await;
    let start = Instant::now();
    while !charon.sas().await.expect("charon answers").is_empty() {
        assert!(start.elapsed() < WITHIN, "an SA stays\n{}", ours.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let empty = hawser_edge_core::ike::vici::Section::default;
    let mut client = ViciClient::open(&ours.file("vici")).await.expect("opened");
    let left = client.request("get-conns", empty()).await.expect("answered");
    assert_eq!(left.texts("conns").collect::<Vec<_>>(), ["gateway"]);
    let left = client.request("get-shared", empty()).await.expect("answered");
    assert_eq!(left.texts("keys").collect::<Vec<_>>(), ["ike-1"]);
    let refused = client.request("no-such-command", empty()).await;
    assert!(matches!(refused, Err(ClientError::Unknown(_))), "{refused:?}");
}

const BY_CERTIFICATES: &str = r#"
connections { gateway {
  local_addrs = 192.0.2.2
  remote_addrs = 192.0.2.1
  proposals = aes128-sha256-modp2048
  local { auth = pubkey
    certs = gateway.pem
    id = peer.example }
  remote { auth = pubkey
    cacerts = ca.pem
    id = hawser.example }
  children { net {
    local_ts = 10.9.0.0/24
    remote_ts = 10.1.0.0/24
    esp_proposals = aes128-sha256 } }
} }
"#;

/// Keys that strongSwan's base package can sign with, made by openssl: `ca`, and `gateway` and `own` of it.
fn make_certificates(folder: &Path) {
    let at = folder.display();
    let one = |name: &str, holder: &str| {
        format!(
            "echo subjectAltName=DNS:{holder} > {name}.cnf && \
             openssl req -newkey rsa:2048 -nodes -subj /CN={holder} -keyout {name}.key -out {name}.csr && \
             openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile {name}.cnf -out {name}.pem"
        )
    };
    let script = format!(
        "umask 077; cd {at} && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=ca -days 2 -keyout ca.key -out ca.pem && \
         {} && {}",
        one("gateway", "peer.example"),
        one("own", "hawser.example"),
    );
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// For the peer, where swanctl looks for them.
fn give_peer(pki: &Path, peer: &Daemon) {
    for (folder, file) in
        [("x509ca", "ca.pem"), ("x509", "gateway.pem"), ("private", "gateway.key")]
    {
        fs::create_dir_all(peer.file(folder)).expect("a folder");
        fs::copy(pki.join(file), peer.file(folder).join(file)).expect("copied");
    }
}

/// What the task would say to charon, from files in a state directory.
fn certified(state: &Path, pki: &Path, ca: &Path) -> BTreeMap<String, Wanted> {
    let folder = state.join(certificates::FOLDER);
    fs::create_dir_all(&folder).expect("a folder");
    for file in ["own.pem", "own.key"] {
        fs::copy(pki.join(file), folder.join(file)).expect("copied");
    }
    let own = certificates::own(state, Some("own")).unwrap_or_else(|e| panic!("{e:?}"));
    let pem = fs::read_to_string(ca.join("ca.pem")).expect("read");
    let peer_cas = certificates::peer_cas(state, &PeerCa::Pem(pem)).expect("a CA");
    let mut desired = desired(IkeVersion::V2, "");
    let wanted = desired.get_mut("gateway").expect("one");
    assert_eq!(own.name, "hawser.example");
    wanted.connection.proof = Proof::Certificate { own: own.certificate, peer_cas };
    let (key_id, key, authorities) = (own.key_id, own.key, own.authorities);
    wanted.credential = Credential::Certificate { key_id, key, authorities };
    desired
}

async fn keys(daemon: &Daemon) -> Vec<String> {
    let empty = hawser_edge_core::ike::vici::Section::default();
    let mut client = ViciClient::open(&daemon.file("vici")).await.expect("opened");
    let answer = client.request("get-keys", empty).await.expect("answered");
    answer.texts("keys").map(str::to_owned).collect()
}

#[tokio::test]
async fn an_ikev2_peer_configured_by_hand_authenticates_us_by_our_certificate_and_by_a_new_one() {
    let (ours, peer) = two();
    let (mut charon, _peers) = (ours.opened().await, peer.opened().await);
    let (state, pki) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("one"));
    make_certificates(pki.path());
    give_peer(pki.path(), &peer);
    peer.load(BY_CERTIFICATES);

    let wanted = certified(state.path(), pki.path(), pki.path());
    all_done(&mut charon, &wanted).await;
    established(&mut charon, [&ours, &peer]).await;
    assert!(peer.log().contains("authentication of 'hawser.example' with RSA"), "{}", peer.log());
    assert_eq!(all_done(&mut charon, &wanted).await, 0, "the second time there is nothing to do");
    let first = keys(&ours).await;
    assert_eq!(first.len(), 1);

    let later = tempfile::tempdir().expect("one");
    make_certificates(later.path());
    give_peer(later.path(), &peer);
    peer.load(BY_CERTIFICATES);
    let wanted = certified(state.path(), later.path(), later.path());
    all_done(&mut charon, &wanted).await;
    let second = keys(&ours).await;
    assert_eq!(second.len(), 1, "the old key is gone");
    assert_ne!(first, second);
    let start = Instant::now();
    while peer.log().matches("authentication of 'hawser.example' with RSA").count() < 2 {
        assert!(start.elapsed() < WITHIN, "not again\n{}\n---\n{}", ours.log(), peer.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    all_done(&mut charon, &BTreeMap::new()).await;
    assert_eq!(keys(&ours).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_gateway_with_a_certificate_of_another_ca_is_refused_and_so_is_a_key_of_another_certificate()
 {
    let (ours, peer) = two();
    let (mut charon, _peers) = (ours.opened().await, peer.opened().await);
    let (state, pki) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("one"));
    let other = tempfile::tempdir().expect("one");
    make_certificates(pki.path());
    make_certificates(other.path());
    give_peer(pki.path(), &peer);
    peer.load(BY_CERTIFICATES);
    // charon trusts the right CA too, for another's sake; this connection does not.
    fs::create_dir_all(ours.file("x509ca")).expect("a folder");
    fs::copy(pki.path().join("ca.pem"), ours.file("x509ca/ca.pem")).expect("copied");
    ours.load("connections { }");
    all_done(&mut charon, &certified(state.path(), pki.path(), other.path())).await;
    let start = Instant::now();
    while !ours.log().contains("constraint") {
        assert!(start.elapsed() < WITHIN, "never refused\n{}\n---\n{}", ours.log(), peer.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!charon.sas().await.expect("charon answers").iter().any(IkeSa::is_established));

    let mut wanted = certified(state.path(), pki.path(), pki.path());
    let key = Zeroizing::new(fs::read(other.path().join("own.key")).expect("read"));
    let tunnel = wanted.get_mut("gateway").expect("one");
    if let Credential::Certificate { key: of_another, .. } = &mut tunnel.credential {
        *of_another = key;
    }
    let reports = charon.reconcile(&wanted).await.expect("charon answers");
    let refused: Vec<_> =
        reports.iter().filter_map(|report| report.result.as_ref().err()).collect();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].to_string().contains("not the certificate's"), "{refused:?}");
    assert_eq!(keys(&ours).await.len(), 1, "only the key of before: {:?}", keys(&ours).await);
}
