//! A tunnel with a gateway that is not Hawser, from the document to charon, with a plain strongSwan as the other end. This
//! machine's kernel may have no ESP: then IKE authenticates, and the children are refused by the kernel. Traffic is the
//! kernel lab's matter (`make lab-kernel ONLY=ikev2-psk`). Needs root.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{
    Fleet, FleetError, FleetSpec, GATEWAY_ADDRESS, GATEWAY_KEY, GATEWAY_OTHER_ADDRESS,
    GATEWAY_SECRET, Gateway,
};
use hawser_e2e::wan::Impairment;

const SOON: Duration = Duration::from_secs(60);
/// Of IKE, as strongSwan writes it.
const ANY_VERSION: u8 = 0;

fn with_gateway(fields: &str, body: impl FnOnce(&mut Fleet, &Gateway) -> Result<(), FleetError>) {
    let spec = FleetSpec::with_gateway(fields).expect("the bundled fleet");
    let mut fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    let gateway = Gateway::by_hand(&fleet, ANY_VERSION, "modp3072").expect("strongSwan");
    if let Err(error) = body(&mut fleet, &gateway) {
        panic!("{}\n{}\n{}", error.line(), fleet.log_tails(), gateway.log());
    }
}

/// Every file below a folder that has the text in it.
fn files_with(folder: &Path, text: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let kind = std::fs::symlink_metadata(&path).expect("it is there").file_type();
        if kind.is_dir() {
            found.extend(files_with(&path, text));
        } else if kind.is_file() {
            let octets = std::fs::read(&path).expect("readable");
            if octets.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.insert(path);
            }
        }
    }
    found
}

/// Of the established IKE associations, as `swanctl --list-sas` shows them.
fn spis(associations: &str) -> Vec<String> {
    let lines = associations.lines().filter(|line| line.contains("ESTABLISHED"));
    let found: Vec<String> = lines
        .flat_map(|line| line.split_whitespace().map(|word| word.trim_end_matches('*')))
        .filter(|word| word.len() == 18 && (word.ends_with("_i") || word.ends_with("_r")))
        .map(str::to_owned)
        .collect();
    assert!(!found.is_empty(), "{associations}");
    found
}

fn is_known(state: &str) -> bool {
    ["authenticated", "up"].contains(&state)
}

fn wait_event(fleet: &Fleet, code: &str, words: &str) -> Result<(), FleetError> {
    wait::until(&format!("the event {code}"), SOON, || {
        let events = fleet.operator()?.events(200)?;
        let found = events.iter().any(|e| e.code == code && e.message.contains(words));
        Ok(if found { Look::Done(()) } else { Look::Not(format!("{events:?}")) })
    })
}

#[test]
fn a_tunnel_waits_for_its_key_says_why_it_is_refused_comes_up_and_goes_with_the_document() {
    with_gateway("", |fleet, gateway| {
        let blocked = fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "blocked")?;
        assert_eq!((blocked.edge.as_str(), blocked.uplink.as_str()), ("left-1", "isp-a"));
        assert_eq!(blocked.reason, "this edge has no secret named dc-psk");
        wait_event(fleet, "IKE_SECRET_MISSING", "hawser-edge secret set dc-psk")?;

        let agent = fleet.agent("left-1")?;
        agent.set_secret(fleet, GATEWAY_SECRET, "not what the gateway has")?;
        fleet.wait_ike("dc", SOON, |t| {
            t.reason.contains("AUTHENTICATION_FAILED") && t.retries > 0
        })?;
        wait_event(fleet, "IKE_FAILED", "AUTHENTICATION_FAILED")?;

        agent.set_secret(fleet, GATEWAY_SECRET, GATEWAY_KEY)?;
        let tunnel = fleet.wait_ike("dc", SOON, |tunnel| is_known(&tunnel.state))?;
        assert_eq!(tunnel.remote_address, GATEWAY_ADDRESS);
        assert_eq!(tunnel.local_address, "198.51.100.2");
        assert!(gateway.associations(fleet)?.contains("ESTABLISHED"));
        assert!(agent.status()?.ike_tunnels.iter().any(|t| is_known(&t.state)));

        // The agent killed, charon goes on; the next agent takes it over with all that it holds.
        let before = spis(&gateway.associations(fleet)?);
        fleet.kill_agent("left-1")?;
        fleet.start_agent("left-1")?;
        fleet.wait_converged(SOON)?;
        wait::until("the next agent tells of the tunnel", SOON, || {
            let status = fleet.agent("left-1")?.status()?;
            let known = status.ike_tunnels.iter().any(|t| is_known(&t.state));
            Ok(if known { Look::Done(()) } else { Look::Not(format!("{status:?}")) })
        })?;
        assert_eq!(spis(&gateway.associations(fleet)?), before, "the same association");

        let without: Vec<&str> = fleet.spec().document.lines().collect();
        let without =
            without.iter().filter(|l| !l.contains("ike_tunnels") && !l.contains("name: dc,"));
        let without: Vec<&str> = without.copied().collect();
        fleet.apply(&without.join("\n"), "no gateway")?;
        wait::until("the association is deleted at the gateway too", SOON, || {
            let left = gateway.associations(fleet)?;
            Ok(if left.contains("ESTABLISHED") { Look::Not(left) } else { Look::Done(()) })
        })?;
        let holders = files_with(fleet.folder(), GATEWAY_KEY);
        let secret = fleet.agent("left-1")?.state_dir().join("secrets").join(GATEWAY_SECRET);
        let by_hand = fleet.folder().join("gateway/swanctl.conf");
        assert_eq!(holders, BTreeSet::from([secret.clone(), by_hand]), "who has the key");
        let mode = std::fs::metadata(&secret).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    });
}

