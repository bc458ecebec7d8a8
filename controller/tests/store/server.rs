//! A real `etcd` on loopback, with TLS and a client's certificate.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hawser_controller::store::EtcdOptions;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use tempfile::TempDir;

/// Debian's etcd is there in half a second, on a busy machine in a few.
const PATIENCE: Duration = Duration::from_secs(30);

/// Killed when dropped.
pub struct Etcd {
    dir: TempDir,
    ports: (u16, u16),
    child: Option<Child>,
}

impl Etcd {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        make_certificates(dir.path());
        let mut etcd = Self { dir, ports: free_ports(), child: None };
        etcd.restart();
        etcd
    }

    /// SIGKILL: nothing can be tidied up.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is killed");
            child.wait().expect("it is gone");
        }
    }

    /// With the data that it had; returns when it listens.
    pub fn restart(&mut self) {
        self.kill();
        let (client, peer) = self.ports;
        let (client, peer) =
            (format!("https://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let cluster = format!("default={peer}");
        let path = |name: &str| self.dir.path().join(name);
        let log = std::fs::File::options().create(true).append(true).open(path("log"));
        let child = Command::new("etcd")
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &cluster, "--client-cert-auth"])
            .args(["--enable-grpc-gateway=false", "--log-outputs", "stderr"])
            .arg("--data-dir")
            .arg(path("data"))
            .arg("--trusted-ca-file")
            .arg(path("ca.pem"))
            .arg("--cert-file")
            .arg(path("server.pem"))
            .arg("--key-file")
            .arg(path("server.key"))
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("etcd starts: it is in Debian's package etcd-server");
        self.child = Some(child);
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", self.ports.0)).is_err() {
            assert!(Instant::now() < end, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn port(&self) -> u16 {
        self.ports.0
    }

    pub fn options(&self) -> EtcdOptions {
        self.options_at(self.port())
    }

    /// By way of another port.
    pub fn options_at(&self, port: u16) -> EtcdOptions {
        EtcdOptions {
            endpoints: vec![format!("https://127.0.0.1:{port}")],
            ca: Some(self.file("ca.pem")),
            identity: Some((self.file("client.pem"), self.file("client.key"))),
            prefix: "/hawser".into(),
            patience: PATIENCE,
            name: "test".into(),
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Taken by nobody a moment ago.
fn free_ports() -> (u16, u16) {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (a, b) = (bind(), bind());
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    (port(&a), port(&b))
}

/// A CA, a server's and a client's certificate; and a client's that another CA has made.
fn make_certificates(dir: &Path) {
    let ca = authority(dir, "ca");
    issue(dir, "server", &ca, ExtendedKeyUsagePurpose::ServerAuth);
    issue(dir, "client", &ca, ExtendedKeyUsagePurpose::ClientAuth);
    let other = authority(dir, "other-ca");
    issue(dir, "stranger", &other, ExtendedKeyUsagePurpose::ClientAuth);
}

fn authority(dir: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a CA");
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).expect("written");
    Issuer::new(params, key)
}

fn issue(dir: &Path, name: &str, ca: &Issuer<'_, KeyPair>, usage: ExtendedKeyUsagePurpose) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.extended_key_usages.push(usage);
    let certificate = params.signed_by(&key, ca).expect("a certificate");
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).expect("written");
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).expect("written");
}
