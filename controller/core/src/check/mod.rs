//! What the parts of a document make of each other.

mod ike;
mod manual;
mod prefixes;
mod topologies;

use crate::decode::Reader;
use crate::fault::code;
use crate::intent::Fleet;
use crate::limits::MAX_PREFIXES;

/// Adds the faults that no single field has.
pub(crate) fn whole(fleet: &Fleet, reader: &mut Reader) {
    reader.names.resolve(&mut reader.faults);
    if reader.prefixes.len() > MAX_PREFIXES {
        let message =
            format!("{} LAN prefixes; at most {MAX_PREFIXES} are allowed", reader.prefixes.len());
        reader.faults.add(code::TOO_MANY_PREFIXES, "sites", message, "summarise prefixes");
    }
    prefixes::overlaps(&mut reader.prefixes, &mut reader.faults);
    topologies::check(fleet, &mut reader.faults);
    ike::suites(fleet, &mut reader.faults);
    manual::tunnels(fleet, &mut reader.faults);
}
