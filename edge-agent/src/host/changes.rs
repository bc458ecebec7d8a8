//! Links, addresses and routes that change are heard, not polled.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use futures::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use tokio::sync::watch;

use super::link_watch::{self, Interfaces};
use super::{HostError, netlink};

/// Interfaces whose messages are remembered. Beyond it all are forgotten: the next look at the kernel tells.
const MAX_CARRIERS: usize = 4_096;

/// By interface, whether it is up and has carrier, as the kernel last said of its own accord. Of one that is not in here
/// the last look at the kernel holds.
pub type Carriers = BTreeMap<String, bool>;

/// Wakes when the kernel's links, addresses, routes or rules changed since the last time.
pub struct Changes {
    seen: watch::Receiver<u64>,
    carriers: watch::Receiver<Carriers>,
    watched: Arc<Interfaces>,
}

impl Changes {
    /// Subscribes.
    ///
    /// # Errors
    /// The kernel refuses a netlink socket.
    pub fn subscribe() -> Result<Changes, HostError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let (connection, _, mut messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(HostError::Open)?;
        tokio::spawn(connection);
        let (count, seen) = watch::channel(0);
        let (heard, carriers) = watch::channel(Carriers::new());
        let watched = Arc::<Interfaces>::default();
        link_watch::start(Arc::downgrade(&watched), heard.clone())?;
        tokio::spawn(async move {
            // One number instead of a queue: any number of changes is one reason to look again.
            while let Some((message, _)) = messages.next().await {
                if count.is_closed() {
                    break;
                }
                heard.send_if_modified(|carriers| hear(carriers, &message));
                count.send_modify(|n| *n += 1);
            }
        });
        Ok(Changes { seen, carriers, watched })
    }

    /// Returns when something changed; never, once the kernel closed the subscription.
    pub async fn wait(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Looks out for the carriers of these by itself, beside what the kernel tells.
    pub fn watch(&self, interfaces: Vec<String>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = interfaces;
    }

    /// The carriers, told at once and by the message itself: a look at the whole kernel takes too long for them.
    pub fn carriers(&self) -> watch::Receiver<Carriers> {
        self.carriers.clone()
    }
}

/// Takes a message in; true if something is different now.
fn hear(carriers: &mut Carriers, message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
    let (link, up) = match &message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
            (link, netlink::has_carrier(link.header.flags))
        }
        // An interface that leaves a bridge says so by the same message, of the bridge's family.
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
            if link.header.interface_family == AddressFamily::Unspec =>
        {
            (link, false)
        }
        NetlinkPayload::Overrun(_) => {
            // The kernel had more to say than fits its queue: what was heard may be old.
            carriers.clear();
            return true;
        }
        _ => return false,
    };
    let Some(name) = name_of(link) else { return false };
    if carriers.len() >= MAX_CARRIERS {
        carriers.clear();
    }
    carriers.insert(name.to_owned(), up) != Some(up)
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::NetlinkHeader;
    use rtnetlink::packet_route::link::LinkFlags;

    use super::*;

    fn link(name: &str, flags: LinkFlags, family: AddressFamily) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.flags = flags;
        link.header.interface_family = family;
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        link
    }

    fn message(
        payload: NetlinkPayload<RouteNetlinkMessage>,
    ) -> NetlinkMessage<RouteNetlinkMessage> {
        NetlinkMessage::new(NetlinkHeader::default(), payload)
    }

    fn new_link(name: &str, flags: LinkFlags) -> NetlinkMessage<RouteNetlinkMessage> {
        let link = link(name, flags, AddressFamily::Unspec);
        message(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)))
    }

    fn del_link(name: &str, family: AddressFamily) -> NetlinkMessage<RouteNetlinkMessage> {
        let link = link(name, LinkFlags::empty(), family);
        message(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)))
    }

    #[test]
    fn a_link_message_tells_by_its_flags_and_only_news_wake() {
        let mut carriers = Carriers::new();
        let full = LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running;
        for (flags, news, up) in [
            (full, true, true),
            (full, false, true),
            (LinkFlags::Up, true, false),
            (LinkFlags::Up | LinkFlags::LowerUp, true, true),
            (LinkFlags::LowerUp, true, false),
        ] {
            assert_eq!(hear(&mut carriers, &new_link("wan0", flags)), news, "{flags:?}");
            assert_eq!(carriers["wan0"], up, "{flags:?}");
        }
    }

    #[test]
    fn a_link_that_goes_is_down_and_one_that_leaves_a_bridge_is_not() {
        let mut carriers = Carriers::new();
        hear(&mut carriers, &new_link("wan0", LinkFlags::Up | LinkFlags::LowerUp));
        assert!(!hear(&mut carriers, &del_link("wan0", AddressFamily::Bridge)));
        assert!(carriers["wan0"]);
        assert!(hear(&mut carriers, &del_link("wan0", AddressFamily::Unspec)));
        assert!(!carriers["wan0"]);
    }

    #[test]
    fn what_the_kernel_could_not_say_is_not_known() {
        let mut carriers = Carriers::new();
        hear(&mut carriers, &new_link("wan0", LinkFlags::empty()));
        assert!(hear(&mut carriers, &message(NetlinkPayload::Overrun(Vec::new()))));
        assert!(carriers.is_empty());
        for number in 0..MAX_CARRIERS + 10 {
            hear(&mut carriers, &new_link(&format!("veth{number}"), LinkFlags::empty()));
        }
        assert!(carriers.len() <= MAX_CARRIERS);
    }
}
