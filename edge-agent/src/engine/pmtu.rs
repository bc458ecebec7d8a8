//! How long packets may be on each path: the discovery's probes, and what follows from what they find.

use std::io;
use std::net::SocketAddr;

use hawser_edge_core::config::{EdgeState, UplinkUse};
use hawser_edge_core::id::{PathId, UplinkId};
use hawser_edge_core::pmtu::Pmtu;
use hawser_edge_core::sla::Reach;
use hawser_edge_core::time::Micros;
use hawser_esp::wire::GRE_LEN;

use super::forwarding::{self, LEAST_INNER_MTU_BYTES, UplinkMtus};
use super::{Engine, Timer};
use crate::dataplane::{DataPlaneError, ForwardingSpec};

impl Engine {
    /// The table as everything stands now.
    pub(super) fn table(&self, edge: &EdgeState) -> ForwardingSpec {
        let mtus = self.mtus(edge);
        let mtu_of = |path| self.inner_mtu(edge, &mtus, path);
        forwarding::table(edge, mtu_of, |route| self.usable_next_hops(route))
    }

    /// What the links allow, and the path itself.
    pub(super) fn inner_mtu(&self, edge: &EdgeState, mtus: &UplinkMtus, id: PathId) -> u16 {
        let path = self.paths.get(&id);
        let links = forwarding::path_mtu(edge, id, mtus, path.and_then(|path| path.sealing));
        let found = path.and_then(|path| path.pmtu.as_ref());
        found.map_or(links, |pmtu| pmtu.current().min(links))
    }

    /// Links, suites or paths changed.
    pub(super) fn refresh_pmtus(&mut self) {
        let Some(edge) = self.edge.clone() else { return };
        let (mtus, now) = (self.mtus(&edge), self.clock.now());
        let mut widened = false;
        for (id, path) in &mut self.paths {
            let ceiling = forwarding::path_mtu(&edge, *id, &mtus, path.sealing);
            let uplink = edge.uplinks.get(&path.config.local_uplink);
            let confirms = uplink.is_some_and(|uplink| {
                uplink.usage == UplinkUse::Normal
                    && !uplink.metered
                    && uplink.probe_budget_bytes_per_s == 0
            });
            match &mut path.pmtu {
                Some(pmtu) => {
                    let was = pmtu.current();
                    pmtu.set_ceiling(ceiling, confirms, now);
                    widened |= pmtu.current() > was;
                }
                none => {
                    *none = Some(Pmtu::new(LEAST_INNER_MTU_BYTES, ceiling, confirms, now));
                }
            }
        }
        let ids: Vec<PathId> = self.paths.keys().copied().collect();
        ids.into_iter().for_each(|id| self.arm_pmtu(id));
        if widened {
            self.refresh_table();
        }
    }

    pub(super) fn pmtu_reach(&mut self, id: PathId, reach: Reach, now: Micros) {
        let pmtu = self.paths.get_mut(&id).and_then(|path| path.pmtu.as_mut());
        match (pmtu, reach) {
            (Some(pmtu), Reach::Up) => pmtu.resume(now),
            (Some(pmtu), _) => pmtu.suspend(),
            (None, _) => {}
        }
        self.arm_pmtu(id);
    }

    /// Only a path that is up can say anything.
    fn arm_pmtu(&mut self, id: PathId) {
        let up = self.paths.get(&id).filter(|p| p.reach == Reach::Up && p.is_probed());
        let deadline = up.and_then(|path| path.pmtu.as_ref()?.next_deadline());
        self.timers.set(Timer::Pmtu(id), deadline);
    }

    pub(super) fn on_pmtu_timer(&mut self, id: PathId) {
        let now = self.clock.now();
        let Some(edge) = self.edge.clone() else { return };
        let extra = (forwarding::gre_bytes(&edge) - GRE_LEN) as u16;
        let before = self.pmtu_state(id);
        if let Some(path) = self.paths.get_mut(&id)
            && let Some(pmtu) = &mut path.pmtu
            && let Some(probe) = pmtu.poll(path.session.timeout(), now, rand::random)
        {
            // A probe has no sequence number, and stands for packets that have.
            let inner = path.session.padded(probe.octets, probe.inner_bytes + extra, now);
            if let Err(error) = self.dataplane.send_on_path(id, None, &inner) {
                if too_long(&error) {
                    pmtu.handle_refused(probe.inner_bytes, now);
                }
                self.count(&format!("pmtu_send_{}", error.code()));
            }
        }
        self.arm_pmtu(id);
        self.pmtu_changed(id, before);
    }

    /// False: the octets are none of these probes'.
    pub(super) fn on_pmtu_answer(&mut self, id: PathId, octets: [u8; 8], now: Micros) -> bool {
        let before = self.pmtu_state(id);
        let pmtu = self.paths.get_mut(&id).and_then(|path| path.pmtu.as_mut());
        if !pmtu.is_some_and(|pmtu| pmtu.handle_answer(octets, now)) {
            return false;
        }
        self.arm_pmtu(id);
        self.pmtu_changed(id, before);
        true
    }

    /// ICMP can be forged: it makes the paths that it names prove what they carry, and that is all.
    pub(super) fn on_too_big(&mut self, uplink: UplinkId, to: SocketAddr, outer_bytes: u32) {
        let (now, mut named) = (self.clock.now(), Vec::new());
        let Some(edge) = self.edge.clone() else { return };
        for (id, path) in &mut self.paths {
            let is_it =
                path.remote.is_some_and(|r| r.ip() == to.ip() && (to.port() == 0 || r == to));
            let Some(tunnel) = edge.tunnels.get(&path.tunnel) else { continue };
            if path.config.local_uplink == uplink
                && is_it
                && let Some(pmtu) = &mut path.pmtu
            {
                let suite = path.sealing.unwrap_or(tunnel.profile.suite);
                let inner = forwarding::inner_mtu_within(&edge, suite, &path.config, outer_bytes);
                pmtu.handle_too_big(inner, now);
                named.push(*id);
            }
        }
        self.count(if named.is_empty() { "too_big_of_no_path" } else { "too_big_heard" });
        named.into_iter().for_each(|id| self.arm_pmtu(id));
    }

    fn pmtu_state(&self, id: PathId) -> Option<(u16, bool)> {
        let pmtu = self.paths.get(&id)?.pmtu.as_ref()?;
        Some((pmtu.current(), pmtu.is_too_narrow()))
    }

    fn pmtu_changed(&mut self, id: PathId, before: Option<(u16, bool)>) {
        let (Some((was, was_narrow)), Some((is, narrow))) = (before, self.pmtu_state(id)) else {
            return;
        };
        if narrow && !was_narrow {
            let message = format!("packets of {is} bytes do not pass, and IPv6 asks for no less");
            self.event("PATH_MTU_TOO_SMALL", &self.path_name(id), &message);
        }
        if was != is {
            let message = format!("packets of up to {is} bytes pass inside; it was {was}");
            self.event("PATH_MTU_CHANGED", &self.path_name(id), &message);
            self.report_soon = true;
            self.refresh_table();
        }
    }
}

/// This host refuses what is longer than its own link.
fn too_long(error: &DataPlaneError) -> bool {
    let DataPlaneError::Send { source, .. } = error else { return false };
    source.raw_os_error() == Some(libc::EMSGSIZE) || source.kind() == io::ErrorKind::InvalidInput
}
