use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hawser_esp::Suite;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::vici::Section;
use super::*;
use crate::config::{IkeAuth, IkeTunnel, Profile, SlaLimits};
use crate::id::{SegmentId, UplinkId};

fn child() -> Child {
    Child {
        mode: Mode::Tunnel,
        protocol: Protocol::Esp,
        proposals: vec!["aes128gcm16-x25519".into()],
        local: vec![Selector::Prefix("10.1.0.0/24".parse().expect("a prefix"))],
        remote: vec![Selector::Prefix("10.9.0.0/24".parse().expect("a prefix"))],
        start: Start::Now,
        if_id: None,
        rekey_s: 3600,
        rekey_bytes: 1 << 36,
    }
}

fn wanted(peer_octet: u8, psk: &str) -> Wanted {
    let connection = Connection {
        proof: Proof::Psk,
        version: IkeVersion::V2,
        local: vec!["192.0.2.1".parse().expect("an address")],
        remote: vec![[192, 0, 2, peer_octet].into()],
        local_id: "hawser.example".into(),
        remote_id: "peer.example".into(),
        proposals: vec!["aes128-sha256-x25519".into()],
        mobike: true,
        several: false,
        force_udp: false,
        dpd_delay_s: 10,
        rekey_s: 14_400,
        reauthentication_s: 0,
        children: BTreeMap::from([("net".into(), child())]),
    };
    Wanted { connection, credential: Credential::Psk(Zeroizing::new(psk.as_bytes().to_vec())) }
}

/// By a certificate, whose key has that name.
fn certified(peer_octet: u8, key_id: &str) -> Wanted {
    let mut wanted = wanted(peer_octet, "");
    let own = key_id.as_bytes().to_vec();
    wanted.connection.proof = Proof::Certificate { own, peer_cas: vec![b"ca".to_vec()] };
    wanted.credential = Credential::Certificate {
        key_id: key_id.into(),
        key: Zeroizing::new(format!("key of {key_id}").into_bytes()),
        authorities: vec![b"middle".to_vec(), b"root".to_vec()],
    };
    wanted
}

/// Leaves by uplink 11.
pub(crate) fn test_tunnel() -> IkeTunnel {
    let prefix = |text: &str| vec![text.parse().expect("a prefix")];
    IkeTunnel {
        name: "dc".into(),
        version: IkeVersion::V2,
        uplinks: vec![UplinkId(11)],
        peer_addresses: vec!["203.0.113.9".parse().expect("an address")],
        local_id: "b1.example.net".into(),
        remote_id: "dc.example.net".into(),
        auth: IkeAuth::Psk("dc-psk".into()),
        mode: TunnelMode::Policy,
        profile: Profile {
            name: "standard".into(),
            suite: Suite::Aes128Gcm,
            waiver: None,
            rekey_after_s: 3600,
            rekey_after_bytes: 1 << 36,
            replay_window_packets: 1024,
            esn: true,
            probe_interval_ms: 100,
            probe_idle_interval_ms: 500,
            down_after_probes: 0,
        },
        dh_groups: vec!["ecp256".into(), "modp2048".into()],
        segment: SegmentId(1),
        local_prefixes: prefix("10.1.1.0/24"),
        remote_prefixes: prefix("172.20.0.0/16"),
        start: Start::Now,
        dpd_delay_s: 10,
        probe: None,
        sla: SlaLimits::default(),
        failback_hold_ms: 0,
        protocol: Protocol::Esp,
        warm: false,
        reauth_after_s: 0,
        taken: 0,
    }
}

#[test]
fn a_tunnel_of_the_intent_becomes_a_connection_in_strongswans_words() {
    let addresses: Vec<IpAddr> =
        ["192.0.2.1", "2001:db8::1"].map(|a| a.parse().expect("an address")).to_vec();
    let made = connection(&test_tunnel(), &addresses, Proof::Psk).expect("it has an address");
    assert_eq!((made.local.as_slice(), made.remote.len()), (&addresses[..1], 1));
    assert_eq!(made.proposals, ["aes128-sha256-ecp256-modp2048"]);
    assert_eq!(made.children["net"].proposals, ["aes128gcm16-ecp256-modp2048-esn-noesn"]);
    assert_eq!((made.children["net"].rekey_s, made.rekey_s), (3600, 14_400));
    assert_eq!(made.reauthentication_s, 0);
    let anew = IkeTunnel { reauth_after_s: 600, ..test_tunnel() };
    assert_eq!(over_v4(&anew).expect("made").reauthentication_s, 600);
    assert_eq!(
        connection(&test_tunnel(), &addresses[1..], Proof::Psk),
        None,
        "no address of the peer's family"
    );
}

