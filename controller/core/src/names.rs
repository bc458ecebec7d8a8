//! Names that a document declares and refers to. A name twice and a name unknown are both faults.

use std::collections::BTreeMap;

use crate::fault::{Faults, code, quote};
use crate::limits::MAX_SUGGESTIONS;
use crate::nearest::nearest;

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Site,
    Edge,
    Uplink,
    IkeTunnel,
    ManualTunnel,
    Segment,
    SlaClass,
    TrafficClass,
    TunnelProfile,
    Topology,
    Transport,
    Lan,
    Interface,
    Prefix,
    Address,
    Member,
    Value,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Site => "site",
            Kind::Edge => "edge",
            Kind::Uplink => "uplink",
            Kind::IkeTunnel => "IKE tunnel",
            Kind::ManualTunnel => "manual tunnel",
            Kind::Segment => "segment",
            Kind::SlaClass => "SLA class",
            Kind::TrafficClass => "traffic class",
            Kind::TunnelProfile => "tunnel profile",
            Kind::Topology => "topology",
            Kind::Transport => "transport",
            Kind::Lan => "LAN",
            Kind::Interface => "interface",
            Kind::Prefix => "prefix",
            Kind::Address => "address",
            Kind::Member => "member",
            Kind::Value => "value",
        }
    }

    fn twice(self) -> &'static str {
        match self {
            Kind::Site => code::DUPLICATE_SITE,
            Kind::Edge => code::DUPLICATE_EDGE,
            Kind::Uplink => code::DUPLICATE_UPLINK,
            Kind::IkeTunnel => code::DUPLICATE_IKE_TUNNEL,
            Kind::ManualTunnel => code::DUPLICATE_MANUAL_TUNNEL,
            Kind::Segment => code::DUPLICATE_SEGMENT,
            Kind::SlaClass => code::DUPLICATE_SLA_CLASS,
            Kind::TrafficClass => code::DUPLICATE_TRAFFIC_CLASS,
            Kind::TunnelProfile => code::DUPLICATE_TUNNEL_PROFILE,
            Kind::Topology => code::DUPLICATE_TOPOLOGY,
            Kind::Lan => code::DUPLICATE_LAN,
            Kind::Interface => code::INTERFACE_CLASH,
            Kind::Prefix => code::DUPLICATE_PREFIX,
            Kind::Address => code::ADDRESS_CLASH,
            Kind::Member => code::DUPLICATE_MEMBER,
            Kind::Transport | Kind::Value => code::DUPLICATE_VALUE,
        }
    }

    fn unknown(self) -> &'static str {
        match self {
            Kind::Site => code::UNKNOWN_SITE,
            Kind::Uplink => code::UNKNOWN_UPLINK,
            Kind::Segment => code::UNKNOWN_SEGMENT,
            Kind::SlaClass => code::UNKNOWN_SLA_CLASS,
            Kind::TunnelProfile => code::UNKNOWN_TUNNEL_PROFILE,
            Kind::Transport => code::UNKNOWN_TRANSPORT,
            other => unreachable!("nothing refers to a {}", other.word()),
        }
    }
}

#[derive(Debug)]
struct Reference {
    kind: Kind,
    name: String,
    path: String,
}

/// The scope in which names of the whole fleet stand.
pub(crate) const FLEET: &str = "";

/// What was declared, by kind and scope, and what was referred to.
#[derive(Debug, Default)]
pub(crate) struct Names {
    declared: BTreeMap<(Kind, String), BTreeMap<String, String>>,
    references: Vec<Reference>,
}

impl Names {
    /// Declares a name that must be unique in its scope. False, and a fault, if it is not. An empty name is never
    /// declared: it stands for one that could not be read.
    pub fn declare(
        &mut self,
        faults: &mut Faults,
        kind: Kind,
        scope: &str,
        name: &str,
        path: impl std::fmt::Display,
    ) -> bool {
        if name.is_empty() {
            return true;
        }
        let names = self.declared.entry((kind, scope.to_owned())).or_default();
        if let Some(first) = names.get(name) {
            let message = format!("{} {} is already used at {first}", kind.word(), quote(name));
            faults.add(kind.twice(), path, message, "keep one of them, or give this one another");
            return false;
        }
        names.insert(name.to_owned(), path.to_string());
        true
    }

    /// Declares a name that may come several times.
    pub fn note(&mut self, kind: Kind, name: &str) {
        let names = self.declared.entry((kind, FLEET.to_owned())).or_default();
        if !names.contains_key(name) {
            names.insert(name.to_owned(), String::new());
        }
    }

    /// Refers to a name of the fleet, declared before or after.
    pub fn refer(&mut self, kind: Kind, name: &str, path: impl std::fmt::Display) {
        if !name.is_empty() {
            let (name, path) = (name.to_owned(), path.to_string());
            self.references.push(Reference { kind, name, path });
        }
    }

    /// Reports every reference to what was not declared.
    pub fn resolve(&mut self, faults: &mut Faults) {
        let mut suggestions = 0;
        let none = BTreeMap::new();
        for Reference { kind, name, path } in self.references.drain(..) {
            let names = self.declared.get(&(kind, FLEET.to_owned())).unwrap_or(&none);
            if names.contains_key(&name) {
                continue;
            }
            suggestions += 1;
            let meant = (suggestions <= MAX_SUGGESTIONS)
                .then(|| nearest(&name, names.keys().map(String::as_str)))
                .flatten();
            let mend = match meant {
                Some(meant) => format!("did you mean {}?", quote(meant)),
                None if names.is_empty() => format!("declare a {} first", kind.word()),
                None => format!("declare it, or name a {} that exists", kind.word()),
            };
            let message = format!("there is no {} {}", kind.word(), quote(&name));
            faults.add(kind.unknown(), path, message, mend);
        }
    }
}
