//! A generation, as the controller sends it and the ledger keeps it.

#![no_main]

use hawser_edge_core::config::decode;
use hawser_proto::config::v1::EdgeConfig;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Ok(config) = EdgeConfig::decode(data) else { return };
    match decode(&config) {
        Ok(state) => {
            assert!(
                state
                    .paths()
                    .all(|(tunnel, path)| tunnel.paths.values().any(|own| std::ptr::eq(own, path)))
            );
        }
        Err(faults) => assert!(!faults.is_empty()),
    }
});
