//! What is allowed, and yet should be known: findings, not faults.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Graph, hubs};
use crate::intent::{Edge, Fleet, Site, TopologyKind, UplinkUse};

/// A class is not called unmet before it was watched for so long.
pub const WATCHED_AT_LEAST_MS: u64 = 10 * 60 * 1_000;
const DAY_MS: u64 = 86_400_000;

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Stable, upper case; one of [`CODES`].
    pub code: &'static str,
    /// What it is about: a site, an edge, a profile, a tunnel and class.
    pub subject: String,
    pub message: String,
    pub mend: String,
}

pub const SINGLE_UPLINK: &str = "SINGLE_UPLINK";
pub const SINGLE_PROVIDER: &str = "SINGLE_PROVIDER";
pub const HUB_WITHOUT_BACKUP: &str = "HUB_WITHOUT_BACKUP";
pub const SLA_NEVER_MET: &str = "SLA_NEVER_MET";
pub const SUITE_WEAK: &str = "SUITE_WEAK";
pub const MANUAL_KEYS: &str = "MANUAL_KEYS";
pub const SITE_ALONE: &str = "SITE_ALONE";
pub const CODES: [&str; 7] = [
    SINGLE_UPLINK,
    SINGLE_PROVIDER,
    HUB_WITHOUT_BACKUP,
    SLA_NEVER_MET,
    SUITE_WEAK,
    MANUAL_KEYS,
    SITE_ALONE,
];

/// What was heard of one SLA class on the paths of one tunnel, from one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub edge: String,
    pub peer_edge: String,
    pub sla: String,
    pub since_unix_ms: u64,
    /// When a path met it last; none: not since then.
    pub last_met_unix_ms: Option<u64>,
}

/// Everything to know about the fleet as the document has it, sorted.
pub fn lint(fleet: &Fleet, watched: &[Watched], now_unix_ms: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    for site in &fleet.sites {
        site.edges.iter().for_each(|edge| uplinks(site, edge, &mut found));
        site.edges.iter().for_each(|edge| manual_keys(edge, &mut found));
    }
    lonely_hubs(fleet, &mut found);
    suites(fleet, &mut found);
    alone(fleet, &mut found);
    never_met(fleet, watched, now_unix_ms, &mut found);
    found.sort();
    found.dedup();
    found
}

fn uplinks(site: &Site, edge: &Edge, found: &mut Vec<Finding>) {
    let usable: Vec<_> = edge.uplinks.iter().filter(|u| !u.drained).collect();
    // Another device of the site may carry on.
    if site.edges.len() > 1 {
        return;
    }
    if usable.len() == 1 {
        found.push(Finding {
            code: SINGLE_UPLINK,
            subject: edge.name.to_string(),
            message: format!(
                "all traffic of {} goes over one uplink, {}",
                site.name, usable[0].name
            ),
            mend: "add an uplink of another provider: LTE will do as `use: standby`".to_owned(),
        });
        return;
    }
    let providers: BTreeSet<&str> = usable.iter().map(|u| u.provider.as_str()).collect();
    let spare = usable.iter().any(|u| u.usage != UplinkUse::Normal);
    if providers.len() == 1 && !spare {
        found.push(Finding {
            code: SINGLE_PROVIDER,
            subject: edge.name.to_string(),
            message: format!(
                "every uplink of {} is of the provider {}",
                site.name, usable[0].provider
            ),
            mend: "what fails at a provider fails together: add one of another".to_owned(),
        });
    }
}

/// Always: nobody renews them, and nothing tells a packet from its copy.
fn manual_keys(edge: &Edge, found: &mut Vec<Finding>) {
    for tunnel in &edge.manual_tunnels {
        found.push(Finding {
            code: MANUAL_KEYS,
            subject: format!("{}, {}", edge.name, tunnel.name),
            message:
                "its keys never change: who gets them reads all that was ever sent, and whoever \
                      records packets can send them again"
                    .to_owned(),
            mend: "use `ike_tunnels` if the device speaks IKE; else change the keys regularly"
                .to_owned(),
        });
    }
}

fn lonely_hubs(fleet: &Fleet, found: &mut Vec<Finding>) {
    let edges: BTreeMap<&str, usize> =
        fleet.sites.iter().map(|site| (site.name.as_str(), site.edges.len())).collect();
    for topology in &fleet.topologies {
        let TopologyKind::HubSpoke { hubs, .. } = &topology.kind else { continue };
        let [hub] = hubs.as_slice() else { continue };
        if edges.get(hub.as_str()).copied().unwrap_or(0) > 1 {
            continue;
        }
        let name = topology.name.as_deref().unwrap_or("without a name");
        found.push(Finding {
            code: HUB_WITHOUT_BACKUP,
            subject: hub.to_string(),
            message: format!("{hub} is the only hub of the topology {name}, with one device"),
            mend: "add a second hub to `hubs`, or a second edge to the site".to_owned(),
        });
    }
}

