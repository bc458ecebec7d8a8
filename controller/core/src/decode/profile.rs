//! Tunnel profiles.

use super::{Fields, Place, Reader};
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::{ProfileName, Suite, TunnelProfile};
use crate::limits;
use crate::names::{FLEET, Kind};

pub(super) fn profiles(reader: &mut Reader, fields: &Fields<'_>) -> Vec<TunnelProfile> {
    let mut profiles =
        reader.list(fields, "tunnel_profiles", limits::MAX_PROFILES, |r, node, place| {
            profile(r, node, place)
        });
    if profiles.iter().all(|profile| profile.name.as_str() != TunnelProfile::STANDARD) {
        reader.names.note(Kind::TunnelProfile, TunnelProfile::STANDARD);
        profiles.push(TunnelProfile::default());
    }
    profiles
}

pub(super) const PROFILE_FIELDS: &[&str] = &[
    "name",
    "suite",
    "rekey_after_s",
    "rekey_after_bytes",
    "replay_window_packets",
    "esn",
    "probe_interval_ms",
    "probe_idle_interval_ms",
    "down_after_probes",
];

fn profile(reader: &mut Reader, node: &Node, place: &Place<'_>) -> TunnelProfile {
    let fields = reader.fields(node, place, PROFILE_FIELDS);
    let standard = TunnelProfile::default();
    let name = reader.required_label(&fields, "name");
    let at = fields.at("name");
    reader.names.declare(&mut reader.faults, Kind::TunnelProfile, FLEET, &name, at);
    let bytes = i128::from(standard.rekey_after_bytes);
    let window = i128::from(standard.replay_window_packets);
    let interval = reader.integer(&fields, "probe_interval_ms", 100, 20..=10_000);
    let idle_absent = interval.max(i128::from(standard.probe_idle_interval_ms));
    let idle = reader.integer(&fields, "probe_idle_interval_ms", idle_absent, 20..=60_000);
    if idle < interval {
        let message = format!("{idle} is below probe_interval_ms, {interval}");
        let mend = "paths that carry nothing are probed no more often than others";
        reader.faults.add(code::OUT_OF_RANGE, fields.at("probe_idle_interval_ms"), message, mend);
    }
    let window = reader.integer(&fields, "replay_window_packets", window, 64..=4_096);
    if window % 64 != 0 {
        let message = format!("{window} is no multiple of 64");
        let at = fields.at("replay_window_packets");
        reader.faults.add(code::OUT_OF_RANGE, at, message, "choose 64, 128, 256 ... 4096");
    }
    TunnelProfile {
        name: ProfileName::new(name),
        suite: suite(reader, &fields),
        rekey_after_s: reader.integer(&fields, "rekey_after_s", 3_600, 5..=86_400) as u32,
        rekey_after_bytes: reader.integer(&fields, "rekey_after_bytes", bytes, 1 << 20..=1 << 44)
            as u64,
        replay_window_packets: window as u32,
        esn: reader.flag(&fields, "esn", standard.esn),
        probe_interval_ms: interval as u32,
        probe_idle_interval_ms: idle as u32,
        down_after_probes: down_after(reader, &fields),
    }
}

/// Two losses in a row may be one burst on a radio link; after twenty people have noticed.
fn down_after(reader: &mut Reader, fields: &Fields<'_>) -> Option<u32> {
    fields.get("down_after_probes")?;
    u32::try_from(reader.integer(fields, "down_after_probes", 0, 3..=20)).ok().filter(|n| *n > 0)
}

fn suite(reader: &mut Reader, fields: &Fields<'_>) -> Suite {
    let Some(text) = reader.text(fields, "suite") else { return Suite::default() };
    if let Some(suite) = Suite::ALL.into_iter().find(|suite| suite.name() == text) {
        return suite;
    }
    let weak = ["des", "3des", "rc4", "null", "md5", "sha1", "cbc", "blowfish", "cast"];
    let lower = text.to_ascii_lowercase();
    let is_weak = weak.iter().any(|word| lower.contains(word));
    let (code, message) = if is_weak {
        (code::SUITE_WEAK, format!("{} is too weak", quote(&text)))
    } else {
        (code::SUITE_UNKNOWN, format!("there is no suite {}", quote(&text)))
    };
    let names: Vec<&str> = Suite::ALL.iter().map(|suite| suite.name()).collect();
    let mend = format!("choose one of: {}", names.join(", "));
    reader.faults.add(code, fields.at("suite"), message, mend);
    Suite::default()
}
