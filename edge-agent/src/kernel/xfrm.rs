//! Security associations and policies: from our words to the kernel's, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hawser_edge_core::id::{PathId, Spi};
use hawser_edge_core::kernel::{Direction, Policy, StateId};
use netlink_packet_xfrm::state::{self, DelGetMessage};
use netlink_packet_xfrm::{
    Address, EncapTmpl, LifetimeConfig, ReplayEsn, Selector, UserPolicyId, UserPolicyInfo,
    UserSaId, UserSaInfo, UserTemplate, XfrmAttrs, XfrmMessage, policy,
};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::sys::protocols::NETLINK_XFRM;

use super::algorithms;
use super::netlink::{Channel, Refusal};
use crate::dataplane::{DataPlaneError, KeyMaterial, Suite};

/// `UDP_ENCAP_ESPINUDP` of `linux/udp.h`.
const ENCAP_ESP_IN_UDP: u16 = 2;
/// `XFRM_STATE_ESN` of `linux/xfrm.h`.
const STATE_ESN: u8 = 128;
const MODE_TRANSPORT: u8 = 0;
/// Ours go before what others may have for all GRE.
const PRIORITY: u32 = 1_000;
/// An outbound state needs a window, too, though nothing is checked against it.
const OUTBOUND_WINDOW_PACKETS: u32 = 32;
/// What may be sealed between the last reading of a state's number and its end: bundles under way.
const IN_FLIGHT: u32 = 64;
const ESP: u8 = 50;
const GRE: u8 = 47;

/// A new association.
pub struct NewState<'a> {
    pub id: StateId,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub suite: Suite,
    pub key: &'a KeyMaterial,
    pub esn: bool,
    pub replay_window_packets: u32,
}

/// What the kernel tells of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub id: StateId,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// The highest number received or sent.
    pub top: u64,
    pub packets: u64,
    pub bytes: u64,
    pub replayed: u32,
    pub bad_icv: u32,
    /// When it was installed, in seconds of the wall clock.
    pub added_s: u64,
}

/// XFRM of one network namespace.
#[derive(Debug)]
pub struct Xfrm(Channel);

impl Xfrm {
    /// # Errors
    /// The kernel has no XFRM.
    pub fn open() -> std::io::Result<Xfrm> {
        Channel::open(NETLINK_XFRM).map(Xfrm)
    }

    /// # Errors
    /// The suite is not the kernel's, or what the kernel said.
    pub fn add_state(&mut self, new: &NewState<'_>) -> Result<(), DataPlaneError> {
        let message = XfrmMessage::AddSa(new_state(new)?);
        self.0.change("add a security association", message, NLM_F_CREATE | NLM_F_EXCL).map_err(
            |error| match error {
                error if error.is(libc::EEXIST) => DataPlaneError::SpiInUse(new.id.spi),
                error => DataPlaneError::Sa { fault: format!("{error}: {}", error.source) },
            },
        )
    }

