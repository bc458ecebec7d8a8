//! The host's kernel: observed and changed by netlink, sysctl files and nftables.
//!
//! What must be there, and which steps lead to it, is decided in `hawser_edge_core::reconcile`.

mod changes;
mod error;
mod guard;
mod interfaces;
mod link_watch;
mod netlink;
mod sysctl;
#[cfg(test)]
pub(crate) mod tests;

use hawser_edge_core::config::{EdgeState, Fault};
use hawser_edge_core::ike::InterfaceKind;
use hawser_edge_core::reconcile::{self, Observed, Step};

pub use changes::{Carriers, Changes};
pub use error::HostError;

/// A kernel with XFRM has it.
const XFRM_SIGN: &str = "/proc/sys/net/core/xfrm_acq_expires";

/// Whether the host's kernel has IPsec, for whomever.
#[must_use]
pub fn kernel_has_ipsec() -> bool {
    std::path::Path::new(XFRM_SIGN).exists()
}

/// One step that was tried, and how it went.
#[derive(Debug)]
pub struct StepReport {
    pub step: Step,
    pub result: Result<(), HostError>,
}

/// Our hands on the kernel of the network namespace in which this was made.
pub struct Host {
    handle: rtnetlink::Handle,
    guard: guard::Guard,
}

impl Host {
    /// Opens netlink.
    ///
    /// # Errors
    /// The kernel refuses a netlink socket.
    pub fn open() -> Result<Host, HostError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(HostError::Open)?;
        tokio::spawn(connection);
        Ok(Host { handle, guard: guard::Guard::default() })
    }

    /// Whether nft is here and may be used.
    ///
    /// # Errors
    /// It is missing, or what it said.
    pub async fn nft_usable() -> Result<(), HostError> {
        guard::usable().await
    }

    /// Makes an interface of a tunnel with a gateway, to see whether this namespace's kernel can.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn try_interface(&self, kind: InterfaceKind) -> Result<(), HostError> {
        let name = match kind {
            InterfaceKind::Xfrm { .. } => "hwx00000001",
            InterfaceKind::Gre { .. } => "hwg00000001",
        };
        interfaces::add(&self.handle, name, kind).await
    }

    /// Whether this process may set the sysctl.
    #[must_use]
    pub fn may_set(sysctl: &str) -> bool {
        sysctl::is_writable(sysctl)
    }

    /// What the kernel holds now, as far as it matters to this edge.
    ///
    /// # Errors
    /// The kernel does not answer a dump.
    pub async fn observe(&mut self, edge: &EdgeState) -> Result<Observed, HostError> {
        let links = netlink::links(&self.handle).await?;
        let (routes, default_routes) = netlink::routes(&self.handle, &links).await?;
        Ok(Observed {
            default_routes,
            routes,
            interfaces: interfaces::list(&self.handle).await?,
            rules: netlink::rules(&self.handle).await?,
            sysctls: sysctl::read(&reconcile::sysctls_of_interest(edge)),
            guard: self.guard.loaded().await,
            ipsec: kernel_has_ipsec(),
            links,
        })
    }

    /// Makes the kernel hold what `edge` needs. Every step is tried; none stops the next.
    ///
    /// # Errors
    /// The kernel can't be observed. A step that fails is in its report.
    pub async fn reconcile(
        &mut self,
        edge: &EdgeState,
    ) -> Result<(Observed, Vec<StepReport>), HostError> {
        let seen = self.observe(edge).await?;
        let want = reconcile::desired(edge, &seen);
        let mut reports = Vec::new();
        for step in reconcile::plan(&want, &seen) {
            let result = self.apply(&step, &seen).await;
            reports.push(StepReport { step, result });
        }
        Ok((seen, reports))
    }

    /// Takes out all routes, rules and interfaces of ours, and then the guard; how many those were. Every step is tried.
    ///
    /// # Errors
    /// The kernel can't be observed, or the first step that failed.
    pub async fn clear(&mut self) -> Result<usize, HostError> {
        let links = netlink::links(&self.handle).await?;
        let (routes, _) = netlink::routes(&self.handle, &links).await?;
        let rules = netlink::rules(&self.handle).await?;
        let mut result = Ok(());
        for rule in &rules {
            result = result.and(netlink::remove_rule(&self.handle, rule).await);
        }
        for route in &routes {
            result = result.and(netlink::remove_route(&self.handle, route, &links).await);
        }
        let interfaces = interfaces::list(&self.handle).await?;
        for name in interfaces.keys() {
            result = result.and(interfaces::remove(&self.handle, name).await);
        }
        let count = rules.len() + routes.len() + interfaces.len();
        result.and(guard::remove().await).map(|()| count)
    }

    async fn apply(&mut self, step: &Step, seen: &Observed) -> Result<(), HostError> {
        match step {
            Step::LoadGuard(script) => self.guard.load(script).await,
            Step::AddRoute(route) => netlink::add_route(&self.handle, route, &seen.links).await,
            Step::RemoveRoute(route) => {
                netlink::remove_route(&self.handle, route, &seen.links).await
            }
            Step::AddRule(rule) => netlink::add_rule(&self.handle, rule).await,
            Step::RemoveRule(rule) => netlink::remove_rule(&self.handle, rule).await,
            Step::SetSysctl(name, value) => match sysctl::write(name, value) {
                Err(error) if reconcile::is_optional(name) => {
                    tracing::debug!("{error}: the edge does without");
                    Ok(())
                }
                result => result,
            },
            Step::AddInterface(name, kind) => interfaces::add(&self.handle, name, *kind).await,
            Step::RemoveInterface(name) => interfaces::remove(&self.handle, name).await,
        }
    }
}

/// The interfaces that a generation names and this host lacks.
pub fn missing_interfaces(edge: &EdgeState, seen: &Observed) -> Vec<Fault> {
    let uplinks =
        edge.uplinks.values().map(|u| (format!("uplink {}", u.name), u.interface.clone()));
    let lans = edge.lans.iter().map(|l| ("LAN".to_owned(), l.device()));
    uplinks
        .chain(lans)
        .filter(|(_, interface)| !seen.links.contains_key(interface))
        .map(|(what, interface)| Fault {
            code: "INTERFACE_MISSING",
            path: format!("{what}.interface"),
            message: format!("this host has no interface “{interface}”"),
            mend: format!(
                "name one of: {}",
                seen.links.keys().filter(|n| *n != "lo").cloned().collect::<Vec<_>>().join(", ")
            ),
        })
        .collect()
}
