//! Manual tunnels that the kernel protects: looks at it, and brings it to what must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use hawser_edge_core::ike::Blocked;
use hawser_edge_core::kernel::GreLink;
use hawser_edge_core::manual::{
    Direction, Held, Keys, Link, Mode, State, StateId, Step, Wanted, desired, is_link_name, plan,
};
use netlink_packet_xfrm::XfrmAttrs;

use super::xfrm::{self, Seen, Xfrm};
use super::{Outcome, Traffic};
use crate::kernel::netlink::Refusal;
use crate::kernel::route::Rtnetlink;

pub(super) struct Kernel {
    xfrm: Xfrm,
    route: Rtnetlink,
}

impl Kernel {
    /// # Errors
    /// The kernel has no XFRM.
    pub fn open() -> io::Result<Kernel> {
        Ok(Kernel { xfrm: Xfrm::open()?, route: Rtnetlink::open()? })
    }

    /// Brings the kernel to these tunnels and no other of ours; how each stands then, in their order.
    pub fn bring(&mut self, tunnels: &[(&Wanted, &Keys)]) -> Vec<Outcome> {
        let mut known = BTreeMap::new();
        let mut wanted = Vec::new();
        for (tunnel, keys) in tunnels {
            let Some(algorithms) = xfrm::algorithms(tunnel, keys) else { continue };
            let (protocol, peer) = (tunnel.tunnel.protocol, tunnel.tunnel.peer_address);
            let alignment = xfrm::alignment(protocol, peer);
            let digests = [0, 1].map(|at| xfrm::digest(&algorithms[at], alignment));
            for (id, algorithms) in ids(tunnel).into_iter().flatten().zip(algorithms) {
                known.insert(id, algorithms);
            }
            wanted.push((*tunnel, digests));
        }
        let want = desired(wanted);
        let failed = match self.reconcile(&want, &known) {
            Ok(failed) => failed,
            Err(error) => return tunnels.iter().map(|_| Err(refused(&error))).collect(),
        };
        let seen = self.xfrm.states().unwrap_or_default();
        tunnels.iter().map(|(tunnel, _)| outcome(tunnel, &failed, &seen)).collect()
    }

    /// Every step is tried; those of associations and interfaces that failed are told.
    fn reconcile(
        &mut self,
        want: &Held,
        known: &BTreeMap<StateId, Vec<XfrmAttrs>>,
    ) -> Result<Failed, Refusal> {
        let seen = Held {
            states: self.xfrm.states()?.into_iter().map(|(id, (state, _))| (id, state)).collect(),
            policies: self.xfrm.policies()?,
            links: self.links()?,
        };
        let mut failed = Failed::default();
        for step in plan(want, &seen) {
            let result = self.carry_out(&step, known);
            if let Err(error) = result {
                tracing::warn!("a manual tunnel's step failed: {error}: {}", error.source);
                failed.note(step, &error);
            }
        }
        Ok(failed)
    }

    fn carry_out(
        &mut self,
        step: &Step,
        known: &BTreeMap<StateId, Vec<XfrmAttrs>>,
    ) -> Result<(), Refusal> {
        match step {
            Step::SetPolicy(policy) => self.xfrm.set_policy(policy),
            Step::RemovePolicy(policy) => self.xfrm.remove_policy(policy),
            Step::AddState(id, state) => {
                let algorithms = known.get(id).cloned().unwrap_or_default();
                self.xfrm.add_state(id, state, algorithms)
            }
            Step::RemoveState(id, state) => self.xfrm.remove_state(id, state),
            Step::AddLink(name, link) => self.add_link(name, link),
            Step::RemoveLink(name) => {
                let links = self.route.links()?;
                self.route.remove_named(name, &links)
            }
        }
    }

    fn add_link(&mut self, name: &str, link: &Link) -> Result<(), Refusal> {
        let gre = GreLink {
            key: 0,
            local: link.local,
            remote: link.remote,
            underlay: link.underlay.clone(),
            mtu_bytes: link.mtu_bytes,
            up: true,
        };
        let links = self.route.links()?;
        self.route.add_gre(name, &gre, &links)?;
        let links = self.route.links()?;
        let index = links.indexes.get(name).copied().unwrap_or_default();
        // Only what is routed to it goes in.
        let path = format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode");
        let _ = std::fs::write(path, "1");
        // What came by an uplink bears the guard's mark, also when GRE is off it: its source is looked for where the uplink's
        // is, and not over this device.
        self.route.add_address(index)?;
        self.route.raise_link(index)
    }

