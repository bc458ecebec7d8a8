//! Interfaces, next hops, routes and rules: from our words to rtnetlink's, and back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hawser_edge_core::kernel::{
    CLASS_TABLE_BASE, GreLink, MARK_MASK, MARK_PREFERENCE, NEXT_HOP_BASE, NEXT_HOPS, NextHop,
    ROUTE_PROTOCOL, Route, RouteKind, Rule, UNMARKED_PREFERENCE, key_of_link, link_name,
};
use ipnet::IpNet;
use rtnetlink::packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{
    GreIOFlags, InfoData, InfoGre, InfoGre6, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::netlink::{Channel, Refusal};
use super::next_hop::{NextHopMessage, Verb};

/// Of GRE's outer header.
const TTL: u8 = 64;
/// The inner packet's DSCP goes outside, and its ECN as RFC 6040 has it.
const TOS_INHERIT: u8 = 1;
/// `IFLA_GRE_FLAGS` of `linux/if_tunnel.h`.
const IFLA_GRE_FLAGS: u16 = 13;
/// `IP6_TNL_F_IGN_ENCAP_LIMIT | IP6_TNL_F_USE_ORIG_TCLASS` of `linux/ip6_tunnel.h`: no destination options header, which
/// the wire format does not have.
const GRE6_FLAGS: u32 = 0x1 | 0x2;
const MAX_SEGMENTS: u32 = 256;
/// The IPv4 dummy address (RFC 7600 section 4.8): it is nobody's.
const DUMMY_ADDRESS: [u8; 4] = [192, 0, 0, 8];

/// rtnetlink of one network namespace.
#[derive(Debug)]
pub struct Rtnetlink {
    channel: Channel,
    next_hops: Channel,
}

/// All interfaces, and those of ours.
#[derive(Debug, Default)]
pub struct Links {
    /// Index by name.
    pub indexes: BTreeMap<String, u32>,
    pub ours: BTreeMap<u32, GreLink>,
}

impl Links {
    fn index(&self, name: &str) -> Result<u32, Refusal> {
        let gone = || Refusal {
            what: "find an interface",
            source: std::io::Error::from_raw_os_error(libc::ENODEV),
        };
        self.indexes.get(name).copied().ok_or_else(gone)
    }
}

impl Rtnetlink {
    /// # Errors
    /// The kernel refuses a socket.
    pub fn open() -> std::io::Result<Rtnetlink> {
        Ok(Rtnetlink {
            channel: Channel::open(NETLINK_ROUTE)?,
            next_hops: Channel::open(NETLINK_ROUTE)?,
        })
    }

    /// # Errors
    /// What the kernel said.
    pub fn links(&mut self) -> Result<Links, Refusal> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut links = Links::default();
        let mut gre = Vec::new();
        for message in self.channel.dump("list interfaces", request)? {
            let RouteNetlinkMessage::NewLink(link) = message else { continue };
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            let Some(name) = name else { continue };
            links.indexes.insert(name.clone(), link.header.index);
            gre.extend(key_of_link(&name).map(|key| (key, link)));
        }
        let name_of =
            |index| links.indexes.iter().find(|(_, i)| **i == index).map(|(name, _)| name.clone());
        links.ours = gre
            .iter()
            .filter_map(|(key, link)| Some((*key, gre_link(*key, link, name_of)?)))
            .collect();
        Ok(links)
    }

    /// Makes it; it is down.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn add_link(&mut self, link: &GreLink, links: &Links) -> Result<(), Refusal> {
        let message = link_message(link, links.index(&link.underlay)?, true);
        let message = RouteNetlinkMessage::NewLink(message);
        self.channel.change("add an interface", message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Interfaces that are GRE and whose names are chosen by `ours`; a key of 0 is none.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn gre_named(
        &mut self,
        ours: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, GreLink>, Refusal> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut named = Vec::new();
        for message in self.channel.dump("list interfaces", request)? {
            let RouteNetlinkMessage::NewLink(link) = message else { continue };
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            named.extend(name.map(|name| (name, link)));
        }
        let name_of = |index| {
            named.iter().find(|(_, link)| link.header.index == index).map(|(name, _)| name.clone())
        };
        let ours = named.iter().filter(|(name, _)| ours(name));
        Ok(ours
            .filter_map(|(name, link)| Some((name.clone(), gre_link(0, link, name_of)?)))
            .collect())
    }

    /// Makes one under a name of its own; it is down. A key of 0 is none.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn add_gre(&mut self, name: &str, link: &GreLink, links: &Links) -> Result<(), Refusal> {
        let mut message = link_message(link, links.index(&link.underlay)?, false);
        (message.header.flags, message.header.change_mask) =
            (LinkFlags::empty(), LinkFlags::empty());
        message.attributes.insert(0, LinkAttribute::IfName(name.to_owned()));
        let message = RouteNetlinkMessage::NewLink(message);
        self.channel.change("add an interface", message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// # Errors
    /// What the kernel said.
    pub fn remove_named(&mut self, name: &str, links: &Links) -> Result<(), Refusal> {
        let Ok(index) = links.index(name) else { return Ok(()) };
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.channel.change("remove an interface", RouteNetlinkMessage::DelLink(message), 0)
    }

    /// Brings one up that was made by its name and index.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn raise_link(&mut self, index: u32) -> Result<(), Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        (message.header.flags, message.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
        self.channel.change("bring an interface up", RouteNetlinkMessage::NewLink(message), 0)
    }

    /// An address for the kernel's own use: a device that has none takes packets from nowhere but where its own best route
    /// goes, whatever `rp_filter` is (`__fib_validate_source` of Linux), and a peer may send by another path than we do.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn add_address(&mut self, index: u32) -> Result<(), Refusal> {
        let mut message = AddressMessage::default();
        let header = &mut message.header;
        (header.family, header.index) = (AddressFamily::Inet, index);
        // Never a source for what this host sends.
        (header.prefix_len, header.scope) = (32, AddressScope::Host);
        let address = IpAddr::from(DUMMY_ADDRESS);
        message.attributes.push(AddressAttribute::Local(address));
        message.attributes.push(AddressAttribute::Address(address));
        let message = RouteNetlinkMessage::NewAddress(message);
        self.channel.change("add an address", message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Changes its ends and MTU in place.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn change_link(&mut self, link: &GreLink, links: &Links) -> Result<(), Refusal> {
        let mut message = link_message(link, links.index(&link.underlay)?, false);
        message.header.index = links.index(&link_name(link.key))?;
        self.channel.change("change an interface", RouteNetlinkMessage::NewLink(message), 0)
    }

    /// # Errors
    /// What the kernel said.
    pub fn remove_link(&mut self, key: u32, links: &Links) -> Result<(), Refusal> {
        let Ok(index) = links.index(&link_name(key)) else { return Ok(()) };
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.channel.change("remove an interface", RouteNetlinkMessage::DelLink(message), 0)
    }

    /// Ours, by ID. A device that is not one of ours is told as a blackhole of no family: it will be replaced.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn next_hops(&mut self, links: &Links) -> Result<BTreeMap<u32, NextHop>, Refusal> {
        let keys: BTreeMap<u32, u32> = links
            .indexes
            .iter()
            .filter_map(|(name, index)| Some((*index, key_of_link(name)?)))
            .collect();
        let found = self.next_hops.dump("list next hops", NextHopMessage::new(Verb::Get))?;
        let ours = NEXT_HOP_BASE..NEXT_HOP_BASE + NEXT_HOPS;
        Ok(found
            .into_iter()
            .filter(|message| message.protocol == ROUTE_PROTOCOL)
            .filter_map(|message| {
                let id = message.id.filter(|id| ours.contains(id))?;
                let ipv6 = message.family == libc::AF_INET6 as u8;
                let hop = if message.blackhole {
                    NextHop::Blackhole { ipv6 }
                } else if let Some(index) = message.output_interface {
                    let link = keys.get(&index).copied();
                    link.map_or(NextHop::Blackhole { ipv6 }, |link| NextHop::Device { ipv6, link })
                } else {
                    NextHop::Group(message.group)
                };
                Some((id, hop))
            })
            .collect())
    }

    /// # Errors
    /// What the kernel said.
    pub fn set_next_hop(&mut self, id: u32, hop: &NextHop, links: &Links) -> Result<(), Refusal> {
        let mut message = NextHopMessage::new(Verb::New);
        (message.id, message.protocol) = (Some(id), ROUTE_PROTOCOL);
        let family = |ipv6| if ipv6 { libc::AF_INET6 as u8 } else { libc::AF_INET as u8 };
        match hop {
            NextHop::Device { ipv6, link } => {
                message.family = family(*ipv6);
                message.output_interface = Some(links.index(&link_name(*link))?);
            }
            NextHop::Blackhole { ipv6 } => {
                (message.family, message.blackhole) = (family(*ipv6), true);
            }
            NextHop::Group(members) => message.group = members.clone(),
        }
        self.next_hops.change("set a next hop", message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// # Errors
    /// What the kernel said.
    pub fn remove_next_hop(&mut self, id: u32) -> Result<(), Refusal> {
        let mut message = NextHopMessage::new(Verb::Delete);
        message.id = Some(id);
        absent(self.next_hops.change("remove a next hop", message, 0), libc::ENOENT)
    }

    /// Ours.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn routes(&mut self) -> Result<Vec<Route>, Refusal> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let request = RouteNetlinkMessage::GetRoute(request);
            for message in self.channel.dump("list routes", request)? {
                if let RouteNetlinkMessage::NewRoute(message) = message {
                    routes.extend(route_of(&message));
                }
            }
        }
        Ok(routes)
    }

    /// # Errors
    /// What the kernel said.
    pub fn set_route(&mut self, route: &Route) -> Result<(), Refusal> {
        let message = RouteNetlinkMessage::NewRoute(route_message(route));
        self.channel.change("set a route", message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// # Errors
    /// What the kernel said.
    pub fn remove_route(&mut self, route: &Route) -> Result<(), Refusal> {
        let message = RouteNetlinkMessage::DelRoute(route_message(route));
        absent(self.channel.change("remove a route", message, 0), libc::ESRCH)
    }

    /// Ours.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn rules(&mut self) -> Result<Vec<Rule>, Refusal> {
        let mut rules = Vec::new();
        for (family, ipv6) in [(AddressFamily::Inet, false), (AddressFamily::Inet6, true)] {
            let mut request = RuleMessage::default();
            request.header.family = family;
            let request = RouteNetlinkMessage::GetRule(request);
            for message in self.channel.dump("list rules", request)? {
                if let RouteNetlinkMessage::NewRule(message) = message {
                    rules.extend(rule_of(&message, ipv6));
                }
            }
        }
        Ok(rules)
    }

    /// # Errors
    /// What the kernel said.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Refusal> {
        let message = RouteNetlinkMessage::NewRule(rule_message(rule));
        let result = self.channel.change("add a rule", message, NLM_F_CREATE | NLM_F_EXCL);
        absent(result, libc::EEXIST)
    }

    /// # Errors
    /// What the kernel said.
    pub fn remove_rule(&mut self, rule: &Rule) -> Result<(), Refusal> {
        let message = RouteNetlinkMessage::DelRule(rule_message(rule));
        absent(self.channel.change("remove a rule", message, 0), libc::ENOENT)
    }
}

/// What was to be done is done already.
fn absent(result: Result<(), Refusal>, errno: i32) -> Result<(), Refusal> {
    match result {
        Err(error) if error.is(errno) => Ok(()),
        result => result,
    }
}

fn gre_link(
    key: u32,
    message: &LinkMessage,
    name_of: impl Fn(u32) -> Option<String>,
) -> Option<GreLink> {
    let mut found = GreLink {
        key: 0,
        local: IpAddr::from([0; 4]),
        remote: IpAddr::from([0; 4]),
        underlay: String::new(),
        mtu_bytes: 0,
        up: message.header.flags.contains(LinkFlags::Up),
    };
    let mut is_gre = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => found.mtu_bytes = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Data(InfoData::GreTun(data)) => {
                            is_gre = true;
                            data.iter().for_each(|item| take4(&mut found, item, &name_of));
                        }
                        LinkInfo::Data(InfoData::GreTun6(data)) => {
                            is_gre = true;
                            data.iter().for_each(|item| take6(&mut found, item, &name_of));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // One of our name whose key is another is changed back by its key; one that is no GRE at all is somebody else's.
    is_gre.then_some(GreLink { key, ..found })
}

fn take4(found: &mut GreLink, item: &InfoGre, name_of: impl Fn(u32) -> Option<String>) {
    match item {
        InfoGre::Link(index) => found.underlay = name_of(*index).unwrap_or_default(),
        InfoGre::IKey(key) => found.key = *key,
        InfoGre::Local(address) => found.local = (*address).into(),
        InfoGre::Remote(address) => found.remote = (*address).into(),
        _ => {}
    }
}

fn take6(found: &mut GreLink, item: &InfoGre6, name_of: impl Fn(u32) -> Option<String>) {
    match item {
        InfoGre6::Link(index) => found.underlay = name_of(*index).unwrap_or_default(),
        InfoGre6::IKey(key) => found.key = *key,
        InfoGre6::Local(address) => found.local = (*address).into(),
        InfoGre6::Remote(address) => found.remote = (*address).into(),
        _ => {}
    }
}

fn link_message(link: &GreLink, underlay: u32, new: bool) -> LinkMessage {
    let mut message = LinkMessage::default();
    if !new {
        (message.header.flags, message.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
    }
    let with_key = if link.key == 0 { GreIOFlags::empty() } else { GreIOFlags::Key };
    let (kind, data) = match (link.local, link.remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            let data = vec![
                InfoGre::Link(underlay),
                InfoGre::IFlags(with_key),
                InfoGre::OFlags(with_key),
                InfoGre::IKey(link.key),
                InfoGre::OKey(link.key),
                InfoGre::Local(local),
                InfoGre::Remote(remote),
                InfoGre::Ttl(TTL),
                InfoGre::Tos(TOS_INHERIT),
                InfoGre::PathMTUDiscovery(true),
            ];
            (InfoKind::GreTun, InfoData::GreTun(data))
        }
        (local, remote) => {
            let data = vec![
                InfoGre6::Link(underlay),
                InfoGre6::IFlags(with_key),
                InfoGre6::OFlags(with_key),
                InfoGre6::IKey(link.key),
                InfoGre6::OKey(link.key),
                InfoGre6::Local(v6(local)),
                InfoGre6::Remote(v6(remote)),
                InfoGre6::Ttl(TTL),
                InfoGre6::Other(DefaultNla::new(IFLA_GRE_FLAGS, GRE6_FLAGS.to_ne_bytes().into())),
            ];
            (InfoKind::GreTun6, InfoData::GreTun6(data))
        }
    };
    if new {
        message.attributes.push(LinkAttribute::IfName(link_name(link.key)));
    }
    message.attributes.push(LinkAttribute::Mtu(link.mtu_bytes));
    message
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
    message
}

fn v6(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn our_table(table: u32) -> bool {
    (CLASS_TABLE_BASE..CLASS_TABLE_BASE + MAX_SEGMENTS * 256).contains(&table)
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let destination = match route.prefix.addr() {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    let ipv6 = route.prefix.addr().is_ipv6();
    let header = &mut message.header;
    header.address_family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    header.destination_prefix_length = route.prefix.prefix_len();
    header.table = RouteHeader::RT_TABLE_UNSPEC;
    header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    header.scope = RouteScope::Universe;
    header.kind = match route.kind {
        RouteKind::Throw => RouteType::Throw,
        RouteKind::NextHop(_) => RouteType::Unicast,
    };
    message.attributes.push(RouteAttribute::Table(route.table));
    message.attributes.push(RouteAttribute::Destination(destination));
    if let RouteKind::NextHop(id) = route.kind {
        message.attributes.push(RouteAttribute::NhId(id));
    }
    message
}

fn route_of(message: &RouteMessage) -> Option<Route> {
    if message.header.protocol != RouteProtocol::from(ROUTE_PROTOCOL) {
        return None;
    }
    let (mut table, mut address, mut id) = (u32::from(message.header.table), None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(value) => table = *value,
            RouteAttribute::Destination(RouteAddress::Inet(value)) => {
                address = Some((*value).into())
            }
            RouteAttribute::Destination(RouteAddress::Inet6(value)) => {
                address = Some((*value).into());
            }
            RouteAttribute::NhId(value) => id = Some(*value),
            _ => {}
        }
    }
    let any = if message.header.address_family == AddressFamily::Inet6 {
        IpAddr::from([0; 16])
    } else {
        IpAddr::from([0; 4])
    };
    let kind = match message.header.kind {
        RouteType::Throw => RouteKind::Throw,
        // One that lost its next hop is replaced: 0 is nobody's ID.
        _ => RouteKind::NextHop(id.unwrap_or(0)),
    };
    let length = message.header.destination_prefix_length;
    let prefix = IpNet::new(address.unwrap_or(any), length).ok()?;
    our_table(table).then_some(Route { table, prefix, kind })
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::ToTable;
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message.attributes.push(RuleAttribute::Table(rule.table));
    message.attributes.push(RuleAttribute::Priority(rule.preference));
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL)));
    if let Some(mark) = rule.mark {
        message.attributes.push(RuleAttribute::FwMark(mark));
        message.attributes.push(RuleAttribute::FwMask(MARK_MASK));
    }
    message
}

fn rule_of(message: &RuleMessage, ipv6: bool) -> Option<Rule> {
    let table = u32::from(message.header.table);
    let mut rule = Rule { ipv6, preference: 0, mark: None, table };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Table(value) => rule.table = *value,
            RuleAttribute::Priority(value) => rule.preference = *value,
            RuleAttribute::FwMark(value) => rule.mark = Some(*value),
            _ => {}
        }
    }
    let ours = [MARK_PREFERENCE, UNMARKED_PREFERENCE].contains(&rule.preference);
    (ours && our_table(rule.table)).then_some(rule)
}
