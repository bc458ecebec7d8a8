use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};

use super::*;

const SIGNS: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

struct Ca {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

fn ca(above: Option<&Ca>, constraint: BasicConstraints, usages: &[KeyUsagePurpose]) -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(constraint);
    params.key_usages = usages.to_vec();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = match above {
        None => params.self_signed(&key).unwrap(),
        Some(above) => {
            params.signed_by(&key, &Issuer::from_params(&above.params, &above.key)).unwrap()
        }
    };
    Ca { params, key, certificate }
}

fn root() -> Ca {
    ca(None, BasicConstraints::Constrained(1), &SIGNS)
}

#[test]
fn a_ca_of_this_root_is_known_by_the_key_identifier_that_its_certificates_carry() {
    let root = root();
    let fleet = ca(Some(&root), BasicConstraints::Constrained(0), &SIGNS);
    let authority = Authority::verify(fleet.certificate.der(), root.certificate.der()).unwrap();
    assert_eq!(authority.public_key, fleet.key.public_key_raw());
    let mut params = CertificateParams::default();
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&fleet.params, &fleet.key);
    let edge = params.signed_by(&key, &issuer).unwrap();
    assert_eq!(issuer_key_id(edge.der()), Some(authority.key_id));
    assert_eq!(issuer_key_id(b"no certificate"), None);
}

#[test]
fn what_another_root_signed_or_what_may_do_less_or_more_is_no_ca() {
    let (root, other) = (root(), root());
    let verify = |ca: &Ca| Authority::verify(ca.certificate.der(), root.certificate.der());
    let of = |constraint, usages: &[_]| verify(&ca(Some(&root), constraint, usages));
    let foreign = ca(Some(&other), BasicConstraints::Constrained(0), &SIGNS);
    assert_eq!(verify(&foreign), Err(AuthorityFault::NotTrusted));
    assert_eq!(verify(&root), Err(AuthorityFault::NotAuthority), "the root is no CA for edges");
    let wider = of(BasicConstraints::Unconstrained, &SIGNS);
    assert_eq!(wider, Err(AuthorityFault::NotAuthority));
    let weaker = of(BasicConstraints::Constrained(0), &SIGNS[..1]);
    assert_eq!(weaker, Err(AuthorityFault::NotAuthority));

    let good = ca(Some(&root), BasicConstraints::Constrained(0), &SIGNS);
    let der = good.certificate.der();
    for length in 0..der.len() {
        assert!(Authority::verify(&der[..length], root.certificate.der()).is_err(), "{length}");
    }
    // How the signature is written is not signed, and may be written otherwise; what is said may not.
    let sound = verify(&good);
    for at in 0..der.len() {
        let mut forged = der.to_vec();
        forged[at] ^= 1;
        let seen = Authority::verify(&forged, root.certificate.der());
        assert!(seen.is_err() || seen == sound, "{at}: {seen:?}");
    }
}
