//! What a document may say of link quality: presets, limits and sensitivities, modes, uses of uplinks.

use std::collections::BTreeMap;

use hawser_proto::config::v1::{self as wire, EdgeConfig};
use proptest::prelude::*;
use prost::Message;

use crate::{Allocations, EdgeName, Fault, SlaClass, allocate, compile, parse, validate};

/// Two sites; the places of `SLA`, `PROFILE`, `CLASS` and `UPLINK` are filled in by each test.
fn document(sla: &str, profile: &str, class: &str, uplink: &str) -> String {
    let list = |key: &str, item: &str| match item {
        "" => String::new(),
        item => format!("{key}:\n  - {{{item}}}\n"),
    };
    format!(
        "fleet: acme\n{}{}{}\
         sites:\n\
         \x20 - name: hq\n\
         \x20   lans: [{{interface: lan0, prefixes: [\"10.0.0.0/24\"]}}]\n\
         \x20   edges: [{{uplinks: [{{name: isp-a}}, {{name: isp-b{uplink}}}]}}]\n\
         \x20 - name: b1\n\
         \x20   lans: [{{interface: lan0, prefixes: [\"10.1.0.0/24\"]}}]\n\
         \x20   edges: [{{uplinks: [{{name: isp-a}}]}}]\n\
         topologies: [{{kind: full-mesh}}]\n",
        list("sla_classes", sla),
        list("tunnel_profiles", profile),
        list("traffic_classes", class),
    )
}

fn with_sla(sla: &str) -> String {
    document(sla, "", "", "")
}

fn faults(document: &str) -> Vec<Fault> {
    validate(document.as_bytes())
}

fn places(faults: &[Fault]) -> Vec<(&str, &str)> {
    faults.iter().map(|fault| (fault.code, fault.path.as_str())).collect()
}

fn class(document: &str, name: &str) -> SlaClass {
    let fleet = parse(document.as_bytes()).unwrap_or_else(|f| panic!("{document}\n{f:#?}"));
    fleet.sla_classes.into_iter().find(|class| class.name.as_str() == name).unwrap()
}

fn compiled(document: &str) -> BTreeMap<EdgeName, EdgeConfig> {
    let fleet = parse(document.as_bytes()).unwrap_or_else(|f| panic!("{document}\n{f:#?}"));
    let mut numbers = Allocations::default();
    allocate(&fleet, &mut numbers).unwrap();
    compile(&fleet, &numbers).unwrap()
}

fn octets(document: &str) -> Vec<Vec<u8>> {
    compiled(document).values().map(Message::encode_to_vec).collect()
}

const AT: &str = "sla_classes[0]";