fn over_v4(tunnel: &IkeTunnel) -> Option<Connection> {
    connection(tunnel, &["192.0.2.1".parse().expect("an address")], Proof::Psk)
}

#[test]
fn where_routes_decide_everything_is_offered_under_the_interfaces_number() {
    let mut tunnel = test_tunnel();
    tunnel.mode = TunnelMode::Route;
    let child = &over_v4(&tunnel).expect("made").children["net"];
    let any = [Selector::Prefix("0.0.0.0/0".parse().expect("a prefix"))];
    assert_eq!((&child.local[..], &child.remote[..]), (&any[..], &any[..]), "no IPv6 is in use");
    assert_eq!((child.mode, child.if_id), (Mode::Tunnel, if_id(&tunnel)));
    let name = interface_name(&tunnel).expect("it has one");
    assert!(is_interface_name(&name) && name.len() < 16, "{name}");
    assert!(!is_interface_name("hw12s1") && !is_interface_name("hwxabcdefgh"));
    tunnel.name.push('2');
    assert_ne!(interface_name(&tunnel), Some(name));

    tunnel.mode = TunnelMode::Gre;
    let child = &over_v4(&tunnel).expect("made").children["net"];
    assert_eq!((child.mode, child.if_id), (Mode::Transport, None));
    assert_eq!((&child.local[..], &child.remote[..]), (&[Selector::Gre][..], &[Selector::Gre][..]));
}

#[test]
fn ikev1_has_a_child_for_each_pair_of_prefixes_and_one_group() {
    let mut tunnel = test_tunnel();
    tunnel.version = IkeVersion::V1;
    tunnel.local_prefixes.push("fd00::/64".parse().expect("a prefix"));
    tunnel.remote_prefixes.push("172.21.0.0/16".parse().expect("a prefix"));
    let made = over_v4(&tunnel).expect("made");
    assert_eq!(made.children.keys().collect::<Vec<_>>(), ["net1", "net2"]);
    let pairs: Vec<_> = made.children.values().map(|c| (c.local.len(), c.remote.len())).collect();
    assert_eq!(pairs, [(1, 1), (1, 1)]);
    assert_eq!(made.children["net1"].proposals, ["aes128gcm16-ecp256"]);
}

#[test]
fn every_suite_of_strongswan_has_a_proposal_and_old_keys_are_replaced_early() {
    let unknown: Vec<_> = Suite::ALL.into_iter().filter(|s| esp_proposal(*s).is_none()).collect();
    assert_eq!(unknown, [Suite::Sm4Gcm, Suite::Sm4CbcSm3Half, Suite::Sm4CbcSm3Full]);
    let mut tunnel = test_tunnel();
    tunnel.profile.suite = Suite::TripleDesCbcSha1;
    let made = over_v4(&tunnel).expect("made");
    assert_eq!(made.children["net"].rekey_bytes, 2 << 20);
    assert_eq!(made.proposals, ["3des-sha1-ecp256-modp2048"]);
}

