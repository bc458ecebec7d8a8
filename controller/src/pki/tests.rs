use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, client::WebPkiServerVerifier};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

fn advertised(texts: &[&str]) -> Vec<Advertised> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn pki(dir: &Path) -> Pki {
    create(dir, "acme", &advertised(&["ctl.example:4511", "192.0.2.1:4511"])).unwrap()
}

fn request(key: &KeyPair) -> Vec<u8> {
    let params = rcgen::CertificateParams::new(vec!["admin.example".to_owned()]).unwrap();
    params.serialize_request(key).unwrap().der().to_vec()
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn trusting(anchor: &CertificateDer<'static>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(anchor.clone()).unwrap();
    Arc::new(roots)
}

fn verifies_as_server(
    root: &CertificateDer<'static>,
    chain: &[CertificateDer<'static>],
    name: &str,
) -> bool {
    WebPkiServerVerifier::builder_with_provider(trusting(root), provider())
        .build()
        .unwrap()
        .verify_server_cert(
            &chain[0],
            &chain[1..],
            &ServerName::try_from(name.to_owned()).unwrap(),
            &[],
            UnixTime::now(),
        )
        .is_ok()
}

fn verifies_as_client(anchor: &CertificateDer<'static>, chain: &[CertificateDer<'static>]) -> bool {
    WebPkiClientVerifier::builder_with_provider(trusting(anchor), provider())
        .build()
        .unwrap()
        .verify_client_cert(&chain[0], &chain[1..], UnixTime::now())
        .is_ok()
}

#[test]
fn the_controllers_chain_ends_in_the_root_and_names_every_address() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let chain = pki.server_key().cert.clone();
    assert_eq!(chain.len(), 3);
    assert_eq!(&chain[2], pki.root());
    for name in [CONTROLLER_NAME, "acme.controller.hawser", "ctl.example", "192.0.2.1"] {
        assert!(verifies_as_server(pki.root(), &chain, name), "{name}");
    }
    assert!(!verifies_as_server(pki.root(), &chain, "other.example"));
    assert!(!verifies_as_client(&pki.intermediate(), &chain), "it is no client");
    assert_eq!(pki.root_pin().unwrap(), spki_sha256(&chain[2]).unwrap());
}

#[test]
fn an_edges_certificate_is_good_for_both_roles_and_for_its_own_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let key = key();
    let issued = pki.issue_edge(&request(&key), "hq-1").unwrap();
    assert_eq!(issued.chain.len(), 2);
    assert!(verifies_as_client(&pki.intermediate(), &issued.chain));
    assert!(verifies_as_client(pki.root(), &issued.chain));
    assert!(verifies_as_server(pki.root(), &issued.chain, "hq-1.edge.acme.hawser"));
    for name in ["admin.example", "hq-2.edge.acme.hawser", CONTROLLER_NAME] {
        assert!(!verifies_as_server(pki.root(), &issued.chain, name), "{name}");
    }
    let identity = edge_identity(&issued.chain[0]).unwrap();
    assert_eq!((&*identity.fleet, &*identity.edge), ("acme", "hq-1"));
    assert_eq!(identity.key_sha256, issued.key_sha256);

    let (_, parsed) = X509Certificate::from_der(&issued.chain[0]).unwrap();
    assert!(!parsed.is_ca());
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth && !usage.any);
    let left_days = (issued.not_after_unix_s - now_unix_ms() / 1000).div_ceil(86_400);
    assert_eq!(left_days, EDGE_LIFETIME.as_secs() / 86_400);
}

#[test]
fn serials_are_unique_and_the_same_key_keeps_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let key = key();
    let issued: Vec<IssuedEdge> =
        (0..20).map(|_| pki.issue_edge(&request(&key), "hq-1").unwrap()).collect();
    let serials: std::collections::BTreeSet<_> = issued.iter().map(|i| &i.serial).collect();
    assert_eq!(serials.len(), issued.len());
    assert!(issued.iter().all(|i| i.key_sha256 == issued[0].key_sha256));
}