    /// # Errors
    /// What the kernel said.
    pub fn remove_state(
        &mut self,
        id: StateId,
        (local, remote): (SocketAddr, SocketAddr),
    ) -> Result<(), Refusal> {
        let message = XfrmMessage::DeleteSa(state_id(id, local, remote));
        match self.0.change("remove a security association", message, 0) {
            Err(error) if error.is(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// The same association elsewhere. Its numbers go on: in place while only ports change; else a new state takes over
    /// where the old one ended, which must not seal any more.
    ///
    /// # Errors
    /// What the kernel said; the association may be gone then.
    pub fn move_state(
        &mut self,
        id: StateId,
        from: (SocketAddr, SocketAddr),
        to: (SocketAddr, SocketAddr),
    ) -> Result<(), Refusal> {
        let (local, remote) = from;
        let message = XfrmMessage::GetSa(state_id(id, local, remote));
        let found = self.0.get("look at a security association", message)?;
        let Some(XfrmMessage::AddSa(old)) = found.into_iter().next() else { return Ok(()) };
        let same_addresses = (local.ip(), remote.ip()) == (to.0.ip(), to.1.ip());
        let moved = moved(&old, id.direction, to, same_addresses);
        if same_addresses {
            return self.0.change("move a security association", XfrmMessage::UpdateSa(moved), 0);
        }
        self.remove_state(id, from)?;
        self.0.change("move a security association", XfrmMessage::AddSa(moved), NLM_F_CREATE)
    }

    /// All of ours.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn states(&mut self) -> Result<Vec<Reading>, Refusal> {
        let request = XfrmMessage::GetDumpSa(state::GetDumpMessage::default());
        let found = self.0.dump("list security associations", request)?;
        Ok(found.iter().filter_map(reading).collect())
    }

    /// # Errors
    /// What the kernel said.
    pub fn set_policy(&mut self, policy: &Policy) -> Result<(), Refusal> {
        let family = family_of(policy.local);
        let mut message = policy::ModifyMessage {
            user_policy_info: UserPolicyInfo {
                selector: selector(policy),
                lifetime_cfg: LifetimeConfig::default(),
                priority: PRIORITY,
                direction: direction(policy.direction),
                ..UserPolicyInfo::default()
            },
            ..policy::ModifyMessage::default()
        };
        let mut template = UserTemplate::default();
        template.id.proto = ESP;
        template.family = family;
        template.reqid = policy.direction.reqid(policy.path);
        template.mode = MODE_TRANSPORT;
        (template.aalgos, template.ealgos, template.calgos) = (!0, !0, !0);
        message.nlas.push(XfrmAttrs::Template(vec![template]));
        self.0.change("set a policy", XfrmMessage::UpdatePolicy(message), 0)
    }

    /// # Errors
    /// What the kernel said.
    pub fn remove_policy(&mut self, policy: &Policy) -> Result<(), Refusal> {
        let message = policy::DelGetMessage {
            user_policy_id: UserPolicyId {
                selector: selector(policy),
                direction: direction(policy.direction),
                ..UserPolicyId::default()
            },
            ..policy::DelGetMessage::default()
        };
        match self.0.change("remove a policy", XfrmMessage::DeletePolicy(message), 0) {
            Err(error) if error.is(libc::ENOENT) => Ok(()),
            result => result,
        }
    }

    /// All of ours.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn policies(&mut self) -> Result<Vec<Policy>, Refusal> {
        let request = XfrmMessage::GetPolicy(policy::DelGetMessage::default());
        let found = self.0.dump("list policies", request)?;
        Ok(found.iter().filter_map(policy_of).collect())
    }
}

fn new_state(new: &NewState<'_>) -> Result<state::ModifyMessage, DataPlaneError> {
    let key = new.key.octets();
    // Its length, and that it is not one of DES's weak ones.
    hawser_esp::KeyMaterial::new(new.suite, key)
        .map_err(|error| DataPlaneError::Sa { fault: error.to_string() })?;
    let Some(mut nlas) = algorithms::attributes(new.suite, key) else {
        let fault = format!("the kernel has no suite {}: use the userspace driver", new.suite);
        return Err(DataPlaneError::Sa { fault });
    };
    let (source, destination) = match new.id.direction {
        Direction::In => (new.remote, new.local),
        Direction::Out => (new.local, new.remote),
    };
    let mut info = UserSaInfo::default();
    info.source(&source.ip());
    info.destination(&destination.ip());
    info.id.proto = ESP;
    info.id.spi = new.id.spi.0;
    info.reqid = new.id.direction.reqid(new.id.path);
    info.family = family_of(destination.ip());
    info.mode = MODE_TRANSPORT;
    info.flags = if new.esn { STATE_ESN } else { 0 };
    if let Some(most_bytes) = new.suite.byte_limit() {
        info.lifetime_cfg.hard_byte_limit = most_bytes;
    }
    let window = match new.id.direction {
        Direction::In => new.replay_window_packets,
        Direction::Out => OUTBOUND_WINDOW_PACKETS,
    };
    let words = window.div_ceil(u32::BITS);
    nlas.push(XfrmAttrs::EncapsulationTemplate(encapsulation(source.port(), destination.port())));
    nlas.push(XfrmAttrs::ReplayStateEsn(ReplayEsn {
        bmp_len: words,
        oseq: 0,
        seq: 0,
        oseq_hi: 0,
        seq_hi: 0,
        replay_window: window,
        bmp: vec![0; words as usize],
    }));
    Ok(state::ModifyMessage { user_sa_info: info, nlas })
}

fn encapsulation(source: u16, destination: u16) -> EncapTmpl {
    EncapTmpl {
        encap_type: ENCAP_ESP_IN_UDP,
        encap_sport: source,
        encap_dport: destination,
        encap_oa: Address::default(),
    }
}

fn moved(
    old: &state::ModifyMessage,
    direction: Direction,
    (local, remote): (SocketAddr, SocketAddr),
    in_place: bool,
) -> state::ModifyMessage {
    let (source, destination) = match direction {
        Direction::In => (remote, local),
        Direction::Out => (local, remote),
    };
    let mut info = old.user_sa_info;
    info.source(&source.ip());
    info.destination(&destination.ip());
    let mut nlas = vec![
        XfrmAttrs::EncapsulationTemplate(encapsulation(source.port(), destination.port())),
        XfrmAttrs::LifetimeBytes(info.lifetime_cur),
    ];
    for attribute in &old.nlas {
        match attribute {
            XfrmAttrs::EncryptionAlgAead(_)
            | XfrmAttrs::EncryptionAlg(_)
            | XfrmAttrs::AuthenticationAlgTrunc(_) => nlas.push(attribute.clone()),
            XfrmAttrs::ReplayStateEsn(replay) => {
                let mut replay = replay.clone();
                if direction == Direction::Out && !in_place {
                    let next = (u64::from(replay.oseq_hi) << 32 | u64::from(replay.oseq))
                        + u64::from(IN_FLIGHT);
                    (replay.oseq_hi, replay.oseq) = ((next >> 32) as u32, next as u32);
                }
                nlas.push(XfrmAttrs::ReplayStateEsn(replay));
            }
            _ => {}
        }
    }
    state::ModifyMessage { user_sa_info: info, nlas }
}

fn state_id(id: StateId, local: SocketAddr, remote: SocketAddr) -> DelGetMessage {
    let (source, destination) = match id.direction {
        Direction::In => (remote, local),
        Direction::Out => (local, remote),
    };
    let mut user_sa_id = UserSaId::default();
    user_sa_id.destination(&destination.ip());
    user_sa_id.spi = id.spi.0;
    user_sa_id.proto = ESP;
    let nlas = vec![XfrmAttrs::SrcAddr(Address::from_ip(&source.ip()))];
    DelGetMessage { user_sa_id, nlas }
}

/// `None`: not one of ours, or one that only waits for keys.
fn reading(message: &XfrmMessage) -> Option<Reading> {
    let XfrmMessage::AddSa(state) = message else { return None };
    let info = &state.user_sa_info;
    let (direction, path) = Direction::of_reqid(info.reqid)?;
    if info.id.spi == 0 {
        return None;
    }
    let encapsulation = state.nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::EncapsulationTemplate(template) => Some(*template),
        _ => None,
    })?;
    let replay = state.nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::ReplayStateEsn(replay) => Some(replay),
        _ => None,
    });
    let source = SocketAddr::new(ip(&info.saddr, info.family), encapsulation.encap_sport);
    let destination = SocketAddr::new(ip(&info.id.daddr, info.family), encapsulation.encap_dport);
    let whole = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let (local, remote, top) = match direction {
        Direction::In => (destination, source, replay.map(|r| whole(r.seq_hi, r.seq))),
        Direction::Out => (source, destination, replay.map(|r| whole(r.oseq_hi, r.oseq))),
    };
    Some(Reading {
        id: StateId { path, direction, spi: Spi(info.id.spi) },
        local,
        remote,
        top: top.unwrap_or(0),
        packets: info.lifetime_cur.packets,
        bytes: info.lifetime_cur.bytes,
        replayed: info.stats.replay.wrapping_add(info.stats.replay_window),
        bad_icv: info.stats.integrity_failed,
        added_s: info.lifetime_cur.add_time,
    })
}

