//! What differs between two configurations of one edge.

use std::collections::BTreeMap;
use std::fmt::Debug;

use hawser_proto::config::v1::{
    EdgeConfig, IkeTunnel, Lan, ManualTunnel, Path, SlaClass, TrafficClass, Tunnel, TunnelProfile,
    Uplink,
};

use super::{Action, Change};

/// Items of a list that are named in one line; of more their number is told.
const NAMED: usize = 4;

/// Every part of the configuration that differs.
pub fn edge_changes(old: &EdgeConfig, new: &EdgeConfig) -> Vec<Change> {
    let mut found = Changes::default();
    found.whole(old, new);
    found.keyed("uplink", &old.uplinks, &new.uplinks, |u: &Uplink| u.name.clone(), uplink);
    found.keyed("LAN", &old.lans, &new.lans, lan_name, lan);
    found.keyed("tunnel to", &old.tunnels, &new.tunnels, |t: &Tunnel| t.peer_edge.clone(), tunnel);
    let name = |class: &TrafficClass| class.name.clone();
    found.keyed("traffic class", &old.traffic_classes, &new.traffic_classes, name, class);
    let name = |class: &SlaClass| class.name.clone();
    found.keyed("SLA class", &old.sla_classes, &new.sla_classes, name, sla);
    found.routes(old, new);
    let name = |tunnel: &IkeTunnel| tunnel.name.clone();
    found.keyed("IKE tunnel", &old.ike_tunnels, &new.ike_tunnels, name, ike);
    let name = |tunnel: &ManualTunnel| tunnel.name.clone();
    found.keyed("manual tunnel", &old.manual_tunnels, &new.manual_tunnels, name, manual);
    // Whatever has no words of its own here is told all the same.
    if found.list.is_empty() && old != new {
        found.add(Action::Changed, "configuration", String::new());
    }
    found.list
}

#[derive(Default)]
struct Changes {
    list: Vec<Change>,
}

impl Changes {
    fn add(&mut self, action: Action, what: impl Into<String>, detail: String) {
        self.list.push(Change { action, what: what.into(), detail });
    }

    /// Items that have a name each; `differences` words what differs between two of the same name.
    fn keyed<T: PartialEq>(
        &mut self,
        what: &str,
        old: &[T],
        new: &[T],
        name: impl Fn(&T) -> String,
        differences: impl Fn(&T, &T) -> Vec<String>,
    ) {
        let before: BTreeMap<String, &T> = old.iter().map(|item| (name(item), item)).collect();
        let after: BTreeMap<String, &T> = new.iter().map(|item| (name(item), item)).collect();
        for (name, item) in &after {
            match before.get(name) {
                None => self.add(Action::Made, format!("{what} {name}"), String::new()),
                Some(was) if was != item => {
                    let detail = differences(was, item).join(", ");
                    self.add(Action::Changed, format!("{what} {name}"), detail);
                }
                Some(_) => {}
            }
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            self.add(Action::Removed, format!("{what} {name}"), String::new());
        }
        let order = |items: &[T]| -> Vec<String> { items.iter().map(&name).collect() };
        if before.keys().eq(after.keys()) && order(old) != order(new) {
            let detail = order(new).join(", ");
            self.add(Action::Changed, format!("order of {what}"), detail);
        }
    }

    fn whole(&mut self, old: &EdgeConfig, new: &EdgeConfig) {
        let mut texts = Vec::new();
        differs(&mut texts, "site", &old.site, &new.site);
        differs(&mut texts, "drained", &old.drained, &new.drained);
        differs(&mut texts, "fabric port", &old.fabric_port, &new.fabric_port);
        differs(&mut texts, "controllers", &old.controllers, &new.controllers);
        differs(&mut texts, "carries nothing for others", &old.leaf, &new.leaf);
        if old.segments != new.segments {
            texts.push("segments".to_owned());
        }
        if old.required_features != new.required_features {
            texts.push("features that the agent must have".to_owned());
        }
        if !texts.is_empty() {
            self.add(Action::Changed, "edge", texts.join(", "));
        }
    }