/// What charon would hold after the steps.
fn applied(steps: &[Step], mut charon: Observed, desired: &BTreeMap<String, Wanted>) -> Observed {
    for step in steps {
        let name = step.name().to_owned();
        match step {
            Step::Terminate { .. } => _ = charon.established.remove(&name),
            Step::UnloadConnection { .. } => {
                charon.connections.remove(&name);
                charon.loaded.remove(&name);
            }
            Step::UnloadSecret { .. } => _ = charon.secrets.remove(&name),
            Step::LoadSecret { .. } => _ = charon.secrets.insert(name),
            Step::UnloadAuthority { authority } => {
                assert!(charon.authorities.remove(authority), "it was there");
            }
            Step::LoadAuthority { number, .. } => {
                charon.authorities.insert(format!("{name}.ca{number}"));
            }
            Step::UnloadKey { key_id } => {
                assert!(
                    charon.own_keys.remove(key_id) && charon.keys.remove(key_id),
                    "it was ours"
                );
            }
            Step::LoadKey { key_id, .. } => {
                charon.keys.insert(key_id.clone());
                charon.own_keys.insert(key_id.clone());
            }
            Step::LoadConnection { .. } => {
                let wanted = &desired[name.strip_prefix(PREFIX).expect("ours")];
                let has_key = match &wanted.credential {
                    Credential::Psk(_) => charon.secrets.contains(&name),
                    Credential::Certificate { key_id, .. } => charon.keys.contains(key_id),
                };
                assert!(has_key, "a connection starts with its key there");
                charon.connections.insert(name.clone());
                charon.established.insert(name.clone());
                charon.loaded.insert(name, wanted.clone());
            }
        }
    }
    charon
}

fn fleet() -> impl Strategy<Value = BTreeMap<String, Wanted>> {
    let one = (1_u8..3, "[xy]", any::<bool>());
    let one = one.prop_map(|(o, k, by_key)| if by_key { wanted(o, &k) } else { certified(o, &k) });
    prop::collection::btree_map("[ab]", one, 0..3)
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set("(hawser-|other-)[abc]", 0..5)
}

proptest! {
    #[test]
    fn a_plan_reaches_what_is_desired_and_touches_only_ours(
        before in fleet(), desired in fleet(), connections in names(), secrets in names(), established in names(),
    ) {
        // Somebody else's, and one that an agent before this one left.
        let keys = BTreeSet::from(["theirs".to_owned(), "old".to_owned()]);
        let own_keys = BTreeSet::from(["old".to_owned(), "unloaded by others".to_owned()]);
        let authorities = secrets.clone();
        let start = Observed {
            connections, secrets, authorities, keys, own_keys, established, loaded: BTreeMap::new(),
        };
        let others = |o: &Observed| {
            let all = o.connections.iter().chain(&o.secrets).chain(&o.authorities).chain(&o.established);
            all.filter(|n| !n.starts_with(PREFIX)).cloned().collect::<Vec<_>>()
        };
        let untouched = others(&start);
        let charon = applied(&plan(&before, &start), start, &before);
        let charon = applied(&plan(&desired, &charon), charon, &desired);
        prop_assert_eq!(others(&charon), untouched);
        prop_assert!(plan(&desired, &charon).is_empty());
        let ours: BTreeSet<_> = desired.keys().map(|n| format!("{PREFIX}{n}")).collect();
        let own = |names: &BTreeSet<String>| -> BTreeSet<String> {
            names.iter().filter(|n| n.starts_with(PREFIX)).cloned().collect()
        };
        for held in [&charon.connections, &charon.established] {
            prop_assert_eq!(&own(held), &ours);
        }
        let (mut secrets, mut authorities, mut keys) = (BTreeSet::new(), 0, BTreeSet::new());
        keys.insert("theirs".to_owned());
        for (name, wanted) in &desired {
            match &wanted.credential {
                Credential::Psk(_) => _ = secrets.insert(format!("{PREFIX}{name}")),
                Credential::Certificate { key_id, .. } => {
                    keys.insert(key_id.clone());
                    authorities += 2;
                }
            }
        }
        prop_assert_eq!(own(&charon.secrets), secrets);
        prop_assert_eq!(own(&charon.authorities).len(), authorities);
        prop_assert_eq!(&charon.keys, &keys);
    }
}

#[test]
fn a_new_key_alone_is_loaded_and_used_at_once() {
    let desired = BTreeMap::from([("a".to_owned(), wanted(2, "old"))]);
    let charon = applied(&plan(&desired, &Observed::default()), Observed::default(), &desired);
    let desired = BTreeMap::from([("a".to_owned(), wanted(2, "new"))]);
    let said: Vec<_> = plan(&desired, &charon).iter().map(|step| format!("{step:?}")).collect();
    assert_eq!(
        said,
        [
            "unload-conn hawser-a",
            "terminate hawser-a",
            "load-shared hawser-a",
            "load-conn hawser-a"
        ]
    );
}