#[test]
fn a_certificate_of_another_fleet_is_no_client_here() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (pki(here.path()), pki(there.path()));
    let foreign = there.issue_edge(&request(&key()), "hq-1").unwrap();
    assert!(!verifies_as_client(&here.intermediate(), &foreign.chain));
    assert!(edge_identity(here.root()).is_err());
    assert!(edge_identity(&here.server_key().cert[0]).is_err());
}

#[test]
fn requests_that_prove_no_key_or_are_no_requests_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let good = request(&key());
    let mut forged = good.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for bad in [Vec::new(), b"text".to_vec(), forged, vec![0x30; 20_000]] {
        let refused = pki.issue_edge(&bad, "hq-1");
        assert!(matches!(refused, Err(PkiError::Request { .. })), "{refused:?}");
    }
    for length in 0..good.len() {
        assert!(pki.issue_edge(&good[..length], "hq-1").is_err(), "{length}");
    }
}

#[test]
fn the_controllers_certificate_is_made_anew_past_half_of_its_life_or_for_a_new_address() {
    let dir = tempfile::tempdir().unwrap();
    let addresses = advertised(&["ctl.example:4511"]);
    let first = create(dir.path(), "acme", &addresses).unwrap();
    assert!(!first.renew_server().unwrap());
    let again = Pki::load(dir.path(), "acme", &addresses).unwrap();
    assert_eq!(again.server_key().cert, first.server_key().cert);

    let more = advertised(&["ctl.example:4511", "[2001:db8::1]:4511"]);
    let moved = Pki::load(dir.path(), "acme", &more).unwrap();
    assert_ne!(moved.server_key().cert, first.server_key().cert);
    assert!(verifies_as_server(moved.root(), &moved.server_key().cert, "2001:db8::1"));

    let chain = [moved.root.clone(), moved.intermediate()];
    let old = issue::controller(&moved.trust().issuer, "acme", &more, 0).unwrap();
    let old_key = PrivateKeyDer::from_pem_slice(old.key_pem().as_bytes()).unwrap();
    let pki_dir = dir.path().join("pki");
    std::fs::write(pki_dir.join("controller.pem"), old.pem()).unwrap();
    std::fs::write(pki_dir.join("controller.key"), old.key_pem()).unwrap();
    let renewed = Pki::load(dir.path(), "acme", &more).unwrap();
    assert_ne!(renewed.server_key().cert[0], old.certificate);
    *renewed.server.write().unwrap() = certified(old.certificate.clone(), old_key, &chain).unwrap();
    assert!(renewed.renew_server().unwrap());
    assert_ne!(renewed.server_key().cert[0], old.certificate);
    assert!(!renewed.renew_server().unwrap());
}

#[test]
fn addresses_to_advertise_are_host_and_port() {
    for text in ["ctl.example:1", "192.0.2.1:65535", "[2001:db8::1]:4511"] {
        assert_eq!(text.parse::<Advertised>().unwrap().to_string(), text);
    }
    for text in [
        "ctl.example",
        "ctl.example:0",
        ":1",
        "2001:db8::1:4511",
        "[::1]",
        "a b:1",
        "-a:1",
        "[x]:1",
    ] {
        assert!(text.parse::<Advertised>().is_err(), "{text}");
    }
}

/// The next CA's certificate, as the holder of the root's key makes it of the request.
fn signed_next(dir: &Path, pki: &Pki) -> String {
    let key = std::fs::read_to_string(root_key_path(dir)).unwrap();
    sign_next(&pki.root_pem(), &key, &pki.ask_for_next().unwrap()).unwrap()
}

