//! A charon that runs: that of somebody else, or one of ours that is started when it is needed, and again when it ended.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hawser_edge_core::ike::{Blocked, lacks};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::{Charon, ClientError, ViciClient};
use crate::control::files::private_dir;

/// Of the state directory.
const FOLDER: &str = "ike";
const OPENS_WITHIN: Duration = Duration::from_secs(10);
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// A charon that can't be started is not tried over and over.
const PAUSE: Duration = Duration::from_secs(10);

/// Which charon.
#[derive(Debug, Clone)]
pub struct CharonOptions {
    /// Somebody else's; `None`: one of our own.
    pub socket: Option<PathBuf>,
    pub program: PathBuf,
}

pub(super) struct Supervisor {
    options: CharonOptions,
    folder: PathBuf,
    own: Option<Child>,
    /// Why the last start failed, and until when there is none.
    failed: Option<(Blocked, Instant)>,
}

impl Supervisor {
    pub fn new(state_dir: &Path, options: CharonOptions) -> Supervisor {
        Supervisor { options, folder: state_dir.join(FOLDER), own: None, failed: None }
    }

    pub fn socket(&self) -> PathBuf {
        self.options.socket.clone().unwrap_or_else(|| self.folder.join("charon.vici"))
    }

    /// One that answers and can do what is needed.
    pub async fn open(&mut self) -> Result<Charon, Blocked> {
        let charon = match Charon::open(&self.socket()).await {
            // Of a former agent, or somebody else's.
            Ok(charon) => charon,
            Err(error) if self.options.socket.is_some() => return Err(self.silent(&error)),
            Err(_) => self.start().await?,
        };
        match lacks(charon.daemon()).into_iter().next() {
            None => Ok(charon),
            Some(lack) => Err(Blocked { code: lack.code, message: lack.message, mend: lack.mend }),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    async fn start(&mut self) -> Result<Charon, Blocked> {
        if let Some((blocked, until)) = &self.failed
            && Instant::now() < *until
        {
            return Err(blocked.clone());
        }
        self.end_own().await;
        let started = self.try_start().await;
        let failed = started.as_ref().err().cloned();
        self.failed = failed.map(|blocked| (blocked, Instant::now() + PAUSE));
        started
    }

    async fn try_start(&mut self) -> Result<Charon, Blocked> {
        self.write_settings().map_err(|error| self.cannot_start(&error.to_string()))?;
        let mut command = Command::new(&self.options.program);
        command.env("STRONGSWAN_CONF", self.folder.join("strongswan.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C at a terminal is the agent's: charon ends with it, in order.
        command.process_group(0);
        let child = command.spawn().map_err(|error| self.cannot_start(&error.to_string()))?;
        tracing::info!(pid = child.id(), "charon started");
        self.own = Some(child);
        let deadline = Instant::now() + OPENS_WITHIN;
        loop {
            match Charon::open(&self.socket()).await {
                Ok(charon) => return Ok(charon),
                Err(error) if Instant::now() > deadline => return Err(self.silent(&error)),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// No secret is in it.
    fn write_settings(&self) -> Result<(), Box<dyn std::error::Error>> {
        private_dir(&self.folder)?;
        let path = self.folder.join("strongswan.conf");
        let mut file = fs::OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        std::io::Write::write_all(&mut file, settings(&self.socket()).as_bytes())?;
        Ok(())
    }

    /// Ends what was started here, or by a former agent: its associations are deleted at the peers too.
    pub async fn stop(&mut self) {
        if self.options.socket.is_none()
            && self.own.is_none()
            && let Ok(client) = ViciClient::open(&self.socket()).await
            && let Some(pid) = client.peer_pid()
        {
            signal(pid);
            return;
        }
        self.end_own().await;
    }

    async fn end_own(&mut self) {
        let Some(mut child) = self.own.take() else { return };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            signal(pid);
        }
        if timeout(ENDS_WITHIN, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    fn cannot_start(&self, why: &str) -> Blocked {
        Blocked {
            code: "IKE_DAEMON_MISSING",
            message: format!("{} can't be started: {why}", self.options.program.display()),
            mend: "apt-get install charon-systemd libstrongswan-standard-plugins".to_owned(),
        }
    }

    fn silent(&self, error: &ClientError) -> Blocked {
        Blocked {
            code: "IKE_DAEMON_SILENT",
            message: format!("charon does not answer at {}: {error}", self.socket().display()),
            mend: "see whether it runs, and whether its vici plugin is loaded".to_owned(),
        }
    }
}

fn signal(pid: i32) {
    use nix::sys::signal::{Signal, kill};
    let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM);
}

/// What is not installed of the plugins is left out by charon. Routes are ours: charon must make none. A peer that does
/// not answer is given up after 26 s, not 165.
fn settings(socket: &Path) -> String {
    format!(
        "charon-systemd {{\n  load = random nonce openssl aes des md5 sha1 sha2 hmac xcbc gcm chapoly curve25519 gmp kdf \
         drbg pem pkcs1 pkcs8 x509 constraints revocation pubkey kernel-netlink socket-default vici\n  \
         install_routes = no\n  install_virtual_ip = no\n  make_before_break = yes\n  \
         retransmit_timeout = 2.0\n  retransmit_base = 1.5\n  retransmit_tries = 4\n  \
         plugins {{ vici {{ socket = unix://{} }} }}\n}}\n",
        socket.display()
    )
}
