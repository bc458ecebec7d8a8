use std::collections::BTreeSet;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::json_schema;
use crate::decode::MAPPINGS;
use crate::{Fault, code, parse};

const VALID: [&str; 2] =
    [include_str!("../../testdata/demo.yaml"), include_str!("../../testdata/regions.yaml")];
const FAULTY: &str = include_str!("../../testdata/faulty.yaml");
const REFERENCE: &str = include_str!("../../../../docs/REFERENCE.md");

/// A document with every field, so that each can be changed by itself.
fn everything() -> Value {
    json!({
        "fleet": "acme",
        "segments": [{"name": "main"}],
        "transports": {"pairs": [["internet", "internet"]]},
        "controllers": ["203.0.113.10:7443"],
        "fabric_port": 4510,
        "sla_classes": [{"name": "a", "max_rtt_ms": 10, "max_jitter_ms": 10, "max_loss_pct": 1}],
        "tunnel_profiles": [
            {"name": "p", "suite": "aes-128-gcm", "probe_interval_ms": 20},
            {"name": "q", "suite": "aes-128-cbc-sha256-128"},
        ],
        "traffic_classes": [
            {"name": "c", "match": [{"dscp": [1], "protocol": [6], "source_ports": [1]}], "mode": "balance"},
        ],
        "sites": [
            {"name": "x", "lans": [{"interface": "l0", "prefixes": ["10.0.0.0/24"]}],
             "edges": [{
                 "name": "x-1", "uplinks": [{"name": "u", "addresses": ["192.0.2.1"]}],
                 "ike_tunnels": [{
                     "name": "t", "peer_addresses": ["192.0.2.9"], "local_id": "x.example",
                     "psk": "t", "remote_prefixes": ["10.9.0.0/24"],
                     "probe": {"by": "stamp"},
                 }],
                 "manual_tunnels": [{
                     "name": "m", "peer_address": "192.0.2.8", "profile": "q",
                     "remote_prefixes": ["10.8.0.0/24"],
                     "inbound": {"spi": 256, "key": "m-in"}, "outbound": {"spi": 256, "key": "m-out"},
                 }],
             }]},
            {"name": "y", "edges": [{"uplinks": [{"name": "u"}]}]},
        ],
        "topologies": [{"kind": "full-mesh"}],
    })
}

fn validator() -> Validator {
    jsonschema::validator_for(&json_schema()).expect("a schema")
}

/// The document's tree as JSON, as far as JSON can say it.
fn tree(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).expect("a tree")
}

fn faults(document: &Value) -> Vec<Fault> {
    parse(document.to_string().as_bytes()).err().unwrap_or_default()
}

/// Every object of the schema under the path that the reference uses, with its properties.
fn mappings(schema: &Value, path: &str, found: &mut Vec<(String, String, Value)>) {
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, property) in properties {
            found.push((path.to_owned(), name.clone(), property.clone()));
            let under = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            mappings(property, &under, found);
        }
    }
    if let Some(items) = schema.get("items") {
        mappings(items, &format!("{path}[]"), found);
    }
    for variant in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        mappings(variant, path, found);
    }
}

fn all_properties() -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    mappings(&json_schema(), "", &mut found);
    found
}

#[test]
fn the_schema_has_the_fields_of_the_decoder_and_no_others() {
    let found = all_properties();
    for (mapping, fields) in MAPPINGS {
        let mapping = if *mapping == "fleet.yaml" { "" } else { mapping };
        let told: BTreeSet<&str> = found
            .iter()
            .filter(|(path, ..)| path == mapping)
            .map(|(_, name, _)| name.as_str())
            .collect();
        assert_eq!(told, fields.iter().copied().collect(), "{mapping}");
    }
    let known: BTreeSet<&str> = MAPPINGS.iter().map(|(mapping, _)| *mapping).collect();
    assert!(found.iter().all(|(path, ..)| path.is_empty() || known.contains(path.as_str())));
}

/// The field of `everything`, by its path in the schema.
fn field<'a>(document: &'a mut Value, path: &str, name: &str) -> (&'a mut Value, String) {
    let (mut at, mut place) = (document, String::new());
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let plain = step.trim_end_matches("[]");
        place = if place.is_empty() { plain.to_owned() } else { format!("{place}.{plain}") };
        at = &mut at[plain];
        if step.ends_with("[]") {
            at = &mut at[0];
            place.push_str("[0]");
        }
    }
    let place = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    (&mut at[name], place)
}

/// Both say the same of one field with this value.
fn agree(validator: &Validator, path: &str, name: &str, value: &Value, allowed: bool) {
    let mut document = everything();
    let (at, place) = field(&mut document, path, name);
    *at = value.clone();
    let faults = faults(&document);
    // That an old suite needs a waiver is no matter of its name.
    let here = faults.iter().any(|fault| fault.path == place && fault.code != code::WAIVER_MISSING);
    assert_eq!(!here, allowed, "decoder: {place} = {value}: {faults:?}");
    assert_eq!(validator.is_valid(&document), allowed, "schema: {place} = {value}");
}

