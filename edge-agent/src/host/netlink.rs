//! Links, addresses, routes and rules: from netlink's messages to the core's types, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::TryStreamExt;
use hawser_edge_core::kernel::MARK_MASK;
use hawser_edge_core::reconcile::{KernelRoute, Link, ROUTE_PROTOCOL, RouteKind, Rule};
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use super::HostError;

type Links = BTreeMap<String, Link>;

/// Administratively up, and with carrier. `IFF_RUNNING` says nearly the same, but may follow the carrier by a second.
pub(super) fn has_carrier(flags: LinkFlags) -> bool {
    flags.contains(LinkFlags::Up | LinkFlags::LowerUp)
}

pub(super) async fn links(handle: &Handle) -> Result<Links, HostError> {
    let mut names = BTreeMap::new();
    let mut links = Links::new();
    let mut dump = handle.link().get().execute();
    while let Some(message) = dump.try_next().await.map_err(HostError::netlink("list links"))? {
        let mut link = Link { index: message.header.index, ..Link::default() };
        link.running = has_carrier(message.header.flags);
        let mut name = None;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text),
                LinkAttribute::Mtu(mtu) => link.mtu_bytes = mtu,
                _ => {}
            }
        }
        if let Some(name) = name {
            names.insert(link.index, name.clone());
            links.insert(name, link);
        }
    }
    let mut dump = handle.address().get().execute();
    while let Some(message) = dump.try_next().await.map_err(HostError::netlink("list addresses"))? {
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            // On a point-to-point link `Address` is the peer's.
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = address.or_else(|| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        });
        let link = names.get(&message.header.index).and_then(|name| links.get_mut(name));
        if let (Some(address), Some(link)) = (address, link) {
            link.addresses.extend(IpNet::new(address, message.header.prefix_len).ok());
        }
    }
    for link in links.values_mut() {
        link.addresses.sort();
    }
    Ok(links)
}

/// Our routes, and the main table's default routes, best first.
pub(super) async fn routes(
    handle: &Handle,
    links: &Links,
) -> Result<(BTreeSet<KernelRoute>, Vec<(String, IpAddr)>), HostError> {
    let mut ours = BTreeSet::new();
    let mut defaults = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let mut dump = handle.route().get(request).execute();
        while let Some(message) =
            dump.try_next().await.map_err(HostError::netlink("list routes"))?
        {
            let Some(route) = route_from(&message, links) else { continue };
            if message.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL) {
                ours.insert(route);
            } else if route.table == u32::from(RouteHeader::RT_TABLE_MAIN)
                && route.prefix.prefix_len() == 0
                && let RouteKind::Device { interface, gateway: Some(gateway) } = route.kind
            {
                defaults.insert((route.metric, interface, gateway));
            }
        }
    }
    Ok((ours, defaults.into_iter().map(|(_, interface, gateway)| (interface, gateway)).collect()))
}

fn route_from(message: &RouteMessage, links: &Links) -> Option<KernelRoute> {
    let ipv6 = message.header.address_family == AddressFamily::Inet6;
    let unspecified: IpAddr = if ipv6 {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    };
    let (mut destination, mut gateway, mut index, mut metric) = (unspecified, None, None, 0);
    let mut table = u32::from(message.header.table);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = address_from(address)?,
            RouteAttribute::Gateway(address) => gateway = address_from(address),
            RouteAttribute::Oif(value) => index = Some(*value),
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::Table(value) => table = *value,
            _ => {}
        }
    }
    let kind = match message.header.kind {
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Throw => RouteKind::Throw,
        RouteType::Unicast => {
            let (name, _) = links.iter().find(|(_, link)| Some(link.index) == index)?;
            RouteKind::Device { interface: name.clone(), gateway }
        }
        _ => return None,
    };
    let prefix = IpNet::new(destination, message.header.destination_prefix_length).ok()?;
    Some(KernelRoute { table, prefix, metric, kind })
}

