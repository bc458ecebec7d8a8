//! What this edge tells its controller that it can do, so that nobody plans for it what it can't.

use std::sync::Arc;

use hawser_edge_core::config::FEATURES;
use hawser_esp::Suite;

use crate::control::Abilities;
use crate::ike::CharonOptions;
use crate::{host, kernel};

/// Says that suites and the host's abilities are named here: what is not named is not there.
const TELLS_ALL: &str = "capabilities";
const SUITE_PREFIX: &str = "suite:";

/// `kernel_forwards`: which driver it is. What may be installed later is looked for each time.
pub(crate) fn of(kernel_forwards: bool, charon: CharonOptions) -> Abilities {
    // Once: the kernel loads modules for it.
    let suites = if kernel_forwards { kernel::suites() } else { Suite::ALL.to_vec() };
    Arc::new(move || {
        let built_in = FEATURES.iter().map(|feature| (*feature).to_owned());
        let suites = suites.iter().map(|suite| format!("{SUITE_PREFIX}{suite}"));
        let mut told: Vec<String> = built_in.chain(suites).chain([TELLS_ALL.to_owned()]).collect();
        if charon.socket.as_ref().unwrap_or(&charon.program).exists() {
            told.push("strongswan".to_owned());
        }
        if host::kernel_has_ipsec() {
            told.push("kernel-ipsec".to_owned());
        }
        told.sort();
        told
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_host_that_gets_strongswan_says_so_the_next_time_and_every_suite_of_the_driver_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let program = dir.path().join("charon-systemd");
        let told = of(false, CharonOptions { socket: None, program: program.clone() });
        let has = |word: &str| told().iter().any(|told| told == word);
        assert!(has("capabilities") && has("ike") && !has("strongswan"));
        assert!(Suite::ALL.iter().all(|suite| has(&format!("suite:{suite}"))));
        std::fs::write(&program, "").expect("written");
        assert!(has("strongswan"));
        let foreign = CharonOptions { socket: Some(Path::new("/nowhere").into()), program };
        assert!(!of(false, foreign)().iter().any(|told| told == "strongswan"));
    }
}
