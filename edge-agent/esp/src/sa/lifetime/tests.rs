use super::*;

fn limits(packets: u64, bytes: u64, seconds: u64) -> Limits {
    Limits { packets: Some(packets), bytes: Some(bytes), age: Some(Duration::from_secs(seconds)) }
}

fn expiry(lifetime: &Lifetime, packets: u64, bytes: u64, seconds: u64) -> Expiry {
    lifetime.expiry(SaUsage { packets, bytes }, Duration::from_secs(seconds))
}

#[test]
fn each_limit_ends_an_sa_softly_first_and_hard_then() {
    let lifetime = Lifetime::new(limits(10, 1000, 60), limits(20, 2000, 120)).unwrap();
    for (packets, bytes, seconds, expected) in [
        (9, 999, 59, Expiry::None),
        (10, 999, 59, Expiry::Soft(Limit::Packets)),
        (9, 1000, 59, Expiry::Soft(Limit::Bytes)),
        (9, 999, 60, Expiry::Soft(Limit::Age)),
        (20, 999, 59, Expiry::Hard(Limit::Packets)),
        (19, 2000, 59, Expiry::Hard(Limit::Bytes)),
        (19, 1999, 120, Expiry::Hard(Limit::Age)),
        (u64::MAX, u64::MAX, 1 << 40, Expiry::Hard(Limit::Packets)),
    ] {
        assert_eq!(expiry(&lifetime, packets, bytes, seconds), expected);
    }
}

#[test]
fn without_limits_nothing_ends() {
    let endless = Lifetime::new(Limits::default(), Limits::default()).unwrap();
    assert_eq!(expiry(&endless, u64::MAX, u64::MAX, 1 << 40), Expiry::None);
}

#[test]
fn a_soft_limit_at_the_hard_one_is_refused_with_its_name() {
    for (soft, hard, limit) in [
        (limits(20, 1, 1), limits(20, 2, 2), Limit::Packets),
        (limits(1, 3, 1), limits(2, 2, 2), Limit::Bytes),
        (limits(1, 1, 2), limits(2, 2, 2), Limit::Age),
    ] {
        assert_eq!(Lifetime::new(soft, hard), Err(LifetimeError { limit }));
    }
    assert!(Lifetime::new(limits(1, 1, 1), Limits::default()).is_ok());
}

#[test]
fn a_cipher_of_short_blocks_shortens_every_lifetime() {
    let mib = 1 << 20;
    let endless = Lifetime::default().within(Suite::TripleDesCbcSha1);
    assert_eq!(expiry(&endless, 1, 7 * mib - 1, 0), Expiry::None);
    assert_eq!(expiry(&endless, 1, 7 * mib, 0), Expiry::Soft(Limit::Bytes));
    assert_eq!(expiry(&endless, 1, 8 * mib, 0), Expiry::Hard(Limit::Bytes));
    let short = Lifetime::new(limits(9, 10, 9), limits(10, 20, 10)).unwrap();
    assert_eq!(short.within(Suite::DesCbcMd5), short);
    assert_eq!(Lifetime::default().within(Suite::Aes128Gcm), Lifetime::default());
}