    fn links(&mut self) -> Result<BTreeMap<String, Link>, Refusal> {
        let found = self.route.gre_named(is_link_name)?;
        let link = |(name, gre): (String, GreLink)| {
            let GreLink { local, remote, underlay, mtu_bytes, up, .. } = gre;
            (name, Link { local, remote, underlay, mtu_bytes, up })
        };
        Ok(found.into_iter().map(link).collect())
    }
}

/// Takes out of the kernel everything of manual tunnels; how many things that were.
///
/// # Errors
/// The kernel can't be looked at, or something is left.
pub(super) fn clear() -> Result<usize, Refusal> {
    let opened = Kernel::open().map_err(|source| Refusal { what: "open a socket", source });
    let mut kernel = match opened {
        Ok(kernel) => kernel,
        // A kernel without XFRM never had any.
        Err(error) if error.is(libc::EPROTONOSUPPORT) => return Ok(0),
        Err(error) => return Err(error),
    };
    let count = kernel.xfrm.states()?.len() + kernel.xfrm.policies()?.len() + kernel.links()?.len();
    let failed = kernel.reconcile(&Held::default(), &BTreeMap::new())?;
    match failed.first {
        Some(error) => Err(error),
        None => Ok(count),
    }
}

/// Its associations, inbound and outbound.
fn ids(wanted: &Wanted) -> Option<[StateId; 2]> {
    let (local, tunnel) = (wanted.local?, &wanted.tunnel);
    let id = |direction, destination, spi| StateId {
        direction,
        destination,
        protocol: tunnel.protocol,
        spi,
    };
    Some([
        id(Direction::In, local, tunnel.inbound.spi),
        id(Direction::Out, tunnel.peer_address, tunnel.outbound.spi),
    ])
}

#[derive(Default)]
struct Failed {
    states: BTreeMap<StateId, String>,
    links: BTreeMap<String, String>,
    policies: BTreeSet<u32>,
    first: Option<Refusal>,
}

impl Failed {
    fn note(&mut self, step: Step, error: &Refusal) {
        let why = format!("{error}: {}", error.source);
        match step {
            Step::AddState(id, _) | Step::RemoveState(id, _) => _ = self.states.insert(id, why),
            Step::AddLink(name, _) | Step::RemoveLink(name) => _ = self.links.insert(name, why),
            Step::SetPolicy(policy) | Step::RemovePolicy(policy) => {
                self.policies.insert(policy.spi);
            }
        }
        let source = error.source.raw_os_error().map_or_else(
            || io::Error::other(error.source.to_string()),
            io::Error::from_raw_os_error,
        );
        if self.first.is_none() {
            self.first = Some(Refusal { what: error.what, source });
        }
    }
}

fn outcome(wanted: &Wanted, failed: &Failed, seen: &Seen) -> Outcome {
    let Some(ids) = ids(wanted) else { return Err(super::no_address(wanted)) };
    let refused = |why: &str| Blocked {
        code: "MANUAL_KERNEL_REFUSED",
        message: why.to_owned(),
        mend: "if it says “File exists”, another association has this SPI: agree on another one; \
               else look at the agent's log"
            .to_owned(),
    };
    let tunnel = &wanted.tunnel;
    if let Some(why) = ids.iter().find_map(|id| failed.states.get(id)) {
        return Err(refused(why));
    }
    if tunnel.mode == Mode::Gre
        && let Some(why) = failed.links.get(&tunnel.link_name())
    {
        return Err(refused(why));
    }
    if [tunnel.inbound.spi, tunnel.outbound.spi].iter().any(|spi| failed.policies.contains(spi)) {
        return Err(refused("a policy was refused"));
    }
    let carried = |id: &StateId| seen.get(id).map(|(_, traffic): &(State, _)| *traffic);
    match (carried(&ids[0]), carried(&ids[1])) {
        (Some(rx), Some(tx)) => Ok(Traffic {
            tx_packets: tx.packets,
            tx_bytes: tx.bytes,
            rx_packets: rx.packets,
            rx_bytes: rx.bytes,
        }),
        _ => Err(refused("the kernel does not hold its associations")),
    }
}

fn refused(error: &Refusal) -> Blocked {
    Blocked {
        code: "MANUAL_KERNEL_REFUSED",
        message: format!("{error}: {}", error.source),
        mend: "at this edge: modprobe xfrm_user esp4 esp6 ah4 ah6 ip_gre; hawser-edge doctor"
            .to_owned(),
    }
}
