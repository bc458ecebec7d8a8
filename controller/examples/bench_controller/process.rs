//! The controller's process, its certificates, and what it uses.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hawser_controller::init::{self, Setup};
use hawser_controller::pki::Pki;
use rcgen::KeyPair;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const START_WITHIN: Duration = Duration::from_secs(60);
/// Clock ticks a second, as Linux has them for all user space.
const TICKS_PER_S: f64 = 100.0;
const PAGE_KIB: f64 = 4.0;

/// One agent's certificate chain and key, as PEM.
#[derive(Clone)]
pub struct EdgeIdentity {
    pub edge: String,
    pub chain_pem: String,
    pub key_pem: String,
}

#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub rss_mib: f64,
    pub cpu_s: f64,
}

/// Killed when dropped.
pub struct Controller {
    child: Child,
    port: u16,
    metrics: Option<SocketAddr>,
    data: PathBuf,
    setup: Setup,
    access: serde_json::Value,
    _dir: tempfile::TempDir,
}

impl Controller {
    /// `metrics`: they may be scraped.
    pub async fn start(metrics: bool) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let data = dir.path().join("data");
        let advertised = vec!["127.0.0.1:4511".parse().map_err(|_| "an address")?];
        let setup = Setup { fleet: "bench".into(), advertised };
        let made = init::init(&data, &setup).await.map_err(|error| error.to_string())?;
        let text = std::fs::read(&made.admin_context).map_err(|error| error.to_string())?;
        let access = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let mut binary = std::env::current_exe().map_err(|error| error.to_string())?;
        binary.pop();
        binary.pop();
        binary.push("hawser-controller");
        let port_file = data.join("port");
        let metrics = metrics.then(free_port).transpose()?;
        let listen = metrics.map(|address| ["--metrics-listen".to_owned(), address.to_string()]);
        let mut child = Command::new(&binary)
            .args(["run", "--listen", "127.0.0.1:0", "--telemetry-interval-ms", "10000", "--data"])
            .arg(&data)
            .arg("--port-file")
            .arg(&port_file)
            .args(listen.iter().flatten())
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let end = Instant::now() + START_WITHIN;
        let port = loop {
            if let Some(port) =
                std::fs::read_to_string(&port_file).ok().and_then(|t| t.parse().ok())
            {
                break port;
            }
            if Instant::now() > end || child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err("the controller does not serve".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Ok(Self { child, port, metrics, data, setup, access, _dir: dir })
    }

    /// Where metrics are scraped.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    pub fn token(&self) -> &str {
        self.access["token"].as_str().unwrap_or_default()
    }

    /// Issued by the fleet's own CA: enrolling by tokens is limited in rate, and not what is measured.
    pub fn identities(&self, count: usize) -> Result<Vec<EdgeIdentity>, String> {
        let pki = Pki::load(&self.data, &self.setup.fleet, &self.setup.advertised)
            .map_err(|error| error.to_string())?;
        (0..count)
            .map(|index| {
                let edge = format!("s{index}-1");
                let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
                    .map_err(|error| error.to_string())?;
                let request = rcgen::CertificateParams::default()
                    .serialize_request(&key)
                    .map_err(|error| error.to_string())?;
                let issued =
                    pki.issue_edge(request.der(), &edge).map_err(|error| error.to_string())?;
                let chain_pem = issued.chain.iter().map(|der| pem(der)).collect();
                Ok(EdgeIdentity { edge, chain_pem, key_pem: key.serialize_pem() })
            })
            .collect()
    }

    pub async fn channel(&self, identity: Option<&EdgeIdentity>) -> Result<Channel, String> {
        let ca = self.access["ca_pem"].as_str().unwrap_or_default();
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca))
            .domain_name("controller.hawser");
        if let Some(identity) = identity {
            tls = tls.identity(Identity::from_pem(&identity.chain_pem, &identity.key_pem));
        }
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", self.port))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|error| error.to_string())?;
        endpoint.connect().await.map_err(|error| format!("{error:?}"))
    }

    /// Of the process until now.
    pub fn usage(&self) -> Result<Usage, String> {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.child.id());
            std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
        };
        let (statm, stat) = (read("statm")?, read("stat")?);
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        let pages = number(statm.split(' ').nth(1));
        // What comes before the last bracket may hold blanks.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        let fields: Vec<&str> = after.split(' ').collect();
        let ticks = number(fields.get(11).copied()) + number(fields.get(12).copied());
        Ok(Usage { rss_mib: pages * PAGE_KIB / 1_024.0, cpu_s: ticks / TICKS_PER_S })
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Free a moment ago: good enough on loopback.
fn free_port() -> Result<SocketAddr, String> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map_err(|error| error.to_string())
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}
