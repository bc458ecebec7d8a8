//! A network as its description file says it: nodes, links, addresses, routes.

use super::check::{self, Fault};
use crate::wan::Impairment;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Larger description files are refused unread.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// Of all emulated links; each direction derives its own.
    #[serde(default)]
    pub seed: u64,
    pub nodes: BTreeMap<String, Node>,
    #[serde(default)]
    pub links: BTreeMap<String, Link>,
}

/// A node: one network namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub kind: NodeKind,
    /// By dotted name, `net.` only.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Interfaces whose IPv4 traffic leaves with the interface's own address.
    #[serde(default)]
    pub masquerade: Vec<Masquerade>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A site's edge device: forwards.
    Edge,
    /// A provider's router, or a NAT box: forwards.
    Router,
    /// A computer on a LAN.
    Host,
    /// The machine of the controller.
    Controller,
    /// Anything else.
    Plain,
}

impl NodeKind {
    #[must_use]
    pub fn forwards(self) -> bool {
        matches!(self, Self::Edge | Self::Router)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A prefix, or `default`: of the family of `via`.
    pub to: String,
    pub via: IpAddr,
    /// Needed only where `via` alone is ambiguous.
    #[serde(default)]
    pub dev: Option<String>,
    #[serde(default)]
    pub metric: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masquerade {
    pub interface: String,
    /// Give every flow a random outer port, as carrier-grade NATs do; else the inner port is kept where it is free.
    #[serde(default)]
    pub random_ports: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub kind: LinkKind,
    #[serde(default = "default_mtu")]
    pub mtu: u32,
    pub a: End,
    pub b: End,
    /// What a `wan` link does to frames at the start, applied in this order.
    #[serde(default)]
    pub impair: Vec<Impairment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A direct cable: no faults, full speed.
    Veth,
    /// Through the WAN emulator.
    Wan,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    pub node: String,
    pub interface: String,
    /// Host addresses with the prefix length of their subnet.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
}

fn default_mtu() -> u32 {
    1500
}

#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    #[error("{} can't be read", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} has more than {MAX_FILE_BYTES} bytes; is it a description file?", .path.display())]
    TooLarge { path: PathBuf },
    #[error("the description can't be parsed: {message}")]
    Parse { message: String },
    #[error("there is no bundled topology `{name}`; there are: demo, dual, hubs, nat, pair")]
    NotBundled { name: String },
    #[error("the description has {} faults:{}", .faults.len(), list(.faults))]
    Faults { faults: Vec<Fault> },
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

impl Topology {
    /// Reads and checks a description file. Trace files in it are relative to it.
    ///
    /// # Errors
    /// An unreadable file, bad YAML, an unknown field, or any number of faults, all reported at once.
    pub fn load(path: &Path) -> Result<Self, TopologyError> {
        let read = |source| TopologyError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(read)?.len() > MAX_FILE_BYTES {
            return Err(TopologyError::TooLarge { path: path.to_owned() });
        }
        let mut topology = Self::parse(&std::fs::read_to_string(path).map_err(read)?)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder).map_err(read)?;
        for change in topology.links.values_mut().flat_map(|link| &mut link.impair) {
            if let Some(trace) = &mut change.trace
                && trace.as_os_str() != "none"
            {
                *trace = folder.join(&trace);
            }
        }
        Ok(topology)
    }

    /// Parses and checks a description.
    ///
    /// # Errors
    /// As [`Topology::load`].
    pub fn parse(yaml: &str) -> Result<Self, TopologyError> {
        let topology: Self = serde_saphyr::from_str(yaml)
            .map_err(|error| TopologyError::Parse { message: error.to_string() })?;
        topology.check()?;
        Ok(topology)
    }

    /// One of the topologies that come with this crate: `demo`, `dual`, `hubs`, `nat`, `pair`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn bundled(name: &str) -> Result<Self, TopologyError> {
        Self::parse(match name {
            "demo" => include_str!("../../topologies/demo.yaml"),
            "dual" => include_str!("../../topologies/dual.yaml"),
            "hubs" => include_str!("../../topologies/hubs.yaml"),
            "nat" => include_str!("../../topologies/nat.yaml"),
            "pair" => include_str!("../../topologies/pair.yaml"),
            _ => return Err(TopologyError::NotBundled { name: name.to_owned() }),
        })
    }

    /// Checks a topology that was made or changed in code.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn check(&self) -> Result<(), TopologyError> {
        let faults = check::faults(self);
        if faults.is_empty() { Ok(()) } else { Err(TopologyError::Faults { faults }) }
    }

    /// The ends of links at a node, in order of link name.
    pub fn ends_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (&'a str, &'a End)> {
        self.links.iter().flat_map(move |(name, link)| {
            [&link.a, &link.b]
                .into_iter()
                .filter(move |end| end.node == node)
                .map(move |end| (name.as_str(), end))
        })
    }

    /// The first address of a node's interface in the wanted family.
    #[must_use]
    pub fn address(&self, node: &str, interface: &str, ipv6: bool) -> Option<IpAddr> {
        self.ends_of(node)
            .filter(|(_, end)| end.interface == interface)
            .flat_map(|(_, end)| &end.addresses)
            .map(IpNet::addr)
            .find(|address| address.is_ipv6() == ipv6)
    }
}
