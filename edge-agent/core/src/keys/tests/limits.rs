use std::time::Duration;

use super::super::*;
use crate::id::EdgeId;
use crate::time::Micros;

#[test]
fn use_asks_for_an_epoch_before_it_is_exhausted() {
    let suite = KeySuite::Aes128Gcm;
    let limits = |esn, after_bytes| RekeyLimits { after: Duration::ZERO, after_bytes, esn, suite };
    let quarter = 1 << 30;
    for (esn, after_bytes, bytes, packets, want) in [
        (true, 0, u64::MAX, 1, UsageVerdict::Fine),
        (true, 1000, 999, 1, UsageVerdict::Fine),
        (true, 1000, 1000, 1, UsageVerdict::NewEpoch),
        (false, 0, 0, 2 * quarter, UsageVerdict::Fine),
        (false, 0, 0, 3 * quarter, UsageVerdict::NewEpoch),
        (false, 0, 0, u64::from(u32::MAX) - 1, UsageVerdict::NewEpoch),
        (false, 0, 0, u64::from(u32::MAX), UsageVerdict::Exhausted),
        (true, 0, 0, u64::from(u32::MAX), UsageVerdict::Fine),
        (true, 1, 1, 1 << 40, UsageVerdict::Exhausted),
    ] {
        let usage = SaUsage { bytes, packets };
        assert_eq!(limits(esn, after_bytes).judge(usage), want, "{esn} {after_bytes} {usage:?}");
    }
}

#[test]
fn a_cipher_that_wears_out_asks_for_an_epoch_in_time_and_then_ends() {
    let limits =
        |suite| RekeyLimits { after: Duration::ZERO, after_bytes: 1 << 36, esn: true, suite };
    let judge = |suite, bytes| limits(suite).judge(SaUsage { bytes, packets: 1 });
    let (old, limit) = (KeySuite::TripleDesCbcSha1, 8 << 20);
    assert_eq!(judge(old, limit / 4 - 1), UsageVerdict::Fine);
    assert_eq!(judge(old, limit / 4), UsageVerdict::NewEpoch);
    assert_eq!(judge(old, limit), UsageVerdict::Exhausted);
    assert_eq!(judge(KeySuite::Aes128Gcm, limit), UsageVerdict::Fine);
}

#[test]
fn the_next_connection_is_opened_up_to_a_tenth_early_never_late() {
    let suite = KeySuite::Aes128Gcm;
    let limits = RekeyLimits { after: Duration::from_secs(100), after_bytes: 0, esn: true, suite };
    let opened = Micros(5);
    let at = |random| limits.next_connection(opened, random).since(opened);
    assert_eq!(at(0), Duration::from_secs(100));
    assert_eq!(at(u16::MAX), Duration::from_secs(90));
    assert!(at(30_000) < at(20_000));
}

#[test]
fn both_ends_choose_the_same_connection_in_whatever_order_they_see_them() {
    let by = |opener, boot: &str| Candidate { opener: EdgeId(opener), peer_boot: boot.into() };
    for (current, new, want) in [
        (by(1, "a"), by(2, "a"), Verdict::Standby),
        (by(2, "a"), by(1, "a"), Verdict::Replace),
        (by(1, "a"), by(1, "a"), Verdict::Replace),
        (by(2, "a"), by(2, "a"), Verdict::Replace),
        (by(1, "a"), by(2, "b"), Verdict::Replace),
        (by(1, "a"), by(1, "b"), Verdict::Replace),
    ] {
        assert_eq!(judge(&current, &new), want, "{current:?} {new:?}");
    }
}