/// Of each field: what is written, and the fault at it.
fn check_sla(cases: &[(&str, &'static str, &str)]) {
    for (written, code, field) in cases {
        let found = faults(&with_sla(written));
        assert_eq!(places(&found), [(*code, &*format!("{AT}{field}"))], "{written}\n{found:#?}");
        assert!(!found[0].message.is_empty() && !found[0].mend.is_empty(), "{found:?}");
    }
}

#[test]
fn a_preset_needs_no_declaration() {
    for name in ["voice", "video", "interactive", "bulk"] {
        let document = document("", "", &format!("name: default, sla: {name}"), "");
        let configs = compiled(&document);
        for config in configs.values() {
            let names: Vec<&str> = config.sla_classes.iter().map(|sla| &*sla.name).collect();
            assert_eq!(names, [name]);
            assert!(config.sla_classes[0].max_loss_ppm > 0);
        }
    }
    let voice = class(&with_sla(""), "voice");
    assert_eq!((voice.max_rtt_us, voice.max_jitter_us), (Some(200_000), Some(30_000)));
}

#[test]
fn a_declared_class_stands_in_front_of_the_preset_of_its_name() {
    let fleet = parse(with_sla("name: voice, max_rtt: 90ms").as_bytes()).unwrap();
    let voices: Vec<&SlaClass> =
        fleet.sla_classes.iter().filter(|class| class.name.as_str() == "voice").collect();
    assert_eq!(voices.len(), 1);
    assert_eq!((voices[0].max_rtt_us, voices[0].max_jitter_us), (Some(90_000), None));
}

#[test]
fn a_base_holds_for_every_field_that_is_not_written() {
    let voice = class(&with_sla(""), "voice");
    let own = class(&with_sla("name: own, base: voice, max_jitter: 20ms"), "own");
    assert_eq!(
        own,
        SlaClass { name: own.name.clone(), max_jitter_us: Some(20_000), ..voice.clone() }
    );
    let own = class(&with_sla("name: own, base: voice, max_jitter: none, max_rtt_ms: 250"), "own");
    assert_eq!((own.max_rtt_us, own.max_jitter_us), (Some(250_000), None));
    assert_eq!(own.max_loss_ppm, voice.max_loss_ppm);
    let bulk = class(&with_sla(""), "bulk");
    let own = class(&with_sla("name: own, base: bulk, loss_mended: 1min"), "own");
    assert_eq!(own.loss_mended_ms, Some(60_000));
    assert_eq!(own.loss_confidence_ppm, bulk.loss_confidence_ppm);
}

#[test]
fn limits_and_sensitivities_are_written_with_units() {
    let own = class(
        &with_sla(
            "name: own, max_rtt: 150ms, max_jitter: 0.5 ms, max_loss: 1%, loss_confidence: 99%, \
             loss_mended: 10s, delay_damage: 600ms, delay_mended: 0.5min",
        ),
        "own",
    );
    assert_eq!(own.max_rtt_us, Some(150_000));
    assert_eq!(own.max_jitter_us, Some(500));
    assert_eq!(own.max_loss_ppm, Some(10_000));
    assert_eq!(own.loss_confidence_ppm, Some(990_000));
    assert_eq!((own.loss_mended_ms, own.delay_damage_ms), (Some(10_000), Some(600)));
    assert_eq!(own.delay_mended_ms, Some(30_000));
    for (written, ppm) in [("250ppm", 250), ("0.025%", 250), ("100%", 1_000_000)] {
        let own = class(&with_sla(&format!("name: own, max_loss: {written}")), "own");
        assert_eq!(own.max_loss_ppm, Some(ppm), "{written}");
    }
}

#[test]
fn both_spellings_say_the_same() {
    let sla = "traffic_classes: [{name: default, sla: own}]\nfleet";
    let old = "name: own, max_rtt_ms: 150, max_jitter_ms: 30, max_loss_pct: 2.5";
    let new = "name: own, max_rtt: 150ms, max_jitter: 30ms, max_loss: 2.5%";
    let [old, new] = [old, new].map(|text| with_sla(text).replacen("fleet", sla, 1));
    assert_eq!(octets(&old), octets(&new));
    let [kbps, unit] = ["probe_budget_kbps: 20", "probe_budget: 20kbps"]
        .map(|budget| document("", "", "", &format!(", {budget}")));
    assert_eq!(octets(&kbps), octets(&unit));
}

#[test]
fn a_quantity_that_is_none_or_has_the_wrong_unit_is_a_fault() {
    check_sla(&[
        ("name: own, max_rtt: fast", "QUANTITY_INVALID", ".max_rtt"),
        ("name: own, max_rtt: \"\"", "QUANTITY_INVALID", ".max_rtt"),
        ("name: own, max_rtt: 1.2.3ms", "QUANTITY_INVALID", ".max_rtt"),
        ("name: own, max_rtt: infms", "QUANTITY_INVALID", ".max_rtt"),
        ("name: own, max_rtt: 150", "UNIT_MISSING", ".max_rtt"),
        ("name: own, max_rtt: \"150\"", "UNIT_MISSING", ".max_rtt"),
        ("name: own, max_rtt: 0.5", "UNIT_MISSING", ".max_rtt"),
        ("name: own, max_rtt: 150%", "UNIT_UNKNOWN", ".max_rtt"),
        ("name: own, max_rtt: 150msec", "UNIT_UNKNOWN", ".max_rtt"),
        ("name: own, max_rtt: 1e2ms", "UNIT_UNKNOWN", ".max_rtt"),
        ("name: own, max_rtt: [1ms]", "WRONG_TYPE", ".max_rtt"),
        ("name: own, max_loss: 1ms", "UNIT_UNKNOWN", ".max_loss"),
        ("name: own, max_loss: 1", "UNIT_MISSING", ".max_loss"),
    ]);
    let found = faults(&with_sla("name: own, max_rtt: 150mss"));
    assert_eq!(found[0].mend, "did you mean 150ms?");
}

#[test]
fn a_limit_of_zero_below_zero_or_beyond_reason_is_a_fault() {
    check_sla(&[
        ("name: own, max_rtt: 0ms", "SLA_LIMIT_ZERO", ".max_rtt"),
        ("name: own, max_rtt: 0.1us", "SLA_LIMIT_ZERO", ".max_rtt"),
        ("name: own, max_loss: 0%", "SLA_LIMIT_ZERO", ".max_loss"),
        ("name: own, max_rtt: -5ms", "OUT_OF_RANGE", ".max_rtt"),
        ("name: own, max_rtt: 61s", "OUT_OF_RANGE", ".max_rtt"),
        ("name: own, max_jitter: 2h", "OUT_OF_RANGE", ".max_jitter"),
        ("name: own, max_loss: 101%", "OUT_OF_RANGE", ".max_loss"),
        ("name: own, max_loss: 1%, loss_confidence: 50%", "OUT_OF_RANGE", ".loss_confidence"),
        ("name: own, max_loss: 1%, loss_confidence: 100%", "OUT_OF_RANGE", ".loss_confidence"),
        ("name: own, max_loss: 1%, loss_mended: 500ms", "OUT_OF_RANGE", ".loss_mended"),
        ("name: own, max_rtt: 9ms, delay_damage: 50ms", "OUT_OF_RANGE", ".delay_damage"),
        ("name: own, max_rtt: 9ms, delay_mended: 2h", "OUT_OF_RANGE", ".delay_mended"),
    ]);
    let found = faults(&with_sla("name: own, max_rtt: 9ms, delay_mended: 2h"));
    assert_eq!(found[0].mend, "choose a time from 1s to 1h");
}

#[test]
fn what_contradicts_itself_is_a_fault() {
    check_sla(&[
        ("name: own, max_rtt: 1ms, max_rtt_ms: 1", "FIELD_CONFLICT", ".max_rtt_ms"),
        ("name: own, max_jitter: 1ms, max_jitter_ms: 1", "FIELD_CONFLICT", ".max_jitter_ms"),
        ("name: own, max_loss: 1%, max_loss_pct: 1", "FIELD_CONFLICT", ".max_loss_pct"),
        ("name: own, base: voise", "UNKNOWN_PRESET", ".base"),
        ("name: own, base: 7", "WRONG_TYPE", ".base"),
        ("name: own", "SLA_WITHOUT_LIMIT", ""),
        ("name: own, base: bulk, max_loss: none", "SLA_WITHOUT_LIMIT", ""),
        ("name: own, max_rtt: none", "SLA_WITHOUT_LIMIT", ""),
        ("name: own, loss_mended: 9s", "SLA_WITHOUT_LIMIT", ""),
        ("name: own, max_rtt: 1ms, loss_mended: 9s", "SENSITIVITY_WITHOUT_LIMIT", ".loss_mended"),
        ("name: own, base: bulk, delay_damage: 9s", "SENSITIVITY_WITHOUT_LIMIT", ".delay_damage"),
        (
            "name: own, base: voice, max_loss: none, loss_confidence: 99%",
            "SENSITIVITY_WITHOUT_LIMIT",
            ".loss_confidence",
        ),
        (
            "name: own, base: voice, delay_damage: 5s, delay_mended: 4s",
            "MENDED_BEFORE_DAMAGE",
            ".delay_mended",
        ),
        // The default of delay_mended is 10 s.
        ("name: own, max_rtt: 9ms, delay_damage: 11s", "MENDED_BEFORE_DAMAGE", ".delay_damage"),
    ]);
    assert_eq!(faults(&with_sla("name: own, base: voise"))[0].mend, "did you mean \"voice\"?");
}

#[test]
fn modes_and_weights_reach_both_ends() {
    let cases = [
        ("mode: best", wire::ClassMode::Unspecified, wire::BalanceBy::Unspecified),
        ("mode: duplicate", wire::ClassMode::Duplicate, wire::BalanceBy::Unspecified),
        ("mode: balance", wire::ClassMode::Balance, wire::BalanceBy::Bandwidth),
        (
            "mode: balance, balance_by: bandwidth",
            wire::ClassMode::Balance,
            wire::BalanceBy::Bandwidth,
        ),
        ("mode: balance, balance_by: cost", wire::ClassMode::Balance, wire::BalanceBy::Cost),
    ];
    for (written, mode, balance_by) in cases {
        let document = document("", "", &format!("name: default, {written}"), "");
        for config in compiled(&document).values() {
            let class = &config.traffic_classes[0];
            assert_eq!((class.mode(), class.balance_by()), (mode, balance_by), "{written}");
        }
    }
}

#[test]
fn modes_that_can_not_be_are_faults() {
    let at = |field| format!("traffic_classes[0].{field}");
    for (written, code, field) in [
        ("mode: blance", "UNKNOWN_WORD", "mode"),
        ("mode: [best]", "WRONG_TYPE", "mode"),
        ("balance_by: cost", "BALANCE_BY_UNUSED", "balance_by"),
        ("mode: best, balance_by: cost", "BALANCE_BY_UNUSED", "balance_by"),
        ("mode: duplicate, balance_by: cost", "BALANCE_BY_UNUSED", "balance_by"),
        ("mode: balance, balance_by: load", "UNKNOWN_WORD", "balance_by"),
    ] {
        let found = faults(&document("", "", &format!("name: default, {written}"), ""));
        assert_eq!(places(&found), [(code, &*at(field))], "{written}");
    }
    let found = faults(&document("", "", "name: default, mode: blance", ""));
    assert_eq!(found[0].mend, "did you mean \"balance\"?");
}

#[test]
fn an_uplinks_use_is_known_at_both_ends() {
    let cases = [
        ("", wire::UplinkUse::Unspecified),
        (", use: normal", wire::UplinkUse::Unspecified),
        (", metered: true", wire::UplinkUse::Standby),
        (", metered: true, use: normal", wire::UplinkUse::Unspecified),
        (", metered: true, use: last-resort", wire::UplinkUse::LastResort),
        (", use: standby", wire::UplinkUse::Standby),
    ];
    for (written, usage) in cases {
        let configs = compiled(&document("", "", "", written));
        let own = configs["hq-1"].uplinks.iter().find(|uplink| uplink.name == "isp-b").unwrap();
        let at_peer = &configs["b1-1"].tunnels[0].peer_uplinks;
        let seen = at_peer.iter().find(|uplink| uplink.name == "isp-b").unwrap();
        assert_eq!((own.r#use(), seen.r#use()), (usage, usage), "{written}");
    }
    let configs = compiled(&document("", "", "", ", drain: true"));
    assert!(configs["hq-1"].uplinks.iter().any(|uplink| uplink.drained));
    assert!(configs["b1-1"].tunnels[0].peer_uplinks.iter().any(|uplink| uplink.drained));
}

#[test]
fn uplinks_and_profiles_are_held_to_bounds() {
    let uplink = "sites[0].edges[0].uplinks[1]";
    for (written, code, field) in [
        ("use: last_resort", "UNKNOWN_WORD", "use"),
        ("drain: yes", "WRONG_TYPE", "drain"),
        ("probe_budget: 20", "UNIT_MISSING", "probe_budget"),
        ("probe_budget: 20kBps2", "UNIT_UNKNOWN", "probe_budget"),
        ("probe_budget: 0kbps", "OUT_OF_RANGE", "probe_budget"),
        ("probe_budget: 2Gbps", "OUT_OF_RANGE", "probe_budget"),
        ("probe_budget: 1Mbps, probe_budget_kbps: 9", "FIELD_CONFLICT", "probe_budget_kbps"),
    ] {
        let found = faults(&document("", "", "", &format!(", {written}")));
        assert_eq!(places(&found), [(code, &*format!("{uplink}.{field}"))], "{written}");
    }
    for written in ["2", "21", "0", "many"] {
        let found =
            faults(&document("", &format!("name: fast, down_after_probes: {written}"), "", ""));
        assert_eq!(found.len(), 1, "{written}");
        assert_eq!(found[0].path, "tunnel_profiles[0].down_after_probes");
    }
    let document =
        document("", "name: standard, down_after_probes: 3", "", ", probe_budget: 20kbps");
    let configs = compiled(&document);
    let profile = configs["hq-1"].tunnels[0].profile.as_ref().unwrap();
    assert_eq!(profile.down_after_probes, 3);
    let budgets: Vec<u64> =
        configs["hq-1"].uplinks.iter().map(|uplink| uplink.probe_budget_bytes_per_s).collect();
    assert_eq!(budgets, [0, 2_500]);
}

#[test]
fn what_is_as_usual_changes_no_configuration() {
    let plain = octets(&document("", "", "", ""));
    for (class, uplink) in [
        ("name: default, mode: best", ""),
        ("", ", use: normal, drain: false"),
        // Declared, but named by no class.
        ("", ", metered: false"),
    ] {
        assert_eq!(plain, octets(&document("name: own, base: voice", "", class, uplink)));
    }
    // What a peer can receive is no matter of this edge, until it must weigh by it.
    let down = ", bandwidth_down_mbps: 50";
    let at_peer = |document: &str| {
        compiled(document)["b1-1"].tunnels[0]
            .peer_uplinks
            .iter()
            .map(|u| u.bandwidth_down_kbps)
            .max()
    };
    assert_eq!(at_peer(&document("", "", "", down)), Some(0));
    assert_eq!(at_peer(&document("", "", "name: default, mode: balance", down)), Some(50_000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever is written for a quantity, there is a value or one fault at its place, and never a panic.
    #[test]
    fn any_text_for_a_quantity_is_a_value_or_a_fault(
        text in "[ -!#-\\[\\]-~]{0,12}",
        key in prop::sample::select(vec!["max_rtt", "max_loss", "loss_confidence", "delay_mended"]),
    ) {
        let found = faults(&with_sla(&format!("name: own, base: voice, {key}: \"{text}\"")));
        for fault in &found {
            prop_assert_eq!(&fault.path, &format!("{AT}.{key}"));
        }
        prop_assert!(found.len() <= 1);
    }

    /// What is written with units is what the agent gets.
    #[test]
    fn quantities_reach_the_agent_as_they_are_written(
        rtt_ms in 1u32..=60_000,
        loss_ppm in 1u32..=1_000_000,
        confidence_ppm in 900_000u32..=999_900,
        damage_ms in 100u32..=60_000,
        extra_ms in 0u32..=3_000_000,
        usage in prop::sample::select(vec!["normal", "standby", "last-resort"]),
        mode in prop::sample::select(vec!["best", "balance", "duplicate"]),
        budget_kbps in 1u32..=1_000_000,
    ) {
        let mended_ms = (damage_ms + extra_ms).max(1_000);
        let sla = format!(
            "name: own, max_rtt: {rtt_ms}ms, max_loss: {loss_ppm}ppm, \
             loss_confidence: {confidence_ppm} ppm, delay_damage: {damage_ms}ms, \
             delay_mended: {mended_ms}ms"
        );
        let class = format!("name: default, sla: own, mode: {mode}");
        let uplink = format!(", use: {usage}, probe_budget: {budget_kbps}kbps");
        for config in compiled(&document(&sla, "", &class, &uplink)).values() {
            let state = hawser_edge_core::config::decode(config).unwrap();
            let limits = state.sla_classes["own"];
            prop_assert_eq!(limits.max_rtt_us, rtt_ms * 1_000);
            prop_assert_eq!(limits.max_loss_ppm, loss_ppm);
            prop_assert_eq!(limits.sensitivity.loss_confidence_ppm, confidence_ppm);
            prop_assert_eq!(limits.sensitivity.delay_damage_ms, damage_ms);
            prop_assert_eq!(limits.sensitivity.delay_mended_ms, mended_ms);
            if let Some(uplink) = state.uplinks.values().find(|uplink| uplink.name == "isp-b") {
                prop_assert_eq!(uplink.probe_budget_bytes_per_s, u64::from(budget_kbps) * 125);
            }
        }
    }
}
