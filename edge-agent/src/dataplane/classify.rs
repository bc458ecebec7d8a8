//! From a packet's headers to its traffic class.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use hawser_edge_core::id::{ClassId, SegmentId};
use hawser_esp::ip::{FlowKey, Fragment, proto};
use ipnet::IpNet;

use super::spec::{ClassMatch, ClassSpec};

/// The classes, in order of match.
#[derive(Debug, Clone, Default)]
pub(super) struct Classifier {
    classes: Vec<ClassSpec>,
}

impl Classifier {
    pub(super) fn new(classes: Vec<ClassSpec>) -> Self {
        Classifier { classes }
    }

    /// The place of a class in the order, as `classify` tells it.
    pub(super) fn index_of(&self, id: ClassId) -> Option<usize> {
        self.classes.iter().position(|class| class.id == id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ClassId> {
        self.classes.iter().map(|class| class.id)
    }

    /// What a class's outer headers say instead of the inner packet's own DSCP.
    pub(super) fn wan_dscp(&self, index: usize) -> Option<u8> {
        self.classes.get(index)?.wan_dscp
    }

    /// The place of the first class that the packet fits.
    pub(super) fn classify(&self, segment: SegmentId, flow: &FlowKey) -> Option<usize> {
        self.classes.iter().position(|class| {
            class.segment.is_none_or(|wanted| wanted == segment)
                && (class.matches.is_empty() || class.matches.iter().any(|m| fits(m, flow)))
        })
    }
}

fn fits(wanted: &ClassMatch, flow: &FlowKey) -> bool {
    holds(&wanted.sources, flow.src)
        && holds(&wanted.destinations, flow.dst)
        && (wanted.protocols.is_empty() || wanted.protocols.contains(&flow.proto))
        && (wanted.dscps.is_empty() || wanted.dscps.contains(&flow.dscp))
        && shows(&wanted.source_ports, flow, flow.src_port)
        && shows(&wanted.destination_ports, flow, flow.dst_port)
}

/// A packet that shows no ports fits no port.
fn shows(ranges: &[RangeInclusive<u16>], flow: &FlowKey, port: u16) -> bool {
    let has_ports =
        matches!(flow.proto, proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP)
            && flow.fragment != Fragment::Later;
    ranges.is_empty() || (has_ports && ranges.iter().any(|range| range.contains(&port)))
}

fn holds(prefixes: &[IpNet], address: IpAddr) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(&address))
}

#[cfg(test)]
mod tests;
