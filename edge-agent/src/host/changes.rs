//! Links, addresses and routes that change are heard, not polled.

use futures::StreamExt;
use rtnetlink::MulticastGroup;
use tokio::sync::watch;

use super::HostError;

/// Wakes when the kernel's links, addresses, routes or rules changed since the last time.
pub struct Changes {
    seen: watch::Receiver<u64>,
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
        tokio::spawn(async move {
            // One number instead of a queue: any number of changes is one reason to look again.
            while messages.next().await.is_some() {
                if count.is_closed() {
                    break;
                }
                count.send_modify(|n| *n += 1);
            }
        });
        Ok(Changes { seen })
    }

    /// Returns when something changed; never, once the kernel closed the subscription.
    pub async fn wait(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
