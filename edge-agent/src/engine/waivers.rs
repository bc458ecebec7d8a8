//! Suites that are in use though they should not be: old ones under a waiver, and those that hide nothing. They are told
//! of when a generation brings them and every day after; an old generation whose waiver ends meanwhile stays in force,
//! for an outage at midnight would help nobody, but no new one may bring it again.

use hawser_edge_core::config::{EdgeState, Fault, Profile};

use super::{Engine, clock};

const DAY_MS: u64 = 86_400_000;

impl Engine {
    /// An event for each tunnel whose suite is waived or does not encrypt.
    pub(super) fn tell_waivers(&mut self) {
        let Some(edge) = self.edge.clone() else { return };
        let now_ms = clock::unix_ms();
        self.waivers_told_day = now_ms / DAY_MS;
        for (name, profile) in profiles(&edge) {
            if let Some((code, message)) = word(profile, now_ms) {
                self.event(code, name, &message);
            }
        }
    }

    pub(super) fn tell_waivers_daily(&mut self) {
        if self.waivers_told_day != clock::unix_ms() / DAY_MS {
            self.tell_waivers();
        }
    }

    /// Tunnels whose suite is told of, for the counters: by code.
    pub(super) fn waived_tunnels(&self) -> impl Iterator<Item = &'static str> {
        let now_ms = clock::unix_ms();
        let profiles = self.edge.iter().flat_map(|edge| profiles(edge));
        profiles.filter_map(move |(_, p)| word(p, now_ms)).map(|(code, _)| match code {
            "WAIVER_EXPIRED" => "tunnels_waiver_expired",
            "SUITE_UNDER_WAIVER" => "tunnels_under_waiver",
            _ => "tunnels_not_encrypted",
        })
    }
}

/// Of tunnels of the fabric, by their peers, and of manual ones, by their names.
fn profiles(edge: &EdgeState) -> impl Iterator<Item = (&str, &Profile)> {
    let fabric = edge.tunnels.values().map(|t| (t.peer_edge.as_str(), &t.profile));
    fabric.chain(edge.manual_tunnels.iter().map(|t| (t.name.as_str(), &t.profile)))
}

fn word(profile: &Profile, now_ms: u64) -> Option<(&'static str, String)> {
    let suite = profile.suite;
    match &profile.waiver {
        Some(waiver) if has_ended(waiver.ends_unix_s, now_ms) => Some((
            "WAIVER_EXPIRED",
            format!("{suite} is still in use, its waiver has ended: {}", waiver.reason),
        )),
        Some(waiver) if suite.requires_waiver() => {
            let days =
                waiver.ends_unix_s.saturating_mul(1_000).saturating_sub(now_ms).div_ceil(DAY_MS);
            let message = format!("{suite} is in use for {days} more days: {}", waiver.reason);
            Some(("SUITE_UNDER_WAIVER", message))
        }
        _ if !suite.encrypts() => {
            Some(("SUITE_NOT_ENCRYPTING", format!("{suite} authenticates and hides nothing")))
        }
        _ => None,
    }
}

/// A fault for each tunnel whose waiver has ended.
pub(super) fn expired(edge: &EdgeState, now_ms: u64) -> Option<Vec<Fault>> {
    let fabric = edge.tunnels.values().map(|t| (format!("tunnels[{}]", t.id), &t.profile));
    let manual = edge.manual_tunnels.iter().enumerate();
    let manual = manual.map(|(i, t)| (format!("manual_tunnels[{i}]"), &t.profile));
    let ended = |(path, profile): (String, &Profile)| {
        let waiver = profile.waiver.as_ref()?;
        has_ended(waiver.ends_unix_s, now_ms).then(|| Fault {
            code: "WAIVER_EXPIRED",
            path: format!("{path}.profile.waiver"),
            message: format!("the waiver for {} has ended", profile.suite),
            mend: "choose a suite that needs none, or renew the waiver".into(),
        })
    };
    let faults: Vec<Fault> = fabric.chain(manual).filter_map(ended).collect();
    (!faults.is_empty()).then_some(faults)
}

fn has_ended(ends_unix_s: u64, now_ms: u64) -> bool {
    ends_unix_s.saturating_mul(1_000) <= now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_holds_until_its_last_day_is_over() {
        assert!(!has_ended(86_400, 86_399_999));
        assert!(has_ended(86_400, 86_400_000));
        assert!(!has_ended(u64::MAX, u64::MAX - 1));
    }
}