/// The schemas that a property may have, without that of nothing.
fn alternatives(property: &Value) -> Vec<&Value> {
    match property.get("anyOf").and_then(Value::as_array) {
        Some(variants) => variants.iter().flat_map(alternatives).collect(),
        None => vec![property],
    }
}

#[test]
fn numbers_have_the_bounds_of_the_decoder() {
    let validator = validator();
    let mut checked = 0;
    for (path, name, property) in all_properties() {
        let variants = alternatives(&property);
        let Some(range) = variants.iter().find(|v| v.get("minimum").is_some()) else { continue };
        let bound = |key| range[key].as_f64().unwrap();
        let (least, most) = (bound("minimum"), bound("maximum"));
        let step = if range["type"] == "integer" { 1.0 } else { 0.5 };
        let value = |number: f64| {
            if range["type"] == "integer" { json!(number as i64) } else { json!(number) }
        };
        for (number, allowed) in [(least - step, false), (most, true), (most + step, false)] {
            agree(&validator, &path, &name, &value(number), allowed);
        }
        // No limit of zero can be met, which the decoder says in words of its own.
        if !name.starts_with("max_") {
            agree(&validator, &path, &name, &value(least), true);
        }
        agree(&validator, &path, &name, &json!("word"), false);
        checked += 1;
    }
    assert!(checked >= 16, "{checked}");
}

#[test]
fn words_are_those_of_the_decoder() {
    let validator = validator();
    let mut checked = 0;
    for (path, name, property) in all_properties() {
        // Those of topologies depend on their kind.
        if path == "topologies[]" || name == "base" {
            continue;
        }
        let variants = alternatives(&property);
        let Some(words) = variants.iter().find_map(|v| v.get("enum")) else { continue };
        for word in words.as_array().unwrap() {
            // `none` may take the last limit of a class away, and `warm` needs two uplinks: other faults.
            if word != "none" && word != "warm" {
                agree(&validator, &path, &name, word, true);
            }
        }
        agree(&validator, &path, &name, &json!("nonsense"), false);
        agree(&validator, &path, &name, &json!(7), false);
        checked += 1;
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn examples_that_can_be_applied_are_valid_and_the_faulty_one_is_not() {
    let validator = validator();
    let blocks = REFERENCE.split("```yaml\n").skip(1).map(|b| b.split("```").next().unwrap());
    for document in VALID.into_iter().chain(blocks) {
        let errors: Vec<String> = validator
            .iter_errors(&tree(document))
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new());
    }
    assert!(!validator.is_valid(&tree(FAULTY)));
}

/// What a schema can see too.
const SHAPE: [&str; 4] =
    [code::UNKNOWN_FIELD, code::WRONG_TYPE, code::UNKNOWN_WORD, code::MISSING_FIELD];

/// One change somewhere in the tree: another value, one field less, one more.
fn mutate(value: &mut Value, mut at: usize, how: &Value, less: bool) {
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(fields) => fields.values().map(count).sum(),
            _ => 0,
        }
    }
    at %= count(value);
    if at == 0 {
        match value {
            Value::Object(fields) if less => {
                let first = fields.keys().next().cloned();
                first.map(|key| fields.remove(&key));
            }
            Value::Object(fields) => {
                fields.insert("extra".into(), how.clone());
            }
            _ => *value = how.clone(),
        }
        return;
    }
    at -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => return,
    };
    for child in children {
        let size = count(child);
        if at < size {
            return mutate(child, at, how, less);
        }
        at -= size;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_the_schema_refuses_the_decoder_refuses_and_what_has_a_wrong_shape_both_refuse(
        which in 0_usize..3,
        at in 0_usize..400,
        less in any::<bool>(),
        how in prop_oneof![
            Just(json!(null)), Just(json!(true)), Just(json!(-1)), Just(json!(1.5)), Just(json!(70_000)),
            Just(json!("word")), Just(json!("Not A Name")), Just(json!([])), Just(json!({})),
            Just(json!(["a"])), Just(json!("10ms")), Just(json!("10.0.0.0/8")),
        ],
    ) {
        let mut document = match which {
            0 => everything(),
            n => tree(VALID[n - 1]),
        };
        mutate(&mut document, at, &how, less);
        let faults = faults(&document);
        let valid = validator().is_valid(&document);
        prop_assert!(valid || !faults.is_empty(), "only the schema refuses {document}");
        let shape = faults.iter().any(|fault| SHAPE.contains(&fault.code));
        prop_assert!(!shape || !valid, "only the decoder refuses {document}: {faults:?}");
    }
}