fn address_from(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn route_to(route: &KernelRoute, links: &Links) -> Result<RouteMessage, HostError> {
    let (kind, device) = match &route.kind {
        RouteKind::Unreachable => (RouteType::Unreachable, None),
        RouteKind::Throw => (RouteType::Throw, None),
        RouteKind::Device { interface, gateway } => {
            let link =
                links.get(interface).ok_or_else(|| HostError::NoInterface(interface.clone()))?;
            (RouteType::Unicast, Some((link.index, *gateway)))
        }
    };
    let scope = match device {
        Some((_, None)) if route.prefix.addr().is_ipv4() => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(route.prefix.addr(), route.prefix.prefix_len())
        .map_err(|_| HostError::NoInterface(route.prefix.to_string()))?
        .table_id(route.table)
        .protocol(RouteProtocol::from(ROUTE_PROTOCOL))
        .scope(scope)
        .kind(kind)
        .priority(route.metric);
    if let Some((index, gateway)) = device {
        builder = builder.output_interface(index);
        if let Some(gateway) = gateway {
            // The gateway of a lease may lie outside the uplink's prefix.
            builder = builder.onlink();
            builder = builder
                .gateway(gateway)
                .map_err(|_| HostError::NoInterface(gateway.to_string()))?;
        }
    }
    Ok(builder.build())
}

pub(super) async fn add_route(
    handle: &Handle,
    route: &KernelRoute,
    links: &Links,
) -> Result<(), HostError> {
    let message = route_to(route, links)?;
    handle.route().add(message).execute().await.map_err(HostError::netlink("add a route"))
}

pub(super) async fn remove_route(
    handle: &Handle,
    route: &KernelRoute,
    links: &Links,
) -> Result<(), HostError> {
    let message = route_to(route, links)?;
    handle.route().del(message).execute().await.map_err(HostError::netlink("remove a route"))
}

/// Rules of our preferences that lead to our tables.
pub(super) async fn rules(handle: &Handle) -> Result<BTreeSet<Rule>, HostError> {
    let mut rules = BTreeSet::new();
    for (version, ipv6) in [(IpVersion::V4, false), (IpVersion::V6, true)] {
        let mut dump = handle.rule().get(version).execute();
        while let Some(message) = dump.try_next().await.map_err(HostError::netlink("list rules"))? {
            let rule = rule_from(&message, ipv6);
            if rule.is_ours() {
                rules.insert(rule);
            }
        }
    }
    Ok(rules)
}

fn rule_from(message: &RuleMessage, ipv6: bool) -> Rule {
    let mut rule = Rule {
        ipv6,
        priority: 0,
        table: u32::from(message.header.table),
        mark: None,
        source: None,
        destination: None,
        input_interface: None,
        output_interface: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(value) => rule.priority = *value,
            RuleAttribute::Table(value) => rule.table = *value,
            RuleAttribute::Destination(address) => {
                rule.destination = IpNet::new(*address, message.header.dst_len).ok();
            }
            RuleAttribute::Source(address) => {
                rule.source = IpNet::new(*address, message.header.src_len).ok();
            }
            RuleAttribute::FwMark(mark) => rule.mark = Some(*mark),
            RuleAttribute::Iifname(name) => rule.input_interface = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.output_interface = Some(name.clone()),
            _ => {}
        }
    }
    rule
}

pub(super) async fn add_rule(handle: &Handle, rule: &Rule) -> Result<(), HostError> {
    let mut request = handle.rule().add();
    *request.message_mut() = rule_to(rule);
    request.execute().await.map_err(HostError::netlink("add a rule"))
}

pub(super) async fn remove_rule(handle: &Handle, rule: &Rule) -> Result<(), HostError> {
    let request = handle.rule().del(rule_to(rule));
    request.execute().await.map_err(HostError::netlink("remove a rule"))
}

fn rule_to(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::ToTable;
    // Above 255 the table's number only fits the attribute.
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message.attributes.push(RuleAttribute::Table(rule.table));
    message.attributes.push(RuleAttribute::Priority(rule.priority));
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL)));
    if let Some(prefix) = rule.source {
        message.header.src_len = prefix.prefix_len();
        message.attributes.push(RuleAttribute::Source(prefix.addr()));
    }
    if let Some(prefix) = rule.destination {
        message.header.dst_len = prefix.prefix_len();
        message.attributes.push(RuleAttribute::Destination(prefix.addr()));
    }
    if let Some(mark) = rule.mark {
        message.attributes.push(RuleAttribute::FwMark(mark));
        message.attributes.push(RuleAttribute::FwMask(MARK_MASK));
    }
    if let Some(name) = &rule.input_interface {
        message.attributes.push(RuleAttribute::Iifname(name.clone()));
    }
    if let Some(name) = &rule.output_interface {
        message.attributes.push(RuleAttribute::Oifname(name.clone()));
    }
    message
}