#[test]
fn a_renewed_certificate_is_loaded_with_its_key_and_the_old_key_goes() {
    let desired = BTreeMap::from([("a".to_owned(), certified(2, "old"))]);
    let charon = applied(&plan(&desired, &Observed::default()), Observed::default(), &desired);
    let desired = BTreeMap::from([("a".to_owned(), certified(2, "new"))]);
    let said: Vec<_> = plan(&desired, &charon).iter().map(|step| format!("{step:?}")).collect();
    assert_eq!(
        said,
        [
            "unload-key old",
            "unload-conn hawser-a",
            "terminate hawser-a",
            "load-authority hawser-a",
            "load-authority hawser-a",
            "load-key hawser-a",
            "load-conn hawser-a"
        ]
    );
}

#[test]
fn a_connection_by_certificates_names_its_cas_and_holds_no_key() {
    let wanted = certified(2, "k");
    let message = wanted.connection.message("hawser-x");
    let (_, connection) = message.sections().next().expect("one");
    let end = |name| match connection.get(name) {
        Some(vici::Value::Section(end)) => end,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(end("local").texts("certs").collect::<Vec<_>>(), ["k"]);
    assert_eq!(end("remote").texts("cacerts").collect::<Vec<_>>(), ["ca"]);
    assert_eq!(["local", "remote"].map(|e| end(e).text("auth")), [Some("pubkey"); 2]);
    assert!(!format!("{wanted:?}").contains("key of k"));
}

#[test]
fn a_daemon_that_can_not_sign_with_a_kind_of_key_says_what_mends_it() {
    let daemon = |plugin: &str| Daemon { plugins: vec![plugin.into()], ..Daemon::default() };
    assert_eq!(lacks_for_key(&daemon("openssl"), KeyKind::Ecdsa), None);
    assert_eq!(lacks_for_key(&daemon("gmp"), KeyKind::Rsa), None);
    let lack = lacks_for_key(&daemon("gmp"), KeyKind::Ecdsa).expect("it can't");
    assert!(lack.mend.contains("libstrongswan-standard-plugins"), "{}", lack.mend);
    for (group, plugin, other) in
        [("ecp256", "openssl", "gmp"), ("modp2048", "gmp", "aes"), ("x25519", "curve25519", "gmp")]
    {
        assert_eq!(lacks_for_group(&daemon(plugin), group), None);
        let lack = lacks_for_group(&daemon(other), group).expect("it can't");
        assert!(lack.message.contains(group), "{}", lack.message);
    }
}

#[test]
fn a_digest_tells_keys_owners_and_connections_apart() {
    let one = wanted(2, "a key");
    assert_eq!(one.digest("hawser-a"), one.clone().digest("hawser-a"));
    let mut other = one.clone();
    other.connection.dpd_delay_s = 11;
    let all = [
        one.digest("hawser-a"),
        one.digest("hawser-b"),
        wanted(3, "a key").digest("hawser-a"),
        wanted(2, "another").digest("hawser-a"),
        other.digest("hawser-a"),
    ];
    assert_eq!(BTreeSet::from(all).len(), 5);
}

#[test]
fn a_connection_of_gre_by_trap_says_so() {
    let mut wanted = wanted(2, "k");
    wanted.connection.version = IkeVersion::V1;
    let gre = Child {
        mode: Mode::Transport,
        local: vec![Selector::Gre],
        remote: vec![Selector::Gre],
        start: Start::Trap,
        if_id: Some(7),
        protocol: Protocol::Ah,
        ..child()
    };
    wanted.connection.children = BTreeMap::from([("gre".into(), gre)]);
    let message = wanted.connection.message("hawser-x");
    let (name, connection) = message.sections().next().expect("one");
    assert_eq!(name, "hawser-x");
    assert_eq!((connection.text("version"), connection.text("mobike")), (Some("1"), Some("no")));
    let Some(vici::Value::Section(children)) = connection.get("children") else {
        panic!("children")
    };
    let (_, gre) = children.sections().next().expect("one");
    assert_eq!(gre.texts("local_ts").collect::<Vec<_>>(), ["dynamic[gre]"]);
    assert_eq!(gre.texts("ah_proposals").count(), 1);
    let texts = ["mode", "start_action", "dpd_action", "if_id_in"].map(|name| gre.text(name));
    assert_eq!(texts, [Some("transport"), Some("trap"), Some("trap"), Some("7")]);
}

#[test]
fn an_old_daemon_without_its_plugins_lacks_them() {
    let plugins = ["nonce", "socket-default", "kernel-netlink"];
    let daemon = |version: &str, plugins: &[&str]| {
        let version =
            Section::default().scalar("daemon", "charon-systemd").scalar("version", version);
        Daemon::new(&version, &Section::default().list("plugins", plugins))
    };
    assert_eq!(lacks(&daemon("5.9.8", &plugins)), []);
    assert_eq!(lacks(&daemon("6.0.1dr1", &plugins)), []);
    let codes: Vec<_> =
        lacks(&daemon("5.8.4", &plugins[..2])).iter().map(|lack| lack.code).collect();
    assert_eq!(codes, ["IKE_VERSION", "IKE_PLUGIN"]);
    assert_eq!(lacks(&daemon("", &plugins)).len(), 1);
}

#[test]
fn an_event_of_another_shape_is_read_as_far_as_it_goes() {
    let child =
        Section::default().scalar("name", "net").scalar("bytes-in", "12").scalar("bytes-out", "x");
    let sa = Section::default()
        .scalar("uniqueid", "3")
        .scalar("state", "ESTABLISHED")
        .section("child-sas", Section::default().section("net-1", child));
    let event = Section::default().scalar("noise", "x").section("hawser-a", sa);
    let found: Vec<_> = ike_sas(&event).collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].is_established());
    assert_eq!((found[0].unique_id, found[0].established_s), (3, None));
    assert_eq!((found[0].children[0].bytes_in, found[0].children[0].bytes_out), (12, 0));
}

