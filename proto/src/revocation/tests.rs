use proptest::prelude::*;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;

struct Ca {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

impl Ca {
    fn root() -> Self {
        Self::new(None, &[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign])
    }

    fn under(root: &Ca, usages: &[KeyUsagePurpose]) -> Self {
        Self::new(Some(root), usages)
    }

    fn new(above: Option<&Ca>, usages: &[KeyUsagePurpose]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages.to_vec();
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = match above {
            None => params.self_signed(&key).unwrap(),
            Some(above) => {
                params.signed_by(&key, &Issuer::from_params(&above.params, &above.key)).unwrap()
            }
        };
        Self { params, key, certificate }
    }

    fn list(&self, number: &[u8], serials: &[Vec<u8>]) -> Vec<u8> {
        let at = date_time_ymd(2026, 1, 1);
        let entry = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: at,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at,
            next_update: date_time_ymd(2027, 1, 1),
            crl_number: SerialNumber::from_slice(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        // Without usages rcgen does not look whether the issuer may.
        let mut issuer = self.params.clone();
        issuer.key_usages.clear();
        let signed = params.signed_by(&Issuer::from_params(&issuer, &self.key)).unwrap();
        Wire { crl_der: signed.der().to_vec(), issuer_der: self.certificate.der().to_vec() }
            .encode_to_vec()
    }
}

const SIGNS: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

#[test]
fn a_list_signed_under_the_root_is_taken_with_its_number_and_serials() {
    let root = Ca::root();
    let fleet = Ca::under(&root, &SIGNS);
    let serials = [vec![0x41; 16], vec![0xff, 1], vec![7]];
    let list = RevocationList::verify(&fleet.list(&[1, 0], &serials), root.certificate.der());
    let list = list.unwrap();
    assert_eq!(list.number(), 256);
    assert_eq!(list.serials().len(), 3);
    assert!(serials.iter().all(|serial| list.serials().contains(serial)));
    assert!(list.serials().contains(plain(&[0, 0xff, 1])), "DER writes a zero before it");
}

#[test]
fn who_did_not_get_the_right_from_this_root_signs_nothing() {
    let (root, other) = (Ca::root(), Ca::root());
    let serials = [vec![7]];
    let strangers = Ca::under(&other, &SIGNS);
    let signs_no_lists = Ca::under(&root, &[KeyUsagePurpose::KeyCertSign]);
    let edge = Ca::under(&root, &[KeyUsagePurpose::DigitalSignature]);
    for ca in [&other, &strangers, &signs_no_lists, &edge] {
        let list = RevocationList::verify(&ca.list(&[1], &serials), root.certificate.der());
        assert_eq!(list.unwrap_err(), ListFault::NotTrusted);
    }
    // A list of a stranger with the fleet's own CA beside it.
    let fleet = Ca::under(&root, &SIGNS);
    let mut forged = Wire::decode(strangers.list(&[9], &serials).as_slice()).unwrap();
    forged.issuer_der = fleet.certificate.der().to_vec();
    let list = RevocationList::verify(&forged.encode_to_vec(), root.certificate.der());
    assert_eq!(list.unwrap_err(), ListFault::NotTrusted);
}

#[test]
fn numbers_and_sizes_beyond_the_bounds_are_refused_by_code() {
    let root = Ca::root();
    let fleet = Ca::under(&root, &SIGNS);
    let many: Vec<Vec<u8>> = (256..=4_352_u16).map(|n| n.to_be_bytes().to_vec()).collect();
    let table = [
        (fleet.list(&[0], &[]), ListFault::NoNumber),
        (fleet.list(&[0xff; 8], &[]), ListFault::NoNumber),
        (fleet.list(&[0x11; 20], &[]), ListFault::NoNumber),
        (fleet.list(&[1], &many), ListFault::TooMany),
        (vec![0; MAX_BYTES + 1], ListFault::TooLong),
        (b"no list".to_vec(), ListFault::Unreadable("message")),
        (Vec::new(), ListFault::Unreadable("issuer")),
    ];
    for (bytes, fault) in table {
        let refused = RevocationList::verify(&bytes, root.certificate.der()).unwrap_err();
        assert_eq!(refused, fault);
        assert!(refused.code().starts_with("REVOCATIONS_"));
    }
    let most = fleet.list(&[1], &many[..MAX_SERIALS]);
    assert!(most.len() < MAX_BYTES, "{}", most.len());
    assert!(RevocationList::verify(&most, root.certificate.der()).is_ok());
}

#[test]
fn only_a_higher_number_supersedes() {
    let root = Ca::root();
    let fleet = Ca::under(&root, &SIGNS);
    let list = |number: u8| {
        RevocationList::verify(&fleet.list(&[number], &[]), root.certificate.der()).unwrap()
    };
    let (older, held, newer) = (list(1), list(2), list(3));
    assert!(held.supersedes(None) && newer.supersedes(Some(&held)));
    assert!(!older.supersedes(Some(&held)) && !list(2).supersedes(Some(&held)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_altered_list_is_never_taken(at in 0_usize..2_000, bit in 0_u8..8) {
        let root = Ca::root();
        let fleet = Ca::under(&root, &SIGNS);
        let mut bytes = fleet.list(&[5], &[vec![0x41; 16], vec![0x42; 16]]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let taken = RevocationList::verify(&bytes, root.certificate.der());
        // ECDSA has no second valid form here; what is left over of protobuf is not part of a list.
        if let Ok(list) = taken {
            prop_assert_eq!(list.number(), 5);
            prop_assert_eq!(list.serials().len(), 2);
        }
    }

    #[test]
    fn octets_of_any_kind_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let root = Ca::root();
        prop_assert!(RevocationList::verify(&bytes, root.certificate.der()).is_err());
        let wire = Wire { crl_der: bytes, issuer_der: root.certificate.der().to_vec() };
        prop_assert!(
            RevocationList::verify(&wire.encode_to_vec(), root.certificate.der()).is_err()
        );
    }

    #[test]
    fn pieces_make_the_list_again_and_nothing_else_does(
        count in 0_usize..1_200,
        dropped in any::<proptest::sample::Index>(),
    ) {
        let root = Ca::root();
        let fleet = Ca::under(&root, &SIGNS);
        let serials: Vec<Vec<u8>> =
            (0..count).map(|n| [&[0x41; 14][..], &(n as u16).to_be_bytes()].concat()).collect();
        let bytes = fleet.list(&[5], &serials);
        let parts = RevocationList::verify(&bytes, root.certificate.der()).unwrap().parts();
        let mut assembly = Assembly::default();
        let mut whole = None;
        for part in parts.clone() {
            prop_assert!(whole.is_none());
            whole = assembly.take(part);
        }
        prop_assert_eq!(whole.as_deref(), Some(bytes.as_slice()));
        let dropped = dropped.index(parts.len());
        let mut rest = parts;
        rest.remove(dropped);
        prop_assert!(rest.into_iter().all(|part| assembly.take(part).is_none()));
        prop_assert!(assembly.octets.len() <= MAX_BYTES);
    }
}
