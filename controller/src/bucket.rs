//! Token buckets: how often something may happen, overall or per source.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Starts full.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    burst: f64,
    per_second: f64,
    left: f64,
    at_unix_ms: u64,
}

impl Bucket {
    pub fn new(burst: u32, per_second: f64) -> Self {
        Self { burst: f64::from(burst), per_second, left: f64::from(burst), at_unix_ms: 0 }
    }

    /// True: it may happen, and counts. A clock that goes back refills nothing.
    pub fn take(&mut self, now_unix_ms: u64) -> bool {
        self.refill(now_unix_ms);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }

    fn refill(&mut self, now_unix_ms: u64) {
        let elapsed_ms = now_unix_ms.saturating_sub(self.at_unix_ms);
        self.at_unix_ms = now_unix_ms;
        let gained = elapsed_ms as f64 / 1000.0 * self.per_second;
        self.left = (self.left + gained).min(self.burst);
    }

    fn is_full(&mut self, now_unix_ms: u64) -> bool {
        self.refill(now_unix_ms);
        self.left >= self.burst
    }
}

/// A bucket per source address; IPv6 sources count by their /64.
#[derive(Debug)]
pub struct SourceBuckets {
    template: Bucket,
    sources: BTreeMap<IpAddr, Bucket>,
    most: usize,
}

impl SourceBuckets {
    pub fn new(template: Bucket, most: usize) -> Self {
        Self { template, sources: BTreeMap::new(), most }
    }

    /// False also when the table is full of sources that are all being limited.
    pub fn take(&mut self, source: IpAddr, now_unix_ms: u64) -> bool {
        let source = network(source);
        if !self.sources.contains_key(&source) && self.sources.len() >= self.most {
            self.sources.retain(|_, b| !b.is_full(now_unix_ms));
            if self.sources.len() >= self.most {
                return false;
            }
        }
        self.sources.entry(source).or_insert(self.template).take(now_unix_ms)
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(3, 2.0);
        let taken = (0..10).filter(|_| bucket.take(1_000_000)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(1_000_400));
        assert!(bucket.take(1_000_900));
        assert!(!bucket.take(1_000_900));
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let mut bucket = Bucket::new(1, 1.0);
        assert!(bucket.take(10_000));
        assert!(!bucket.take(5_000));
    }

    #[test]
    fn sources_are_limited_apart_and_the_table_is_bounded() {
        let mut buckets = SourceBuckets::new(Bucket::new(1, 0.001), 2);
        let source = |n: u8| IpAddr::from([10, 0, 0, n]);
        assert!(buckets.take(source(1), 1_000));
        assert!(!buckets.take(source(1), 1_000));
        assert!(buckets.take(source(2), 1_000));
        assert!(!buckets.take(source(3), 1_000));
        assert!(buckets.take(source(3), 10_000_000));
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        let mut buckets = SourceBuckets::new(Bucket::new(1, 0.0), 8);
        assert!(buckets.take("2001:db8::1".parse().unwrap(), 1));
        assert!(!buckets.take("2001:db8::2".parse().unwrap(), 1));
        assert!(buckets.take("2001:db8:0:1::2".parse().unwrap(), 1));
    }
}
