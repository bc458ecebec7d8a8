//! Which store a controller has, as its command line says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Access, EtcdOptions, EtcdStore, OpenReport, SledStore, Store, StoreError};

/// How long a request to etcd is tried before its caller hears of it.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreChoice {
    /// In the controller's folder.
    #[default]
    Sled,
    Etcd(EtcdOptions),
}

/// The same for every command that needs the store.
#[derive(Debug, Clone, Args)]
pub struct StoreFlags {
    /// Where the fleet is kept: in the controller's folder, or in etcd, so that a second controller can stand by.
    #[arg(long, value_enum, default_value = "sled")]
    store: Kind,
    /// Members of the etcd cluster.
    #[arg(
        long, value_name = "URL", num_args = 1.., value_delimiter = ',',
        required_if_eq("store", "etcd")
    )]
    etcd_endpoints: Vec<String>,
    /// PEM of the CA of etcd's servers; needed for https.
    #[arg(long, value_name = "FILE")]
    etcd_ca: Option<PathBuf>,
    /// PEM of this controller's certificate for etcd.
    #[arg(long, value_name = "FILE", requires = "etcd_key")]
    etcd_cert: Option<PathBuf>,
    /// PEM of its private key.
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    etcd_key: Option<PathBuf>,
    /// Keys are below it and the fleet's name.
    #[arg(long, value_name = "PREFIX", default_value = "/hawser")]
    etcd_prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Sled,
    Etcd,
}

impl StoreFlags {
    pub fn choice(self) -> StoreChoice {
        match self.store {
            Kind::Sled => StoreChoice::Sled,
            Kind::Etcd => StoreChoice::Etcd(EtcdOptions {
                endpoints: self.etcd_endpoints,
                ca: self.etcd_ca,
                identity: self.etcd_cert.zip(self.etcd_key),
                prefix: self.etcd_prefix,
                patience: PATIENCE,
                name: own_name(),
            }),
        }
    }
}

impl StoreChoice {
    /// For the one that writes. `wait`: in etcd, for as long as another one leads; else that is an error, as it always is
    /// of a folder.
    pub async fn open(
        &self,
        data: &Path,
        fleet: &str,
        wait: bool,
    ) -> Result<(Arc<dyn Store>, OpenReport), StoreError> {
        match self {
            Self::Sled => {
                let data = data.to_owned();
                let opening = tokio::task::spawn_blocking(move || SledStore::open(&data));
                let opened = opening.await;
                let (store, report) =
                    opened.unwrap_or(Err(StoreError::Panicked { doing: "being opened" }))?;
                Ok((Arc::new(store), report))
            }
            Self::Etcd(options) => {
                let access = if wait { Access::LeadInTurn } else { Access::LeadNow };
                let (store, report) = EtcdStore::open(options, fleet, access).await?;
                Ok((Arc::new(store), report))
            }
        }
    }
}

/// `HOST PID`: for people who ask who leads.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", host.trim(), std::process::id())
}
