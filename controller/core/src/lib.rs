//! The controller's pure core: what a fleet's document means, and what each edge must make of it.
//!
//! [`parse`] reads a document and reports every fault at once. [`allocate`] gives numbers to what is new in it.
//! [`compile`] makes one configuration per edge; [`diff`] says whose changed. [`advice`] looks at what all edges report, and
//! says what they may better avoid. No runtime, socket, file or clock.

#![forbid(unsafe_code)]

pub mod advice;
mod allocate;
pub mod audit;
pub mod capability;
pub mod changes;
mod check;
mod compile;
mod date;
mod decode;
mod diff;
mod document;
mod fault;
pub mod format;
mod graph;
mod id;
mod intent;
mod limits;
pub mod lint;
mod names;
mod nearest;
mod presets;
pub mod rollout;
mod schema;
mod suite;
pub mod trend;
mod waiver;

pub use allocate::{
    Allocations, CorruptAllocations, EdgePair, Exhausted, NotAllocated, PathKey, allocate,
};
pub use compile::{Affected, PathPlan, Plan, Role, TunnelPlan, affected, compile};
pub use date::Date;
pub use diff::{Diff, diff};
pub use fault::{Fault, code};
pub use id::{ClassId, EdgeId, PathId, SegmentId, TunnelId, UplinkId};
pub use intent::{
    BalanceBy, ClassMode, ClassName, Edge, EdgeName, Family, Fleet, IkeProbe, IkeProbeKind,
    IkeStart, IkeTunnel, IkeVersion, Lan, ManualKey, ManualMode, ManualProtocol, ManualTunnel,
    Match, Members, PortRange, ProfileName, SegmentName, Site, SiteName, SlaClass, SlaName,
    Topology, TopologyKind, TrafficClass, TransportName, TransportPairs, TunnelProfile, Uplink,
    UplinkName, UplinkUse, Waiver, WhenNoneMeets,
};
pub use limits::MAX_DOCUMENT_BYTES;
pub use schema::json_schema;
pub use suite::Suite;
pub use waiver::expired_waivers;

/// Reads a fleet's document, YAML or JSON.
///
/// # Errors
/// Every fault of the document, in the order of the document first, then what its parts make of each other. A document
/// that can't be read at all (size, encoding, syntax, nesting) has one fault. There are never more than
/// `limits::MAX_FAULTS`; the last one then says how many were left out.
pub fn parse(document: &[u8]) -> Result<Fleet, Vec<Fault>> {
    let tree = document::read(document).map_err(|fault| vec![fault])?;
    let mut reader = decode::Reader::default();
    let fleet = decode::fleet(&mut reader, &tree);
    check::whole(&fleet, &mut reader);
    let faults = reader.faults.into_list();
    if faults.is_empty() { Ok(fleet) } else { Err(faults) }
}

/// The faults of a document; none: it can be applied.
pub fn validate(document: &[u8]) -> Vec<Fault> {
    parse(document).err().unwrap_or_default()
}

#[cfg(test)]
mod tests;
