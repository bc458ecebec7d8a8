//! Manual tunnels that this process protects: one relay each.

use std::collections::BTreeMap;

use hawser_edge_core::manual::{Keys, Wanted};

use super::Outcome;
use crate::dataplane::relay::Relay;

/// By name.
#[derive(Default)]
pub(super) struct Relays(BTreeMap<String, Kept>);

struct Kept {
    wanted: Wanted,
    keys: Keys,
    relay: Relay,
}

impl Relays {
    /// Brings them to these tunnels and no other; how each stands then, in their order.
    pub fn bring(&mut self, tunnels: &[(&Wanted, &Keys)]) -> Vec<Outcome> {
        self.0.retain(|name, kept| {
            let still = tunnels.iter().find(|(wanted, _)| wanted.tunnel.name == *name);
            still.is_some_and(|(wanted, keys)| {
                **wanted == kept.wanted && **keys == kept.keys && kept.relay.runs()
            })
        });
        tunnels.iter().map(|(wanted, keys)| self.bring_one(wanted, keys)).collect()
    }

    fn bring_one(&mut self, wanted: &Wanted, keys: &Keys) -> Outcome {
        if let Some(kept) = self.0.get(&wanted.tunnel.name) {
            return Ok(kept.relay.traffic());
        }
        let relay = Relay::start(wanted, keys)?;
        let traffic = relay.traffic();
        let kept = Kept { wanted: wanted.clone(), keys: keys.clone(), relay };
        self.0.insert(wanted.tunnel.name.clone(), kept);
        Ok(traffic)
    }
}
