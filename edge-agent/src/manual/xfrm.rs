//! Associations and policies of manual tunnels: from our words to the kernel's, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hawser_edge_core::manual::{Direction, Keys, Policy, Protocol, State, StateId, Wanted, Way};
use ipnet::IpNet;
use netlink_packet_xfrm::state::{self, DelGetMessage};
use netlink_packet_xfrm::{
    Address, LifetimeConfig, Selector, UserPolicyId, UserPolicyInfo, UserSaId, UserSaInfo,
    UserTemplate, XfrmAttrs, XfrmMessage, policy,
};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::sys::protocols::NETLINK_XFRM;

use crate::kernel::algorithms;
use crate::kernel::netlink::{Channel, Refusal};
use crate::kernel::xfrm::{family_of, ip};

const MODE_TRANSPORT: u8 = 0;
const MODE_TUNNEL: u8 = 1;
/// `XFRM_STATE_AF_UNSPEC` of `linux/xfrm.h`: packets of both families go through one tunnel.
const STATE_AF_UNSPEC: u8 = 32;
/// `XFRM_STATE_ALIGN4`: AH in IPv4 is a multiple of 4 octets long (RFC 4302 section 3.3.3.2.1). Linux left to itself takes 8,
/// and refuses what any other system sends with an ICV of 16, 24 or 32 octets.
const STATE_ALIGN4: u8 = 64;
/// `XFRM_SA_XFLAG_OSEQ_MAY_WRAP`: without anti-replay nobody minds (RFC 4303 section 3.3.3).
const NUMBERS_MAY_WRAP: u32 = 2;
/// As those of the fabric's.
const PRIORITY: u32 = 1_000;

/// What an association has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub packets: u64,
    pub bytes: u64,
}

/// An association as the kernel tells of it.
pub(super) type Seen = BTreeMap<StateId, (State, Traffic)>;

/// XFRM of one network namespace.
#[derive(Debug)]
pub(super) struct Xfrm(Channel);

impl Xfrm {
    pub fn open() -> std::io::Result<Xfrm> {
        Channel::open(NETLINK_XFRM).map(Xfrm)
    }

    pub fn add_state(
        &mut self,
        id: &StateId,
        state: &State,
        algorithms: Vec<XfrmAttrs>,
    ) -> Result<(), Refusal> {
        let mut info = UserSaInfo::default();
        info.source(&state.source);
        info.destination(&id.destination);
        info.id.proto = id.protocol.number();
        info.id.spi = id.spi;
        info.reqid = id.direction.reqid(id.spi);
        info.family = family_of(id.destination);
        (info.mode, info.flags) =
            if state.tunnel { (MODE_TUNNEL, STATE_AF_UNSPEC) } else { (MODE_TRANSPORT, 0) };
        info.flags |= alignment(id.protocol, id.destination);
        // No replay window: a peer that starts again begins at 1 under the same key.
        let mut nlas = algorithms;
        nlas.push(XfrmAttrs::ExtraFlags(NUMBERS_MAY_WRAP));
        let message = XfrmMessage::AddSa(state::ModifyMessage { user_sa_info: info, nlas });
        self.0.change("add a security association", message, NLM_F_CREATE | NLM_F_EXCL)
    }

    pub fn remove_state(&mut self, id: &StateId, state: &State) -> Result<(), Refusal> {
        let mut user_sa_id = UserSaId::default();
        user_sa_id.destination(&id.destination);
        user_sa_id.spi = id.spi;
        user_sa_id.proto = id.protocol.number();
        let nlas = vec![XfrmAttrs::SrcAddr(Address::from_ip(&state.source))];
        let message = XfrmMessage::DeleteSa(DelGetMessage { user_sa_id, nlas });
        gone(self.0.change("remove a security association", message, 0), libc::ESRCH)
    }

    /// Ours.
    pub fn states(&mut self) -> Result<Seen, Refusal> {
        let request = XfrmMessage::GetDumpSa(state::GetDumpMessage::default());
        let found = self.0.dump("list security associations", request)?;
        Ok(found.iter().filter_map(state_of).collect())
    }

    pub fn set_policy(&mut self, policy: &Policy) -> Result<(), Refusal> {
        let mut template = UserTemplate::default();
        template.source(&policy.from);
        template.destination(&policy.to);
        template.id.proto = policy.protocol.number();
        template.id.spi = policy.spi;
        template.family = family_of(policy.to);
        template.reqid = direction(policy.way).reqid(policy.spi);
        template.mode = if policy.tunnel { MODE_TUNNEL } else { MODE_TRANSPORT };
        (template.aalgos, template.ealgos, template.calgos) = (!0, !0, !0);
        let message = policy::ModifyMessage {
            user_policy_info: UserPolicyInfo {
                selector: selector(policy),
                lifetime_cfg: LifetimeConfig::default(),
                priority: PRIORITY,
                direction: way_number(policy.way),
                ..UserPolicyInfo::default()
            },
            nlas: vec![XfrmAttrs::Template(vec![template])],
        };
        self.0.change("set a policy", XfrmMessage::UpdatePolicy(message), 0)
    }

    pub fn remove_policy(&mut self, policy: &Policy) -> Result<(), Refusal> {
        let message = policy::DelGetMessage {
            user_policy_id: UserPolicyId {
                selector: selector(policy),
                direction: way_number(policy.way),
                ..UserPolicyId::default()
            },
            ..policy::DelGetMessage::default()
        };
        gone(self.0.change("remove a policy", XfrmMessage::DeletePolicy(message), 0), libc::ENOENT)
    }