fn suites(fleet: &Fleet, found: &mut Vec<Finding>) {
    for profile in &fleet.tunnel_profiles {
        if profile.suite.requires_waiver() {
            let until = profile.waiver.as_ref().map(|waiver| waiver.until.to_string());
            let until = until.unwrap_or_else(|| "an unknown day".to_owned());
            found.push(Finding {
                code: SUITE_WEAK,
                subject: profile.name.to_string(),
                message: format!(
                    "its suite {} is for old peers only; its waiver ends on {until}",
                    profile.suite.name()
                ),
                mend: "take an AES-GCM suite as soon as the peers can".to_owned(),
            });
        }
    }
}

fn alone(fleet: &Fleet, found: &mut Vec<Finding>) {
    let graph = Graph::new(fleet);
    let hubs: BTreeSet<usize> = hubs(fleet).into_iter().collect();
    for (index, site) in fleet.sites.iter().enumerate() {
        if graph.neighbours(index).is_empty() && !hubs.contains(&index) {
            found.push(Finding {
                code: SITE_ALONE,
                subject: site.name.to_string(),
                message: format!("no topology joins {} with another site", site.name),
                mend: "add it to a topology".to_owned(),
            });
        }
    }
}

fn never_met(fleet: &Fleet, watched: &[Watched], now: u64, found: &mut Vec<Finding>) {
    let used: BTreeSet<&str> = fleet
        .traffic_classes
        .iter()
        .filter_map(|class| class.sla.as_ref())
        .map(|s| s.as_str())
        .collect();
    for watch in watched.iter().filter(|watch| used.contains(watch.sla.as_str())) {
        let since = watch.since_unix_ms.max(now.saturating_sub(DAY_MS));
        let met = watch.last_met_unix_ms.is_some_and(|met| met >= since);
        let long_enough = now.saturating_sub(since) >= WATCHED_AT_LEAST_MS;
        if met || !long_enough {
            continue;
        }
        let minutes = now.saturating_sub(since) / 60_000;
        let watched_for =
            if minutes >= 120 { format!("{} h", minutes / 60) } else { format!("{minutes} min") };
        found.push(Finding {
            code: SLA_NEVER_MET,
            subject: format!("{} → {}, {}", watch.edge, watch.peer_edge, watch.sla),
            message: format!("no path met the SLA class {} in the last {watched_for}", watch.sla),
            mend: "loosen the class, or give the site a better uplink".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    const DEMO: &str = include_str!("../testdata/demo.yaml");

    fn codes(document: &str) -> Vec<(&'static str, String)> {
        let fleet = parse(document.as_bytes()).unwrap();
        lint(&fleet, &[], 0).into_iter().map(|f| (f.code, f.subject)).collect()
    }

    #[test]
    fn each_finding_is_found_and_mended() {
        let lonely = (HUB_WITHOUT_BACKUP, "hq".to_owned());
        assert_eq!(codes(DEMO), std::slice::from_ref(&lonely));
        let second = "          - {name: isp-b, interface: wan1, addresses: [\"198.51.100.12\"]}\n";
        let single = DEMO.replace(second, "");
        assert_eq!(codes(&single), [lonely.clone(), (SINGLE_UPLINK, "b2-1".to_owned())]);
        let same = DEMO
            .replace("[\"192.0.2.12\"]", "[\"192.0.2.12\"], provider: telco")
            .replace("[\"198.51.100.12\"]", "[\"198.51.100.12\"], provider: telco");
        assert_eq!(codes(&same), [lonely.clone(), (SINGLE_PROVIDER, "b2-1".to_owned())]);
        let two = DEMO.replace("hubs: [hq], spokes: all", "hubs: [hq, b1], spokes: all");
        assert_eq!(codes(&two), []);
        let old = "suite: des-cbc-md5-96, waiver: {until: 2040-01-31, reason: old peers}";
        let old = DEMO.replace("suite: aes-128-gcm", old);
        assert_eq!(codes(&old), [lonely.clone(), (SUITE_WEAK, "standard".to_owned())]);
        let left_out = DEMO.replace("spokes: all", "spokes: [b1]");
        assert_eq!(codes(&left_out), [lonely, (SITE_ALONE, "b2".to_owned())]);
    }

    #[test]
    fn a_class_is_unmet_only_if_it_was_watched_long_enough_and_is_in_use() {
        let fleet = parse(DEMO.as_bytes()).unwrap();
        let hour = 3_600_000;
        let now = 100 * hour;
        let watch = |sla: &str, since, met| Watched {
            edge: "b1-1".into(),
            peer_edge: "hq-1".into(),
            sla: sla.into(),
            since_unix_ms: since,
            last_met_unix_ms: met,
        };
        for (sla, since, met, expected) in [
            ("voice", now - hour, None, true),
            ("voice", now - hour, Some(now - 1_000), false),
            ("voice", now - 60_000, None, false),
            ("voice", now - 50 * hour, Some(now - 30 * hour), true),
            ("bulk", now - hour, None, false),
        ] {
            let found = lint(&fleet, &[watch(sla, since, met)], now);
            let told = found.iter().any(|f| f.code == SLA_NEVER_MET);
            assert_eq!(told, expected, "{sla} {since} {met:?}");
        }
    }
}
