use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::vici::Section;
use super::*;

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
    }
}

fn wanted(peer_octet: u8, psk: &str) -> Wanted {
    let connection = Connection {
        version: IkeVersion::V2,
        local: vec!["192.0.2.1".parse().expect("an address")],
        remote: vec![[192, 0, 2, peer_octet].into()],
        local_id: "hawser.example".into(),
        remote_id: "peer.example".into(),
        proposals: vec!["aes128-sha256-x25519".into()],
        mobike: true,
        force_udp: false,
        dpd_delay_s: 10,
        rekey_s: 14_400,
        reauthentication_s: 0,
        children: BTreeMap::from([("net".into(), child())]),
    };
    Wanted { connection, psk: Zeroizing::new(psk.as_bytes().to_vec()) }
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
            Step::LoadConnection { .. } => {
                assert!(charon.secrets.contains(&name), "a connection starts with its key there");
                charon.connections.insert(name.clone());
                charon.established.insert(name.clone());
                let wanted = &desired[name.strip_prefix(PREFIX).expect("ours")];
                charon.loaded.insert(name, wanted.clone());
            }
        }
    }
    charon
}

fn fleet() -> impl Strategy<Value = BTreeMap<String, Wanted>> {
    prop::collection::btree_map("[ab]", (1_u8..3, "[xy]").prop_map(|(o, k)| wanted(o, &k)), 0..3)
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set("(hawser-|other-)[abc]", 0..5)
}

proptest! {
    #[test]
    fn a_plan_reaches_what_is_desired_and_touches_only_ours(
        before in fleet(), desired in fleet(), connections in names(), secrets in names(), established in names(),
    ) {
        let start = Observed { connections, secrets, established, loaded: BTreeMap::new() };
        let others = |o: &Observed| {
            let all = o.connections.iter().chain(&o.secrets).chain(&o.established);
            all.filter(|n| !n.starts_with(PREFIX)).cloned().collect::<Vec<_>>()
        };
        let untouched = others(&start);
        let charon = applied(&plan(&before, &start), start, &before);
        let charon = applied(&plan(&desired, &charon), charon, &desired);
        prop_assert_eq!(others(&charon), untouched);
        prop_assert!(plan(&desired, &charon).is_empty());
        let ours: BTreeSet<_> = desired.keys().map(|n| format!("{PREFIX}{n}")).collect();
        for held in [&charon.connections, &charon.secrets, &charon.established] {
            let held: BTreeSet<_> = held.iter().filter(|n| n.starts_with(PREFIX)).cloned().collect();
            prop_assert_eq!(&held, &ours);
        }
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
