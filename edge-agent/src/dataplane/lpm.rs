//! Longest-prefix match over a table that never changes once built.
//!
//! The prefixes are flattened into disjoint intervals, so that a lookup is one binary search over a flat array.

use std::net::IpAddr;

use ipnet::IpNet;

/// Values by prefix; of equal prefixes the last one stays.
#[derive(Debug, Clone)]
pub(super) struct PrefixTable<T> {
    v4: Vec<(u128, Option<u32>)>,
    v6: Vec<(u128, Option<u32>)>,
    values: Vec<T>,
}

impl<T> PrefixTable<T> {
    pub(super) fn new(entries: impl IntoIterator<Item = (IpNet, T)>) -> Self {
        let (mut v4, mut v6, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (prefix, value) in entries {
            let index = values.len() as u32;
            values.push(value);
            let range = (key(prefix.network()), key(prefix.broadcast()), index);
            if prefix.addr().is_ipv4() { v4.push(range) } else { v6.push(range) }
        }
        PrefixTable { v4: flatten(v4), v6: flatten(v6), values }
    }

    /// The value of the longest prefix that holds the address.
    pub(super) fn lookup(&self, address: IpAddr) -> Option<&T> {
        let intervals = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let key = key(address);
        let after = intervals.partition_point(|&(start, _)| start <= key);
        let (_, index) = *intervals.get(after.checked_sub(1)?)?;
        self.values.get(index? as usize)
    }
}

fn key(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// From nested ranges (first, last, value) to the starts of intervals. Prefixes nest or are disjoint, so a stack of the
/// open ones is enough.
fn flatten(mut ranges: Vec<(u128, u128, u32)>) -> Vec<(u128, Option<u32>)> {
    ranges.sort_by_key(|&(first, last, index)| (first, std::cmp::Reverse(last), index));
    let mut starts: Vec<(u128, Option<u32>)> = Vec::with_capacity(2 * ranges.len());
    let mut open: Vec<(u128, u32)> = Vec::new();
    for (first, last, index) in ranges {
        close_until(&mut open, &mut starts, |end| end < first);
        start(&mut starts, first, Some(index));
        open.push((last, index));
    }
    close_until(&mut open, &mut starts, |_| true);
    starts
}

fn close_until(
    open: &mut Vec<(u128, u32)>,
    starts: &mut Vec<(u128, Option<u32>)>,
    ended: impl Fn(u128) -> bool,
) {
    while let Some(&(last, _)) = open.last() {
        if !ended(last) {
            return;
        }
        open.pop();
        if let Some(next) = last.checked_add(1) {
            start(starts, next, open.last().map(|&(_, index)| index));
        }
    }
}

fn start(starts: &mut Vec<(u128, Option<u32>)>, at: u128, value: Option<u32>) {
    match starts.last_mut() {
        Some(last) if last.0 == at => last.1 = value,
        _ => starts.push((at, value)),
    }
}

#[cfg(test)]
mod tests;
