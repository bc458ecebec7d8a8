//! Old suites are used under waivers, which end.

use crate::fault::{Fault, code};
use crate::intent::Fleet;

/// A fault for each waiver that has ended by `now_unix_s`. Not part of [`parse`](crate::parse): a revision that was
/// committed while its waivers held can still be read.
pub fn expired_waivers(fleet: &Fleet, now_unix_s: u64) -> Vec<Fault> {
    let ended = |(index, profile): (usize, &crate::TunnelProfile)| {
        let waiver = profile.waiver.as_ref().filter(|w| w.until.ends_unix_s() <= now_unix_s)?;
        Some(Fault {
            code: code::WAIVER_EXPIRED,
            path: format!("tunnel_profiles[{index}].waiver.until"),
            message: format!(
                "the waiver for {} of profile {} ended with {}",
                profile.suite.name(),
                profile.name,
                waiver.until
            ),
            mend: "choose a suite that needs none, or renew the waiver".to_owned(),
        })
    };
    fleet.tunnel_profiles.iter().enumerate().filter_map(ended).collect()
}
