//! LAN prefixes that overlap in one segment.

use ipnet::IpNet;

use crate::decode::PlacedPrefix;
use crate::fault::{Faults, code};

/// Prefixes that are equal, while what lies inside them is looked at.
struct Enclosing<'a> {
    prefix: IpNet,
    first: &'a PlacedPrefix,
    first_unshared: Option<&'a PlacedPrefix>,
}

/// Two prefixes of a segment overlap only if one contains the other. So, in ascending order and the wider first, what
/// contains a prefix is always on a stack, which is never deeper than an address has bits.
pub(super) fn overlaps(prefixes: &mut [PlacedPrefix], faults: &mut Faults) {
    prefixes.sort_by(|a, b| (&a.segment, a.prefix, a.site).cmp(&(&b.segment, b.prefix, b.site)));
    let mut stack: Vec<Enclosing<'_>> = Vec::new();
    let mut segment = None;
    for found in prefixes.iter() {
        if segment != Some(&found.segment) {
            stack.clear();
            segment = Some(&found.segment);
        }
        while stack.last().is_some_and(|outer| !contains(&outer.prefix, &found.prefix)) {
            stack.pop();
        }
        let other = if found.shared_origin {
            stack.iter().rev().find_map(|outer| outer.first_unshared)
        } else {
            stack.last().map(|outer| outer.first)
        };
        if let Some(other) = other {
            report(found, other, faults);
        }
        let unshared = (!found.shared_origin).then_some(found);
        match stack.last_mut() {
            Some(outer) if outer.prefix == found.prefix => {
                outer.first_unshared = outer.first_unshared.or(unshared);
            }
            _ => {
                let prefix = found.prefix;
                stack.push(Enclosing { prefix, first: found, first_unshared: unshared });
            }
        }
    }
}

fn contains(outer: &IpNet, inner: &IpNet) -> bool {
    outer.contains(inner)
}

fn report(found: &PlacedPrefix, other: &PlacedPrefix, faults: &mut Faults) {
    let message = format!(
        "{} overlaps {} at {} in segment {}",
        found.prefix, other.prefix, other.path, found.segment
    );
    let mend = if found.site == other.site {
        "keep one of them"
    } else {
        "renumber one, put it in a segment of its own, or say `shared_origin: true` at both LANs"
    };
    faults.add(code::PREFIX_OVERLAP, &found.path, message, mend);
}
