//! Whether this host's kernel can run the driver, found out by trying in a network namespace of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Instant;

use hawser_edge_core::id::{PathId, Spi};
use hawser_edge_core::kernel::{Direction, GreLink, NextHop, Policy, StateId, link_name};
use hawser_esp::Encryption;
use nix::sched::{CloneFlags, unshare};

use super::route::Rtnetlink;
use super::sockets::EncapSockets;
use super::xfrm::{NewState, Xfrm};
use crate::dataplane::{Family, KeyMaterial, OpenSockets, Suite};

/// Something that the kernel driver needs and this host lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// A stable name.
    pub code: &'static str,
    /// What the kernel said.
    pub message: String,
    /// The command, or the package, that mends it.
    pub mend: &'static str,
}

/// Without CAP_SYS_ADMIN there is no namespace to try in.
pub const UNTRIED: &str = "UNTRIED";

const LOCAL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PORT: u16 = 4510;

/// Empty: the kernel driver can run here. Nothing of it touches the host's own tables.
#[must_use]
pub fn lacks() -> Vec<Lack> {
    let tried = thread::Builder::new().name("kernel-try".into()).spawn(try_all);
    tried.map(thread::JoinHandle::join).map_or_else(
        |error| vec![Lack { code: "THREAD", message: error.to_string(), mend: "" }],
        |found| found.unwrap_or_default(),
    )
}

/// The suites that this kernel has. Of SM4 and SM3 it is tried, in a namespace of its own: many kernels are built without
/// them. The others every kernel with ESP has, at least as a module, and modules for old suites are not loaded for nothing.
#[must_use]
pub fn suites() -> Vec<Suite> {
    let tried = thread::Builder::new().name("kernel-try".into()).spawn(|| {
        let alone = unshare(CloneFlags::CLONE_NEWNET).is_ok();
        let has = |suite: &Suite| match suite.encryption() {
            Encryption::Sm4Gcm => false,
            Encryption::Sm4Cbc => alone && try_suite(*suite).is_ok(),
            _ => true,
        };
        Suite::ALL.into_iter().filter(has).collect()
    });
    tried.ok().and_then(|thread| thread.join().ok()).unwrap_or_default()
}

fn try_all() -> Vec<Lack> {
    let mut found = Vec::new();
    let mut began = Instant::now();
    let mut note = |code, mend, result: Result<(), String>| {
        let took_ms = std::mem::replace(&mut began, Instant::now()).elapsed().as_millis();
        tracing::debug!(code, took_ms, "tried");
        if let Err(message) = result {
            found.push(Lack { code, message, mend });
        }
    };
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        note(UNTRIED, "run it as root to know", Err(error.to_string()));
        return found;
    }
    note("XFRM", "modprobe xfrm_user esp4 gcm", try_xfrm());
    note("ENCAP", "modprobe esp4", try_encap());
    note("GRE", "modprobe ip_gre", try_links());
    note("NFT", "apt-get install nftables", try_nft());
    found
}

fn try_suite(suite: Suite) -> Result<Xfrm, String> {
    let mut xfrm = Xfrm::open().map_err(|error| error.to_string())?;
    let key = KeyMaterial::new(vec![1; suite.key_material_len()]);
    let id = StateId { path: PathId(1), direction: Direction::Out, spi: Spi(0x1000) };
    let new = NewState {
        id,
        local: SocketAddr::new(LOCAL.into(), PORT),
        remote: SocketAddr::new(REMOTE.into(), PORT),
        suite,
        key: &key,
        esn: true,
        replay_window_packets: 4096,
    };
    xfrm.add_state(&new).map_err(|error| error.to_string())?;
    Ok(xfrm)
}

fn try_xfrm() -> Result<(), String> {
    let mut xfrm = try_suite(Suite::Aes128Gcm)?;
    let (local, remote) = (IpAddr::from(LOCAL), Some(IpAddr::from(REMOTE)));
    let policy = Policy { direction: Direction::Out, path: PathId(1), local, remote };
    xfrm.set_policy(&policy).map_err(|error| format!("{error}: {}", error.source))
}

fn try_encap() -> Result<(), String> {
    let sockets = EncapSockets { state_dir: None };
    sockets.open("lo", Family::V4, 0).map(drop).map_err(|error| error.to_string())
}

fn try_links() -> Result<(), String> {
    let text = |error: super::netlink::Refusal| format!("{error}: {}", error.source);
    let mut route = Rtnetlink::open().map_err(|error| error.to_string())?;
    let links = route.links().map_err(text)?;
    let link = GreLink {
        key: 0x101,
        local: LOCAL.into(),
        remote: REMOTE.into(),
        underlay: "lo".into(),
        mtu_bytes: 1400,
        up: true,
    };
    route.add_link(&link, &links).map_err(text)?;
    let links = route.links().map_err(text)?;
    let index = links.indexes.get(&link_name(link.key)).copied().unwrap_or_default();
    route.raise_link(index).map_err(text)?;
    let hop = NextHop::Device { ipv6: false, link: link.key };
    route.set_next_hop(0x4800_0001, &hop, &links).map_err(text)?;
    route.set_next_hop(0x4800_0002, &NextHop::Group(vec![(0x4800_0001, 1)]), &links).map_err(text)
}

fn try_nft() -> Result<(), String> {
    let script = "table inet t { chain c { type filter hook output priority 0; \
                  meta l4proto 47 rt ipsec missing drop; }; }\n";
    super::script::Script::default().load_other(script).map_err(|error| error.source.to_string())
}