#[test]
fn each_link_of_a_warm_tunnel_is_a_connection_and_an_interface_of_its_own() {
    let mut tunnel = test_tunnel();
    tunnel.mode = TunnelMode::Route;
    tunnel.uplinks.push(UplinkId(12));
    tunnel.peer_addresses.push("203.0.113.10".parse().expect("an address"));
    assert_eq!(lanes(&tunnel), [tunnel.clone()], "one, while it is not warm");
    tunnel.warm = true;
    let all = lanes(&tunnel);
    let names: Vec<&str> = all.iter().map(|lane| lane.name.as_str()).collect();
    assert_eq!(names, ["dc.11-1", "dc.11-2", "dc.12-1", "dc.12-2"]);
    assert!(names.iter().all(|name| tunnel_of(name) == "dc"));
    let interfaces: BTreeSet<String> = interface_names(&tunnel).collect();
    assert_eq!(interfaces.len(), 4, "{interfaces:?}");
    let local: Vec<IpAddr> = vec!["192.0.2.1".parse().expect("an address")];
    let made = connection(&all[3], &local, Proof::Psk).expect("it has an address");
    assert_eq!(made.remote, all[3].peer_addresses);
    assert_eq!(made.children["net"].if_id, if_id(&all[3]));
    assert!(
        format!("{:?}", made.message("hawser-dc.12-2")).contains("unique"),
        "no INITIAL_CONTACT"
    );
}

#[test]
fn ah_takes_the_integrity_of_a_suite_that_encrypts_nothing() {
    let local: Vec<IpAddr> = vec!["192.0.2.1".parse().expect("an address")];
    let mut tunnel = test_tunnel();
    tunnel.protocol = Protocol::Ah;
    assert_eq!(connection(&tunnel, &local, Proof::Psk), None, "an AEAD is nothing for AH");
    tunnel.profile.suite = Suite::NullSha256;
    let made = connection(&tunnel, &local, Proof::Psk).expect("made");
    let child = &made.children["net"];
    assert_eq!(child.protocol, Protocol::Ah);
    assert_eq!(child.proposals, ["sha256-ecp256-modp2048-esn-noesn"]);
}