#[test]
fn another_ca_takes_over_while_certificates_of_the_one_before_stay_good_until_it_is_retired() {
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let root = pki.root().clone();
    let before = pki.issue_edge(&request(&key()), "hq-1").unwrap();
    let (first, old_server) = (pki.issuing(), pki.server_key());
    let signed = signed_next(dir.path(), &pki);
    assert_eq!(pki.ask_for_next().unwrap(), pki.request().unwrap().unwrap(), "asked once");
    pki.install(&signed).unwrap();
    assert_eq!(pki.request().unwrap(), None);

    let judged = |pki: &Pki, chain: &[CertificateDer<'static>]| {
        pki.clients().verify_client_cert(&chain[0], &chain[1..], UnixTime::now()).is_ok()
    };
    let after = pki.issue_edge(&request(&key()), "hq-1").unwrap();
    assert_ne!(after.authority, before.authority);
    assert_eq!(before.authority, first.id);
    assert_eq!(pki.issuing().id, after.authority);
    assert!(judged(&pki, &before.chain) && judged(&pki, &after.chain));
    // Edges check each other up to the root.
    for chain in [&before.chain, &after.chain] {
        assert!(verifies_as_server(&root, chain, "hq-1.edge.acme.hawser"));
    }
    assert_ne!(pki.server_key().cert, old_server.cert);
    assert!(verifies_as_server(&root, &pki.server_key().cert, CONTROLLER_NAME));
    assert!(matches!(pki.ask_for_next(), Err(PkiError::Overlap)));
    pki.install(&signed).unwrap();
    assert_eq!(pki.retiring().unwrap().1, first, "the same again changes nothing");

    let again = Pki::load(dir.path(), "acme", &pki.advertised).unwrap();
    assert_eq!((again.issuing(), again.retiring().unwrap().1), (pki.issuing(), first.clone()));
    assert_eq!(again.server_key().cert, pki.server_key().cert);
    again.retire().unwrap();
    assert!(!judged(&again, &before.chain) && judged(&again, &after.chain));
    assert!(!again.trusts(&first.id) && again.retiring().is_none());
    assert_eq!(Pki::load(dir.path(), "acme", &pki.advertised).unwrap().retiring(), None);
}

#[test]
fn a_ca_that_was_not_asked_for_or_that_the_root_did_not_sign_is_refused() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (pki, other) = (pki(here.path()), self::pki(there.path()));
    let foreign = signed_next(there.path(), &other);
    assert!(matches!(pki.install(&foreign), Err(PkiError::NotAsked)));
    let before = pki.issuing();
    let good = signed_next(here.path(), &pki);
    assert!(matches!(pki.install(&foreign), Err(PkiError::Authority(_))));
    for text in ["", "no certificate", &other.root_pem()] {
        assert!(pki.install(text).is_err(), "{text}");
    }
    // Signed by the right root, for another key.
    let root_key = std::fs::read_to_string(root_key_path(here.path())).unwrap();
    let elsewhere = sign_next(&pki.root_pem(), &root_key, &other.ask_for_next().unwrap()).unwrap();
    assert!(matches!(pki.install(&elsewhere), Err(PkiError::Certificate { what: "CA", .. })));
    assert_eq!((pki.issuing(), pki.retiring()), (before, None));
    let wrong_key = std::fs::read_to_string(root_key_path(there.path())).unwrap();
    let refused = sign_next(&pki.root_pem(), &wrong_key, &pki.ask_for_next().unwrap());
    assert!(matches!(refused, Err(PkiError::Certificate { what: "root", .. })));
    pki.install(&good).unwrap();
}

#[test]
fn a_crash_at_any_step_of_an_installation_is_settled_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let made = pki(dir.path());
    let first = made.issuing();
    let signed = signed_next(dir.path(), &made);
    let at = |name: &str| dir.path().join("pki").join(name);
    let load = || Pki::load(dir.path(), "acme", &made.advertised).unwrap();
    // Only the copy of the one before was written.
    std::fs::copy(at("intermediate.pem"), at("previous.pem")).unwrap();
    let loaded = load();
    assert_eq!((loaded.issuing(), loaded.retiring()), (first.clone(), None));
    // The certificate too: the key still has to move.
    std::fs::copy(at("intermediate.pem"), at("previous.pem")).unwrap();
    std::fs::write(at("intermediate.pem"), &signed).unwrap();
    let loaded = load();
    assert_ne!(loaded.issuing(), first);
    assert_eq!(loaded.retiring().unwrap().1, first);
    assert_eq!(loaded.request().unwrap(), None);
    assert!(!at("next.key").exists());
    // The certificate that the controller shows is of the CA that signs.
    let shown = edge_issuer(&loaded.server_key().cert[0]);
    assert_eq!(shown, loaded.issuing().id);
}

fn edge_issuer(certificate: &CertificateDer<'_>) -> String {
    parse::issuer_id(certificate)
}
