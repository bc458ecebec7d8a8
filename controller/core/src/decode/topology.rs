//! Topologies.

use super::{Fields, Place, Reader};
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::{Members, ProfileName, SiteName, Topology, TopologyKind, TunnelProfile};
use crate::limits;
use crate::names::{FLEET, Kind};

#[derive(Clone, Copy)]
enum Word {
    HubSpoke,
    FullMesh,
    Partial,
}

const WORDS: [(&str, Word); 3] =
    [("hub-spoke", Word::HubSpoke), ("full-mesh", Word::FullMesh), ("partial", Word::Partial)];

pub(super) const ALL_FIELDS: &[&str] =
    &["kind", "name", "profile", "hubs", "spokes", "sites", "pairs"];

pub(super) fn topology(reader: &mut Reader, node: &Node, place: &Place<'_>) -> Topology {
    let word = kind_of(node);
    let known: &[&str] = match word {
        Some(Word::HubSpoke) => &["kind", "name", "profile", "hubs", "spokes"],
        Some(Word::FullMesh) => &["kind", "name", "profile", "sites"],
        Some(Word::Partial) => &["kind", "name", "profile", "pairs"],
        None => ALL_FIELDS,
    };
    let fields = reader.fields(node, place, known);
    let name = reader.optional_label(&fields, "name");
    if let Some(name) = &name {
        reader.names.declare(&mut reader.faults, Kind::Topology, FLEET, name, fields.at("name"));
    }
    let profile = reader.reference_field(&fields, "profile", Kind::TunnelProfile);
    let profile = profile.unwrap_or_else(|| TunnelProfile::STANDARD.to_owned());
    let kind = match word {
        Some(Word::HubSpoke) => hub_spoke(reader, &fields, place),
        Some(Word::FullMesh) => full_mesh(reader, &fields, place),
        Some(Word::Partial) => partial(reader, &fields, place),
        None => {
            if fields.get("kind").is_none() {
                reader.missing(&fields, "kind");
            }
            // Says what is wrong with the word.
            let _ = reader.word(&fields, "kind", &WORDS);
            TopologyKind::Partial { pairs: Vec::new() }
        }
    };
    Topology { name, kind, profile: ProfileName::new(profile) }
}

fn kind_of(node: &Node) -> Option<Word> {
    let Node::Map(entries) = node else { return None };
    let (_, Node::Text(text)) = entries.iter().find(|(key, _)| key == "kind")? else {
        return None;
    };
    WORDS.iter().find(|(word, _)| word == text).map(|(_, kind)| *kind)
}

fn hub_spoke(reader: &mut Reader, fields: &Fields<'_>, place: &Place<'_>) -> TopologyKind {
    let max = limits::MAX_HUBS_PER_TOPOLOGY;
    let scope = format!("{place}/hubs");
    let hubs = reader.list(fields, "hubs", max, |reader, node, at| {
        let name = reader.reference(node, at, Kind::Site).unwrap_or_default();
        reader.names.declare(&mut reader.faults, Kind::Member, &scope, &name, at);
        SiteName::new(name)
    });
    if fields.get("hubs").is_none_or(|node| *node == Node::List(Vec::new())) {
        let mend = "add `hubs: [PRIMARY, BACKUP]`";
        reader.faults.add(code::HUB_MISSING, fields.at("hubs"), "there is no hub", mend);
    }
    let spokes = members(reader, fields, place, "spokes");
    if let Members::Listed(spokes) = &spokes {
        let list = fields.at("spokes");
        for (index, spoke) in spokes.iter().enumerate() {
            if hubs.contains(spoke) && !spoke.as_str().is_empty() {
                let message = format!("{} is a hub of this topology", quote(spoke.as_str()));
                let at = Place::Item(&list, index);
                let mend = "remove it here: hubs have tunnels among themselves anyway";
                reader.faults.add(code::HUB_IS_SPOKE, at, message, mend);
            }
        }
    }
    TopologyKind::HubSpoke { hubs, spokes }
}

fn full_mesh(reader: &mut Reader, fields: &Fields<'_>, place: &Place<'_>) -> TopologyKind {
    TopologyKind::FullMesh { sites: members(reader, fields, place, "sites") }
}

/// `all`, which is also what absence says, or a list.
fn members(reader: &mut Reader, fields: &Fields<'_>, place: &Place<'_>, key: &str) -> Members {
    match fields.get(key) {
        None => return Members::All,
        Some(Node::Text(word)) if word == "all" => return Members::All,
        Some(Node::Text(word)) => {
            let message = format!("{} can't stand here", quote(word));
            let mend = "write all, or a list of sites";
            reader.faults.add(code::UNKNOWN_WORD, fields.at(key), message, mend);
            return Members::All;
        }
        Some(_) => {}
    }
    let scope = format!("{place}/{key}");
    let sites = reader.list(fields, key, limits::MAX_SITES, |reader, node, at| {
        let name = reader.reference(node, at, Kind::Site).unwrap_or_default();
        reader.names.declare(&mut reader.faults, Kind::Member, &scope, &name, at);
        SiteName::new(name)
    });
    Members::Listed(sites)
}

fn partial(reader: &mut Reader, fields: &Fields<'_>, place: &Place<'_>) -> TopologyKind {
    let max = limits::MAX_PAIRS_PER_TOPOLOGY;
    let scope = format!("{place}/pairs");
    let pairs = reader.list(fields, "pairs", max, |reader, node, at| {
        let (a, b) = reader.pair(node, at, Kind::Site)?;
        if a == b {
            let message = format!("{} is paired with itself", quote(&a));
            reader.faults.add(code::PAIR_INVALID, at, message, "name two sites");
            return None;
        }
        let both = if a <= b { format!("{a}/{b}") } else { format!("{b}/{a}") };
        reader.names.declare(&mut reader.faults, Kind::Member, &scope, &both, at);
        Some((SiteName::new(a), SiteName::new(b)))
    });
    if fields.get("pairs").is_none_or(|node| *node == Node::List(Vec::new())) {
        let mend = "add `pairs: [[A, B]]`";
        let at = fields.at("pairs");
        reader.faults.add(code::TOPOLOGY_TOO_SMALL, at, "the topology joins nothing", mend);
    }
    TopologyKind::Partial { pairs: pairs.into_iter().flatten().collect() }
}