/// The path's GRE keys in all segments: of the key's 32 bits, the kernel's "source port" is the upper half and its
/// "destination port" the lower one (`xfrm_flowi_sport` of Linux), and the segment is the last octet.
fn selector(policy: &Policy) -> Selector {
    let mut selector = Selector::default();
    let any = match policy.local {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let bits = if policy.local.is_ipv4() { 32 } else { 128 };
    let remote = policy.remote.unwrap_or(any);
    let (source, destination) = match policy.direction {
        Direction::In => (remote, policy.local),
        Direction::Out => (policy.local, remote),
    };
    selector.source_prefix(&source, bits);
    selector.destination_prefix(&destination, bits);
    selector.proto = GRE;
    // IPv6's GRE gives the policy no key (seen on Linux 6.1), and needs none: there are no two paths of one address pair.
    if policy.local.is_ipv4() {
        let key = policy.path.0 << 8;
        (selector.sport, selector.sport_mask) = ((key >> 16) as u16, 0xffff);
        (selector.dport, selector.dport_mask) = (key as u16, 0xff00);
    }
    selector
}

fn policy_of(message: &XfrmMessage) -> Option<Policy> {
    let XfrmMessage::AddPolicy(policy) = message else { return None };
    let reqid = policy.nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::Template(templates) => templates.first().map(|template| template.reqid),
        _ => None,
    })?;
    let (direction, path) = Direction::of_reqid(reqid)?;
    let selector = &policy.user_policy_info.selector;
    let (source, destination) =
        (ip(&selector.saddr, selector.family), ip(&selector.daddr, selector.family));
    let (local, remote, remote_bits) = match direction {
        Direction::In => (destination, source, selector.prefixlen_s),
        Direction::Out => (source, destination, selector.prefixlen_d),
    };
    let found = Policy { direction, path, local, remote: (remote_bits > 0).then_some(remote) };
    // One that was changed by somebody is set anew.
    let key = PathId(u32::from(selector.sport) << 8 | u32::from(selector.dport) >> 8);
    let by_key = key == path || local.is_ipv6() && selector.sport_mask == 0;
    (by_key && selector.proto == GRE).then_some(found)
}

fn direction(direction: Direction) -> u8 {
    match direction {
        Direction::In => 0,
        Direction::Out => 1,
    }
}

pub fn family_of(address: IpAddr) -> u16 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    family as u16
}

/// Only the first four octets of an IPv4 address are set by the kernel in every message.
pub fn ip(address: &Address, family: u16) -> IpAddr {
    if family == libc::AF_INET as u16 {
        IpAddr::V4(address.to_ipv4())
    } else {
        IpAddr::V6(address.to_ipv6())
    }
}
