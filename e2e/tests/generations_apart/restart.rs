//! A canary that is started again while its peer is a generation behind.

use super::*;

#[test]
fn a_canary_that_is_started_again_still_takes_what_its_peer_keys_by() {
    scenario(
        "restarted",
        |_| {},
        |fleet| {
            let document = fleet.spec().document.clone();
            let cbc = replaced(&document, "aes-128-gcm", "aes-256-cbc-sha256-128");
            let (before, others) = (applied(fleet, "left-1")?, applied(fleet, "right-1")?);
            apply_staged(fleet, &cbc, "left-1", "25s")?;
            applies(fleet, "left-1", &before)?;
            fleet.kill_agent("left-1")?;
            fleet.start_agent("left-1")?;
            let traffic = Traffic::start(fleet, 7431)?;
            assert_ne!(applied(fleet, "left-1")?, before, "it goes on with the new one");
            assert_eq!(applied(fleet, "right-1")?, others, "its peer is a generation behind");
            // Both change over, and then nothing of the old one is remembered.
            applies(fleet, "right-1", &others)?;
            rollout_ends(fleet)?;
            traffic.assert_none_lost("started again")
        },
    );
}
