//! What is told of tunnels with gateways that are not Hawser.

use hawser_proto::agent::v1 as wire;

use crate::catalogue as c;
use crate::catalogue::Scope;
use crate::snapshot::Snapshot;

/// Puts one tunnel of an edge. Edges have few of them: they are never left out.
pub fn put_ike(snapshot: &mut Snapshot, site: &str, edge: &str, sample: &wire::IkeSample) {
    let set = snapshot.set(Scope::IkeTunnel, &[site, edge, &sample.name]);
    let state = match sample.state() {
        wire::IkeState::Unspecified | wire::IkeState::Blocked => 0.0,
        wire::IkeState::Connecting => 1.0,
        wire::IkeState::Authenticated => 2.0,
        wire::IkeState::Waiting => 3.0,
        wire::IkeState::Up => 4.0,
    };
    snapshot.put(&c::IKE_STATE, set, &[], state);
    for (direction, bytes, packets) in
        [("tx", sample.tx_bytes, sample.tx_packets), ("rx", sample.rx_bytes, sample.rx_packets)]
    {
        snapshot.put(&c::IKE_IO, set, &[direction], bytes as f64);
        snapshot.put(&c::IKE_PACKETS, set, &[direction], packets as f64);
    }
    snapshot.put(&c::IKE_REKEYS, set, &[], sample.rekeys as f64);
    snapshot.put(&c::IKE_RETRIES, set, &[], sample.retries as f64);
    if !sample.links.is_empty() {
        snapshot.put(&c::IKE_MOVES, set, &[], sample.moves as f64);
    }
    for link in &sample.links {
        let labels = [link.uplink.as_str(), &link.remote_address];
        let state = match link.state() {
            wire::PathState::Up => 2.0,
            wire::PathState::Connecting | wire::PathState::Unspecified => 1.0,
            wire::PathState::Down => 0.0,
        };
        snapshot.put(&c::IKE_LINK_STATE, set, &labels, state);
        snapshot.put(&c::IKE_LINK_SELECTED, set, &labels, f64::from(u8::from(link.chosen)));
        snapshot.put(&c::IKE_LINK_LOSS, set, &labels, f64::from(link.loss_ppm) / 1e6);
        if link.rtt_us > 0 {
            snapshot.put(&c::IKE_LINK_RTT, set, &labels, f64::from(link.rtt_us) / 1e6);
        }
    }
}
