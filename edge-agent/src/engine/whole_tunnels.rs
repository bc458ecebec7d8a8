//! One sample a tunnel, of one an association.

use std::collections::BTreeMap;

use hawser_edge_core::ike::tunnel_of;
use hawser_proto::agent::v1 as wire;

/// A warm tunnel is what the link is that it has; what it carried, all of them did. `taken`: the name in charon of what the
/// tunnel of that name has.
pub(super) fn whole_tunnels(
    samples: &[wire::IkeSample],
    taken: impl Fn(&str) -> Option<String>,
) -> Vec<wire::IkeSample> {
    let mut whole: BTreeMap<String, wire::IkeSample> = BTreeMap::new();
    for sample in samples {
        let name = tunnel_of(&sample.name).to_owned();
        let has = name == sample.name || taken(&name).as_ref() == Some(&sample.name);
        let mut told = sample.clone();
        if let Some(other) = whole.remove(&name) {
            let (chosen, rest) = if has { (sample, &other) } else { (&other, sample) };
            told = chosen.clone();
            told.tx_packets += rest.tx_packets;
            told.tx_bytes += rest.tx_bytes;
            told.rx_packets += rest.rx_packets;
            told.rx_bytes += rest.rx_bytes;
            told.rekeys += rest.rekeys;
            told.retries += rest.retries;
        }
        told.name.clone_from(&name);
        whole.insert(name, told);
    }
    whole.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, remote: &str, tx_packets: u64) -> wire::IkeSample {
        wire::IkeSample {
            name: name.into(),
            remote_address: remote.into(),
            tx_packets,
            rekeys: 1,
            ..wire::IkeSample::default()
        }
    }

    #[test]
    fn a_warm_tunnel_is_its_link_and_carried_what_both_did() {
        let lanes = [
            sample("dc.10-0", "198.51.100.50", 5),
            sample("dc.11-1", "203.0.113.50", 7),
            sample("hq", "192.0.2.1", 1),
        ];
        for (taken, remote) in [("dc.10-0", "198.51.100.50"), ("dc.11-1", "203.0.113.50")] {
            let whole = whole_tunnels(&lanes, |name| (name == "dc").then(|| taken.to_owned()));
            let told: Vec<_> = whole
                .iter()
                .map(|t| (&*t.name, &*t.remote_address, t.tx_packets, t.rekeys))
                .collect();
            assert_eq!(told, [("dc", remote, 12, 2), ("hq", "192.0.2.1", 1, 1)]);
        }
    }
}
