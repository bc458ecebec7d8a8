//! Canaries with another suite, or other sequence numbers.

use super::*;

/// The ends differ for at least so long: several lives of keys.
const SOAK: &str = "20s";

fn short_lived_keys(spec: &mut FleetSpec) {
    spec.document = replaced(&spec.document, "rekey_after_s: 3600", "rekey_after_s: 5");
}

fn rekeys(fleet: &Fleet, edge: &str) -> Result<u64, FleetError> {
    Ok(fleet.agent(edge)?.paths()?.iter().map(|path| path.rekeys).sum())
}

/// One after the other gets it, under traffic both ways; nothing is lost, and fresh keys come while the ends differ.
fn changes_without_loss(fleet: &Fleet, document: &str, canary: &str, other: &str) -> Outcome {
    let traffic = Traffic::start(fleet, 7401)?;
    let (before, others) = (applied(fleet, canary)?, applied(fleet, other)?);
    apply_staged(fleet, document, canary, SOAK)?;
    applies(fleet, canary, &before)?;
    let keyed = rekeys(fleet, canary)?;
    let mut apart = 0;
    until("the other one has it", SOON, || {
        let now = applied(fleet, other)?;
        if now == others {
            apart = rekeys(fleet, canary)? - keyed;
        }
        Ok((now != others, now))
    })?;
    rollout_ends(fleet)?;
    std::thread::sleep(Duration::from_secs(7));
    traffic.assert_none_lost(&format!("{canary} first, {apart} rekeys apart"))?;
    assert!(apart >= 4, "fresh keys while the ends differ: {apart}");
    Ok(())
}

#[test]
fn a_canary_with_another_suite_loses_nothing() {
    scenario("suite-apart", short_lived_keys, |fleet| {
        let document = fleet.spec().document.clone();
        let cbc = replaced(&document, "aes-128-gcm", "aes-256-cbc-sha256-128");
        changes_without_loss(fleet, &cbc, "left-1", "right-1")
    });
}

#[test]
fn a_canary_with_other_sequence_numbers_loses_nothing() {
    scenario("esn-apart", short_lived_keys, |fleet| {
        let document = fleet.spec().document.clone();
        let short = replaced(&document, "rekey_after_s: 5", "rekey_after_s: 5, esn: false");
        changes_without_loss(fleet, &short, "right-1", "left-1")
    });
}
