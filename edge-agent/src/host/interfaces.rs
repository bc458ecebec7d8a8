//! Interfaces of tunnels with gateways: xfrm and GRE.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use hawser_edge_core::ike::{InterfaceKind, is_interface_name};
use rtnetlink::packet_route::address::AddressScope;
use rtnetlink::packet_route::link::{
    InfoData, InfoGre, InfoGre6, InfoXfrm, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::{Handle, LinkGre, LinkGre6, LinkMessageBuilder, LinkXfrm};

use super::HostError;

/// Room for ESP in UDP with any suite, over an uplink of 1500.
const MTU: u32 = 1400;
/// Of GRE's outer header.
const TTL: u8 = 64;
/// The IPv4 dummy address (RFC 7600 section 4.8): it is nobody's. A device that has none takes packets from nowhere but where
/// its own best route goes, whatever `rp_filter` is.
const DUMMY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// Ours, as far as they are of such a kind.
pub(super) async fn list(handle: &Handle) -> Result<BTreeMap<String, InterfaceKind>, HostError> {
    let mut found = BTreeMap::new();
    let mut dump = handle.link().get().execute();
    while let Some(message) = dump.try_next().await.map_err(HostError::netlink("list links"))? {
        let Some(name) = name_of(&message).filter(|name| is_interface_name(name)) else { continue };
        if let Some(kind) = kind_of(&message) {
            found.insert(name, kind);
        }
    }
    Ok(found)
}

/// It is up, once it is there.
pub(super) async fn add(handle: &Handle, name: &str, kind: InterfaceKind) -> Result<(), HostError> {
    let message = match kind {
        InterfaceKind::Xfrm { if_id } => {
            LinkMessageBuilder::<LinkXfrm>::new(name).if_id(if_id).mtu(MTU).up().build()
        }
        InterfaceKind::Gre { local: IpAddr::V4(local), remote: IpAddr::V4(remote) } => {
            LinkGre::new(name).local(local).remote(remote).ttl(TTL).mtu(MTU).up().build()
        }
        InterfaceKind::Gre { local: IpAddr::V6(local), remote: IpAddr::V6(remote) } => {
            LinkGre6::new(name).local(local).remote(remote).ttl(TTL).mtu(MTU).up().build()
        }
        // Of two families: the plan makes none.
        InterfaceKind::Gre { .. } => return Ok(()),
    };
    let made = handle.link().add(message).execute().await;
    made.map_err(HostError::netlink("add an interface"))?;
    let Some(index) = index_of(handle, name).await? else { return Ok(()) };
    let mut request = handle.address().add(index, DUMMY_ADDRESS, 32).replace();
    // Never a source for what this host sends.
    request.message_mut().header.scope = AddressScope::Host;
    request.execute().await.map_err(HostError::netlink("add an address"))
}

/// One that is gone already is no failure.
pub(super) async fn remove(handle: &Handle, name: &str) -> Result<(), HostError> {
    match index_of(handle, name).await? {
        Some(index) => {
            let removed = handle.link().del(index).execute().await;
            removed.map_err(HostError::netlink("remove an interface"))
        }
        None => Ok(()),
    }
}

async fn index_of(handle: &Handle, name: &str) -> Result<Option<u32>, HostError> {
    let mut dump = handle.link().get().execute();
    while let Some(message) = dump.try_next().await.map_err(HostError::netlink("list links"))? {
        if name_of(&message).as_deref() == Some(name) {
            return Ok(Some(message.header.index));
        }
    }
    Ok(None)
}

fn name_of(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn kind_of(message: &LinkMessage) -> Option<InterfaceKind> {
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::Xfrm(items)) => items.iter().find_map(|item| match item {
            InfoXfrm::IfId(if_id) => Some(InterfaceKind::Xfrm { if_id: *if_id }),
            _ => None,
        }),
        LinkInfo::Data(InfoData::GreTun(items)) => {
            let local = items.iter().find_map(|item| match item {
                InfoGre::Local(address) => Some((*address).into()),
                _ => None,
            });
            let remote = items.iter().find_map(|item| match item {
                InfoGre::Remote(address) => Some((*address).into()),
                _ => None,
            });
            Some(InterfaceKind::Gre { local: local?, remote: remote? })
        }
        LinkInfo::Data(InfoData::GreTun6(items)) => {
            let local = items.iter().find_map(|item| match item {
                InfoGre6::Local(address) => Some((*address).into()),
                _ => None,
            });
            let remote = items.iter().find_map(|item| match item {
                InfoGre6::Remote(address) => Some((*address).into()),
                _ => None,
            });
            Some(InterfaceKind::Gre { local: local?, remote: remote? })
        }
        _ => None,
    })
}