    fn routes(&mut self, old: &EdgeConfig, new: &EdgeConfig) {
        let table = |config: &EdgeConfig| -> BTreeMap<(u32, String), Vec<u32>> {
            let routes = config.routes.iter();
            routes
                .map(|r| ((r.segment_id, r.prefix.clone()), r.next_hop_edge_ids.clone()))
                .collect()
        };
        let (before, after) = (table(old), table(new));
        let only = |a: &BTreeMap<_, _>, b: &BTreeMap<(u32, String), Vec<u32>>| -> Vec<String> {
            let gone = a.keys().filter(|key: &&(u32, String)| !b.contains_key(*key));
            gone.map(|(_, prefix)| prefix.clone()).collect()
        };
        let moved = after.iter().filter(|(key, hops)| before.get(*key).is_some_and(|b| b != *hops));
        let moved: Vec<String> = moved.map(|((_, prefix), _)| prefix.clone()).collect();
        let lists = [
            (Action::Made, only(&after, &before)),
            (Action::Changed, moved),
            (Action::Removed, only(&before, &after)),
        ];
        for (action, prefixes) in lists {
            if !prefixes.is_empty() {
                self.add(action, "routes", some_of(&prefixes));
            }
        }
    }
}

fn lan_name(lan: &Lan) -> String {
    match lan.vlan {
        0 => lan.interface.clone(),
        vlan => format!("{} VLAN {vlan}", lan.interface),
    }
}