    /// Ours.
    pub fn policies(&mut self) -> Result<BTreeSet<Policy>, Refusal> {
        let request = XfrmMessage::GetPolicy(policy::DelGetMessage::default());
        let found = self.0.dump("list policies", request)?;
        Ok(found.iter().filter_map(policy_of).collect())
    }
}

/// What was to be removed is gone already.
fn gone(result: Result<(), Refusal>, errno: i32) -> Result<(), Refusal> {
    match result {
        Err(error) if error.is(errno) => Ok(()),
        result => result,
    }
}

/// Algorithms with their keys, inbound and outbound.
pub(super) fn algorithms(wanted: &Wanted, keys: &Keys) -> Option<[Vec<XfrmAttrs>; 2]> {
    let tunnel = &wanted.tunnel;
    let of = |key: &[u8]| match tunnel.protocol {
        Protocol::Esp => algorithms::attributes(tunnel.suite(), key),
        Protocol::Ah => Some(vec![algorithms::authentication(tunnel.integrity(), key)]),
    };
    Some([of(&keys.inbound)?, of(&keys.outbound)?])
}

/// The flag for it, where there must be one.
pub(super) fn alignment(protocol: Protocol, outer: IpAddr) -> u8 {
    if protocol == Protocol::Ah && outer.is_ipv4() { STATE_ALIGN4 } else { 0 }
}

/// Of algorithms, keys and alignment: what the kernel tells of an association is compared by it, and no key is kept.
pub(super) fn digest(algorithms: &[XfrmAttrs], alignment: u8) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&[alignment]);
    let mut add = |kind: u8, name: &[u8], cut: u32, key: &[u8]| {
        context.update(&[kind]);
        context.update(name);
        context.update(&cut.to_be_bytes());
        context.update(&(key.len() as u64).to_be_bytes());
        context.update(key);
    };
    for attribute in algorithms {
        match attribute {
            XfrmAttrs::EncryptionAlg(alg) => add(1, &alg.alg_name, 0, &alg.alg_key),
            XfrmAttrs::AuthenticationAlgTrunc(alg) => {
                add(2, &alg.alg_name, alg.alg_trunc_len, &alg.alg_key);
            }
            _ => {}
        }
    }
    let mut octets = [0; 32];
    octets.copy_from_slice(context.finish().as_ref());
    octets
}

fn state_of(message: &XfrmMessage) -> Option<(StateId, (State, Traffic))> {
    let XfrmMessage::AddSa(state) = message else { return None };
    let info = &state.user_sa_info;
    let direction = Direction::of_reqid(info.reqid)?;
    // One that only waits for keys.
    if info.id.spi == 0 {
        return None;
    }
    let id = StateId {
        direction,
        destination: ip(&info.id.daddr, info.family),
        protocol: protocol(info.id.proto)?,
        spi: info.id.spi,
    };
    let mut found: Vec<XfrmAttrs> = state.nlas.clone();
    // In the order in which we say them, whatever the kernel's is.
    found.sort_by_key(|attribute| matches!(attribute, XfrmAttrs::AuthenticationAlgTrunc(_)));
    let state = State {
        source: ip(&info.saddr, info.family),
        tunnel: info.mode == MODE_TUNNEL,
        digest: digest(&found, info.flags & STATE_ALIGN4),
    };
    let carried = Traffic { packets: info.lifetime_cur.packets, bytes: info.lifetime_cur.bytes };
    Some((id, (state, carried)))
}

fn policy_of(message: &XfrmMessage) -> Option<Policy> {
    let XfrmMessage::AddPolicy(policy) = message else { return None };
    let template = policy.nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::Template(templates) => templates.first(),
        _ => None,
    })?;
    Direction::of_reqid(template.reqid)?;
    let info = &policy.user_policy_info;
    let selector = &info.selector;
    let prefix = |address: &Address, bits| IpNet::new(ip(address, selector.family), bits).ok();
    let way = match info.direction {
        0 => Way::In,
        1 => Way::Out,
        _ => Way::Forward,
    };
    Some(Policy {
        way,
        source: prefix(&selector.saddr, selector.prefixlen_s)?,
        destination: prefix(&selector.daddr, selector.prefixlen_d)?,
        inner_protocol: selector.proto,
        from: ip(&template.saddr, template.family),
        to: ip(&template.id.daddr, template.family),
        protocol: protocol(template.id.proto)?,
        tunnel: template.mode == MODE_TUNNEL,
        spi: template.id.spi,
    })
}

fn selector(policy: &Policy) -> Selector {
    let mut selector = Selector::default();
    selector.source_prefix(&policy.source.network(), policy.source.prefix_len());
    selector.destination_prefix(&policy.destination.network(), policy.destination.prefix_len());
    selector.proto = policy.inner_protocol;
    selector
}

fn direction(way: Way) -> Direction {
    if way == Way::Out { Direction::Out } else { Direction::In }
}

fn way_number(way: Way) -> u8 {
    match way {
        Way::In => 0,
        Way::Out => 1,
        Way::Forward => 2,
    }
}

fn protocol(number: u8) -> Option<Protocol> {
    [Protocol::Esp, Protocol::Ah].into_iter().find(|protocol| protocol.number() == number)
}
