//! Tables for people, JSON for programs.

use crate::lab::Status;
use crate::wan::{DirectionStatus, Settings};
use std::collections::BTreeMap;

pub(super) fn names(names: &[String], json: bool) {
    if json {
        print_json(&BTreeMap::from([("labs", names)]));
    } else if names.is_empty() {
        println!("No lab runs here.");
    } else {
        names.iter().for_each(|name| println!("{name}"));
    }
}

pub(super) fn status(status: &Status, json: bool) {
    if json {
        return print_json(status);
    }
    println!("{}: topology {}, supervisor {}", status.name, status.topology, status.pid);
    let mut nodes = table(&["node", "kind", "interfaces", "programs"]);
    for (name, node) in &status.nodes {
        let kind = format!("{:?}", node.kind).to_lowercase();
        let interfaces = node.addresses.iter().map(|(interface, addresses)| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{interface} {}", addresses.join(" "))
        });
        let interfaces: Vec<String> = interfaces.collect();
        let programs = node.processes.iter().map(|process| process.argv.join(" "));
        let programs: Vec<String> = programs.collect();
        nodes.add_row([name.clone(), kind, interfaces.join("\n"), programs.join("\n")]);
    }
    let mut links = table(&["link", "ends", "a → b", "b → a", "frames", "drops"]);
    for (name, [a, b]) in &status.ends {
        let ends = format!("{a}\n{b}");
        let Some(lanes) = status.links.get(name) else {
            links.add_row([name, &ends, "cable", "cable", "", ""]);
            continue;
        };
        let [forth, back] = lanes.each_ref().map(|lane| faults(&lane.settings));
        let both =
            |of: fn(&DirectionStatus) -> u64| format!("{}\n{}", of(&lanes[0]), of(&lanes[1]));
        let frames = both(|lane| lane.counters.frames_in);
        let drops = both(|lane| lane.counters.drops.total());
        links.add_row([name, &ends, &forth, &back, &frames, &drops]);
    }
    println!("{nodes}\n{links}");
}

/// What differs from a clean link, as the words that would make it so.
fn faults(settings: &Settings) -> String {
    let clean = serde_json::to_value(Settings::default()).unwrap_or_default();
    let now = serde_json::to_value(settings).unwrap_or_default();
    let differing =
        now.as_object().into_iter().flatten().filter(|(key, value)| clean[key] != **value);
    let words: Vec<String> = differing.map(|(key, value)| format!("{key}={value}")).collect();
    if words.is_empty() { "clean".to_owned() } else { words.join("\n") }
}

fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

fn print_json<T: serde::Serialize>(value: &T) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("hawser-lab: {error}"),
    }
}