fn uplink(old: &Uplink, new: &Uplink) -> Vec<String> {
    let mut texts = Vec::new();
    differs(&mut texts, "interface", &old.interface, &new.interface);
    differs(&mut texts, "transport", &old.transport, &new.transport);
    differs(&mut texts, "provider", &old.provider, &new.provider);
    differs(&mut texts, "cost", &old.cost, &new.cost);
    differs(&mut texts, "metered", &old.metered, &new.metered);
    differs(&mut texts, "use", &old.r#use().as_str_name(), &new.r#use().as_str_name());
    differs(&mut texts, "drained", &old.drained, &new.drained);
    differs(&mut texts, "kbit/s up", &old.bandwidth_up_kbps, &new.bandwidth_up_kbps);
    differs(&mut texts, "kbit/s down", &old.bandwidth_down_kbps, &new.bandwidth_down_kbps);
    differs(&mut texts, "gateways", &old.gateways, &new.gateways);
    let (before, after) = (old.probe_budget_bytes_per_s, new.probe_budget_bytes_per_s);
    differs(&mut texts, "probe octets per second", &before, &after);
    texts
}

fn lan(old: &Lan, new: &Lan) -> Vec<String> {
    let mut texts = Vec::new();
    differs(&mut texts, "segment", &old.segment_id, &new.segment_id);
    let (made, gone) =
        (missing(&new.prefixes, &old.prefixes), missing(&old.prefixes, &new.prefixes));
    if !made.is_empty() {
        texts.push(format!("with {}", some_of(&made)));
    }
    if !gone.is_empty() {
        texts.push(format!("without {}", some_of(&gone)));
    }
    texts
}

fn tunnel(old: &Tunnel, new: &Tunnel) -> Vec<String> {
    let mut texts = Vec::new();
    let ids = |tunnel: &Tunnel| -> Vec<u32> { tunnel.paths.iter().map(|p: &Path| p.id).collect() };
    let (before, after) = (ids(old), ids(new));
    let count = |a: &[u32], b: &[u32]| a.iter().filter(|id| !b.contains(id)).count();
    match (count(&after, &before), count(&before, &after)) {
        (0, 0) => {}
        (made, 0) => texts.push(format!("{made} paths made")),
        (0, gone) => texts.push(format!("{gone} paths removed")),
        (made, gone) => texts.push(format!("{made} paths made, {gone} removed")),
    }
    profile(&mut texts, old.profile.as_ref(), new.profile.as_ref());
    let sources = |tunnel: &Tunnel| -> Vec<String> {
        tunnel.peer_sources.iter().map(|source| source.prefix.clone()).collect()
    };
    let (made, gone) = (sources(new), sources(old));
    let (made, gone) = (missing(&made, &gone), missing(&gone, &made));
    if !made.is_empty() {
        texts.push(format!("peer may also originate {}", some_of(&made)));
    }
    if !gone.is_empty() {
        texts.push(format!("peer may no more originate {}", some_of(&gone)));
    }
    if old.peer_uplinks != new.peer_uplinks {
        texts.push("the peer's uplinks".to_owned());
    }
    texts
}

fn profile(texts: &mut Vec<String>, old: Option<&TunnelProfile>, new: Option<&TunnelProfile>) {
    let (was, is) = (old.cloned().unwrap_or_default(), new.cloned().unwrap_or_default());
    differs(texts, "suite", &was.suite, &is.suite);
    if was.waiver != is.waiver {
        texts.push("the waiver of its suite".to_owned());
    }
    differs(texts, "rekeyed after s", &was.rekey_after_s, &is.rekey_after_s);
    differs(texts, "rekeyed after octets", &was.rekey_after_bytes, &is.rekey_after_bytes);
    differs(texts, "replay window", &was.replay_window_packets, &is.replay_window_packets);
    differs(texts, "ESN", &was.esn, &is.esn);
    differs(texts, "probed each ms", &was.probe_interval_ms, &is.probe_interval_ms);
    let (idle_was, idle_is) = (was.probe_idle_interval_ms, is.probe_idle_interval_ms);
    differs(texts, "idle paths each ms", &idle_was, &idle_is);
    differs(texts, "down after probes", &was.down_after_probes, &is.down_after_probes);
}

fn ike(old: &IkeTunnel, new: &IkeTunnel) -> Vec<String> {
    let mut texts = Vec::new();
    differs(&mut texts, "version", &old.version().as_str_name(), &new.version().as_str_name());
    differs(&mut texts, "uplink", &old.uplink_id, &new.uplink_id);
    differs(&mut texts, "further uplinks", &old.more_uplink_ids, &new.more_uplink_ids);
    differs(&mut texts, "peer's addresses", &old.peer_addresses, &new.peer_addresses);
    differs(&mut texts, "own identity", &old.local_id, &new.local_id);
    differs(&mut texts, "peer's identity", &old.remote_id, &new.remote_id);
    differs(&mut texts, "name of its key", &old.psk_name, &new.psk_name);
    let certificate = |tunnel: &IkeTunnel| tunnel.certificate.clone().map(|c| own_name(&c.name));
    differs(&mut texts, "certificate", &certificate(old), &certificate(new));
    let peer_ca = |tunnel: &IkeTunnel| {
        tunnel.certificate.clone().map(|c| (c.peer_ca_name, c.peer_ca_pem)).unwrap_or_default()
    };
    if peer_ca(old) != peer_ca(new) {
        texts.push("peer's CA".to_owned());
    }
    differs(&mut texts, "mode", &old.mode().as_str_name(), &new.mode().as_str_name());
    profile(&mut texts, old.profile.as_ref(), new.profile.as_ref());
    differs(&mut texts, "groups", &old.dh_groups, &new.dh_groups);
    differs(&mut texts, "segment", &old.segment_id, &new.segment_id);
    differs(&mut texts, "local prefixes", &old.local_prefixes, &new.local_prefixes);
    differs(&mut texts, "remote prefixes", &old.remote_prefixes, &new.remote_prefixes);
    differs(&mut texts, "start", &old.start().as_str_name(), &new.start().as_str_name());
    differs(&mut texts, "dead peers looked for each s", &old.dpd_delay_s, &new.dpd_delay_s);
    let (was, is) = (old.probe.clone().unwrap_or_default(), new.probe.clone().unwrap_or_default());
    differs(&mut texts, "probed by", &was.kind().as_str_name(), &is.kind().as_str_name());
    differs(&mut texts, "reflector's port", &was.port, &is.port);
    differs(&mut texts, "probed each ms", &was.interval_ms, &is.interval_ms);
    differs(&mut texts, "probed inside", &was.inside, &is.inside);
    differs(&mut texts, "SLA", &old.sla_class, &new.sla_class);
    let (was, is) = (old.failback_hold_ms, new.failback_hold_ms);
    differs(&mut texts, "hold before fail-back ms", &was, &is);
    differs(&mut texts, "AH", &old.ah, &new.ah);
    differs(&mut texts, "warm standby", &old.warm, &new.warm);
    differs(&mut texts, "proves anew after s", &old.reauth_after_s, &new.reauth_after_s);
    texts
}

/// An edge's own certificate has no name of a file.
fn own_name(name: &str) -> String {
    if name.is_empty() { "fleet" } else { name }.to_owned()
}

fn manual(old: &ManualTunnel, new: &ManualTunnel) -> Vec<String> {
    let mut texts = Vec::new();
    differs(&mut texts, "protocol", &old.protocol().as_str_name(), &new.protocol().as_str_name());
    differs(&mut texts, "mode", &old.mode().as_str_name(), &new.mode().as_str_name());
    differs(&mut texts, "uplink", &old.uplink_id, &new.uplink_id);
    differs(&mut texts, "peer's address", &old.peer_address, &new.peer_address);
    profile(&mut texts, old.profile.as_ref(), new.profile.as_ref());
    differs(&mut texts, "segment", &old.segment_id, &new.segment_id);
    differs(&mut texts, "local prefixes", &old.local_prefixes, &new.local_prefixes);
    differs(&mut texts, "remote prefixes", &old.remote_prefixes, &new.remote_prefixes);
    for (direction, old, new) in
        [("inbound", &old.inbound, &new.inbound), ("outbound", &old.outbound, &new.outbound)]
    {
        let (was, is) = (old.clone().unwrap_or_default(), new.clone().unwrap_or_default());
        differs(&mut texts, &format!("{direction} SPI"), &was.spi, &is.spi);
        let what = format!("name of the {direction} key");
        differs(&mut texts, &what, &was.key_name, &is.key_name);
    }
    texts
}

fn class(old: &TrafficClass, new: &TrafficClass) -> Vec<String> {
    let mut texts = Vec::new();
    if old.matches != new.matches || old.segment_id != new.segment_id {
        texts.push("what it matches".to_owned());
    }
    differs(&mut texts, "SLA", &old.sla_class, &new.sla_class);
    differs(&mut texts, "mode", &old.mode().as_str_name(), &new.mode().as_str_name());
    let (before, after) = (old.balance_by().as_str_name(), new.balance_by().as_str_name());
    differs(&mut texts, "balanced by", &before, &after);
    let (before, after) =
        (old.when_none_meets().as_str_name(), new.when_none_meets().as_str_name());
    differs(&mut texts, "when none meets", &before, &after);
    differs(&mut texts, "preferred uplinks", &old.prefer_uplinks, &new.prefer_uplinks);
    differs(&mut texts, "hold before fail-back ms", &old.failback_hold_ms, &new.failback_hold_ms);
    differs(&mut texts, "dwell ms", &old.dwell_ms, &new.dwell_ms);
    differs(&mut texts, "symmetric", &old.symmetric, &new.symmetric);
    differs(&mut texts, "DSCP outside", &old.wan_dscp, &new.wan_dscp);
    texts
}

fn sla(old: &SlaClass, new: &SlaClass) -> Vec<String> {
    let mut texts = Vec::new();
    differs(&mut texts, "RTT µs", &old.max_rtt_us, &new.max_rtt_us);
    differs(&mut texts, "jitter µs", &old.max_jitter_us, &new.max_jitter_us);
    differs(&mut texts, "loss ppm", &old.max_loss_ppm, &new.max_loss_ppm);
    differs(&mut texts, "confidence ppm", &old.loss_confidence_ppm, &new.loss_confidence_ppm);
    differs(&mut texts, "loss mended ms", &old.loss_mended_ms, &new.loss_mended_ms);
    differs(&mut texts, "delay damage ms", &old.delay_damage_ms, &new.delay_damage_ms);
    differs(&mut texts, "delay mended ms", &old.delay_mended_ms, &new.delay_mended_ms);
    texts
}

fn differs<T: PartialEq + Debug>(texts: &mut Vec<String>, name: &str, old: &T, new: &T) {
    if old != new {
        texts.push(format!("{name} {} → {}", plain(old), plain(new)));
    }
}

/// Lists and texts without their quotes; words of the wire as those of documents.
fn plain(value: &impl Debug) -> String {
    // With what the wire's silence means.
    const WORDS: [(&str, &str); 10] = [
        ("UPLINK_USE_", "normal"),
        ("CLASS_MODE_", "best"),
        ("BALANCE_BY_", "bandwidth"),
        ("WHEN_NONE_MEETS_", "least-bad"),
        ("IKE_VERSION_", "v2"),
        ("IKE_START_", "now"),
        ("IKE_MODE_", "policy"),
        ("IKE_PROBE_KIND_", "icmp"),
        ("MANUAL_PROTOCOL_", "esp"),
        ("MANUAL_MODE_", "tunnel"),
    ];
    let text = format!("{value:?}").replace('"', "");
    for (prefix, silence) in WORDS {
        match text.strip_prefix(prefix) {
            Some("UNSPECIFIED") => return silence.to_owned(),
            Some(word) => return word.to_ascii_lowercase().replace('_', "-"),
            None => {}
        }
    }
    match text.as_str() {
        "" | "[]" | "None" => "none".to_owned(),
        some if some.starts_with("Some(") => some[5..].trim_end_matches(')').to_owned(),
        _ => text,
    }
}

fn missing(from: &[String], list: &[String]) -> Vec<String> {
    from.iter().filter(|item| !list.contains(item)).cloned().collect()
}

fn some_of(items: &[String]) -> String {
    let shown = items.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
