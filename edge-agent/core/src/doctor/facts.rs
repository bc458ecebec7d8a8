//! What the shell found out.

use std::net::IpAddr;

use crate::ike::{Daemon, KeyKind};

/// Who is to forward packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Driver {
    #[default]
    Userspace,
    Kernel,
    Auto,
}

/// Everything that is judged. The default is an edge where nothing was found out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub driver: Driver,
    /// What the kernel driver lacks; `None`: it could not be tried.
    pub driver_lacks: Option<Vec<DriverLack>>,
    pub rights: Rights,
    /// Why `/dev/net/tun` can't be opened.
    pub tun_error: Option<String>,
    /// Why nft can't list what the kernel has.
    pub nft_error: Option<String>,
    pub sockets: Sockets,
    /// That are other than this edge needs them.
    pub settings: Vec<Setting>,
    pub state_dir: StateDir,
    pub clock: Clock,
    pub now_unix_s: i64,
    pub certificate: Certificate,
    pub controllers: Vec<Controller>,
    /// `None`: none runs.
    pub agent: Option<Agent>,
    /// The ones of the last generation applied; `None`: there is none yet.
    pub uplinks: Option<Vec<UplinkFacts>>,
    /// That this edge shall have.
    pub ike_tunnels: usize,
    /// Those by IKE and those under manual keys.
    pub gateways: Vec<GatewayTunnel>,
    /// What the kernel lacks of the interfaces that they need, each tried; empty too where there is no right to try.
    pub gateway_lacks: Vec<DriverLack>,
    pub charon: Charon,
}

/// Something that the kernel driver needs and this host lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverLack {
    pub what: String,
    pub message: String,
    pub mend: String,
}

/// A tunnel with a device that is not Hawser.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayTunnel {
    pub name: String,
    /// Under keys that people put at both ends.
    pub manual: bool,
    /// Why its keys or certificates are no good, and what mends it.
    pub ailment: Option<(String, String)>,
    /// Which charon must sign with.
    pub key_kind: Option<KeyKind>,
    /// Groups of IKE, as strongSwan names them.
    pub groups: Vec<String>,
}

/// Capabilities (capabilities(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Of the agent that runs, else of the doctor itself.
    pub of_agent: bool,
    pub net_admin: bool,
    pub net_raw: bool,
    pub net_bind_service: bool,
}

/// What a socket of the uplinks' kind was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sockets {
    pub segmentation: bool,
    pub coalescing: bool,
    pub buffer_bytes: u64,
    pub wanted_buffer_bytes: u64,
}

/// A sysctl that has another value than this edge needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Dotted; a slash stands for a dot inside an interface's name.
    pub name: String,
    pub is: String,
    pub wanted: String,
    /// The agent will set it by itself.
    pub writable: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateDir {
    pub path: String,
    pub exists: bool,
    /// Permission bits.
    pub mode: u32,
    /// Of the private key's file, if there is one that can be seen.
    pub key_mode: Option<u32>,
    /// Why the doctor can't look inside.
    pub unreadable: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock {
    /// By the kernel's own account; `None`: it does not say.
    pub synchronised: Option<bool>,
    /// This clock less the controller's, to a second or so; `None`: no controller was reached.
    pub offset_s: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Certificate {
    #[default]
    NotEnrolled,
    Unusable {
        message: String,
        mend: String,
    },
    Usable {
        not_before_unix_s: i64,
        half_life_unix_s: i64,
        not_after_unix_s: i64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    pub address: String,
    /// Of the failure: its code and what was said.
    pub failure: Option<(String, String)>,
}

/// What the running agent answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agent {
    pub paths: Vec<PathFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFacts {
    pub name: String,
    pub up: bool,
    /// As the search of the path MTU found it.
    pub inner_mtu_bytes: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UplinkFacts {
    pub name: String,
    pub interface: String,
    pub exists: bool,
    pub running: bool,
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Charon {
    pub program: String,
    pub program_exists: bool,
    /// Who answers on its socket, or why nobody does.
    pub answer: Option<Result<Daemon, String>>,
    /// Somebody else starts it.
    pub foreign: bool,
}