/// Which link charon has an association over, as `hawser paths` tells.
fn wait_by(fleet: &Fleet, uplink: &str, gateway: &str) -> Result<(), FleetError> {
    let found = fleet.wait_ike("dc", SOON, |tunnel| {
        let chosen = tunnel.links.iter().find(|link| link.chosen);
        is_known(&tunnel.state)
            && tunnel.remote_address == gateway
            && chosen.is_some_and(|link| link.uplink == uplink && link.remote_address == gateway)
    });
    found.map(drop)
}

/// Where the kernel refuses the children, IKE is up and the tunnel is not: it is tried over the other link from time to
/// time. So this waits for what must come, and asks for nothing that must stay.
#[test]
fn a_tunnel_leaves_a_dark_uplink_for_another_one_and_says_why() {
    let spec = FleetSpec::with_gateway_of_two(", failback_hold_s: 2").expect("the bundled fleet");
    let mut fleet = Fleet::up(spec.left_alone()).expect("the fleet comes up (tests need root)");
    let gateway = Gateway::by_hand_of_two(&fleet, ANY_VERSION, "modp3072").expect("strongSwan");
    if let Err(error) = leaves_the_dark(&mut fleet, &gateway) {
        panic!("{}\n{}\n{}", error.line(), fleet.log_tails(), gateway.log());
    }
}

fn leaves_the_dark(fleet: &mut Fleet, gateway: &Gateway) -> Result<(), FleetError> {
    fleet.agent("left-1")?.set_secret(fleet, GATEWAY_SECRET, GATEWAY_KEY)?;
    wait_by(fleet, "isp-a", GATEWAY_ADDRESS)?;
    fleet.lab().impair("left-isp-a", &Impairment::blackhole(true))?;
    wait_by(fleet, "isp-b", GATEWAY_OTHER_ADDRESS)?;
    assert!(
        gateway.associations(fleet)?.contains("203.0.113.2"),
        "from the other uplink's address"
    );
    let paths = fleet.agent("left-1")?.paths()?;
    let links: Vec<_> = paths.iter().filter(|path| path.peer_edge == "dc").collect();
    assert_eq!(links.len(), 4, "{links:?}");
    let down =
        links.iter().filter(|link| link.local_uplink == "isp-a").all(|link| link.state != "up");
    assert!(down, "{links:?}");
    wait::until("a decision that names the dark link", SOON, || {
        let why = fleet.agent("left-1")?.why("dc", 20)?;
        let left = format!(
            "moves from isp-a → {GATEWAY_ADDRESS} to isp-b → {GATEWAY_OTHER_ADDRESS}: it is down"
        );
        let found = why.decisions.iter().any(|d| d.summary.starts_with(&left));
        Ok(if found { Look::Done(()) } else { Look::Not(format!("{why:?}")) })
    })?;
    fleet.lab().reset("left-isp-a")?;
    wait_by(fleet, "isp-a", GATEWAY_ADDRESS)
}
