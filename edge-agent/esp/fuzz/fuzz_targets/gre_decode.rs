//! What a peer puts into ESP.

#![no_main]

use hawser_esp::gre::Gre;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match Gre::decode(data) {
        Ok((_, inner)) => assert!(data.ends_with(inner) && inner.len() < data.len()),
        Err(error) => assert!(error.code().starts_with("gre_")),
    }
});
