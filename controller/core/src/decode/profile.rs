//! Tunnel profiles.

use super::{Fields, Place, Reader};
use crate::Suite;
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::{ProfileName, TunnelProfile, Waiver};
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
    "waiver",
    "rekey_after_s",
    "rekey_after_bytes",
    "replay_window_packets",
    "esn",
    "probe_interval_ms",
    "probe_idle_interval_ms",
    "down_after_probes",
];

pub(super) const WAIVER_FIELDS: &[&str] = &["until", "reason"];

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
    let (suite, waiver) = suite_and_waiver(reader, &fields);
    TunnelProfile {
        name: ProfileName::new(name),
        suite,
        waiver,
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

fn suite_and_waiver(reader: &mut Reader, fields: &Fields<'_>) -> (Suite, Option<Waiver>) {
    let waiver = waiver(reader, fields);
    let Some(suite) = suite(reader, fields) else { return (Suite::default(), waiver) };
    let given = fields.get("waiver").is_some();
    if suite.requires_waiver() && !given {
        let message = format!("{} is for old peers only", suite.name());
        let mend = "choose a suite without DES, 3DES, MD5 and SHA-1, or say until when and why it must be used: \
                    `waiver: {until: YYYY-MM-DD, reason: ...}`";
        reader.faults.add(code::WAIVER_MISSING, fields.at("suite"), message, mend);
    } else if given && !suite.requires_waiver() {
        let message = format!("{} needs no waiver", suite.name());
        reader.faults.add(code::WAIVER_UNUSED, fields.at("waiver"), message, "remove it");
    }
    (suite, waiver)
}

fn waiver(reader: &mut Reader, fields: &Fields<'_>) -> Option<Waiver> {
    let place = fields.at("waiver");
    let fields = reader.fields(fields.get("waiver")?, &place, WAIVER_FIELDS);
    for key in WAIVER_FIELDS {
        if fields.get(key).is_none() {
            reader.missing(&fields, key);
        }
    }
    let (until, reason) = (reader.text(&fields, "until"), reader.text(&fields, "reason"));
    if let Some(reason) = reason.as_ref().filter(|reason| !(1..=200).contains(&reason.trim().len()))
    {
        let message = format!("a reason of {} octets", reason.trim().len());
        let mend = "say in 1 to 200 octets why it must be used";
        reader.faults.add(code::OUT_OF_RANGE, fields.at("reason"), message, mend);
    }
    let until = until?;
    let Ok(until) = until.parse() else {
        let message = format!("{} is no day", quote(&until));
        let mend = "write YYYY-MM-DD, the last day on which it may be used";
        reader.faults.add(code::DATE_INVALID, fields.at("until"), message, mend);
        return None;
    };
    Some(Waiver { until, reason: reason? })
}

fn suite(reader: &mut Reader, fields: &Fields<'_>) -> Option<Suite> {
    let Some(text) = reader.text(fields, "suite") else { return Some(Suite::default()) };
    if let Some(suite) = Suite::named(&text) {
        return Some(suite);
    }
    let weak = ["des", "3des", "rc4", "null", "md5", "sha1", "blowfish", "cast"];
    let lower = text.to_ascii_lowercase();
    let is_weak = weak.iter().any(|word| lower.contains(word));
    let (code, message) = if is_weak {
        (code::SUITE_WEAK, format!("{} is too weak, and none of ours", quote(&text)))
    } else {
        (code::SUITE_UNKNOWN, format!("there is no suite {}", quote(&text)))
    };
    let good = Suite::ALL.into_iter().filter(|suite| !suite.requires_waiver());
    let names: Vec<&str> = good.map(Suite::name).collect();
    let mend = format!("choose one of: {}", names.join(", "));
    reader.faults.add(code, fields.at("suite"), message, mend);
    None
}
