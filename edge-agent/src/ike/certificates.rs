//! Certificates that gateways know this edge by, and those of the CAs that it knows gateways by: the edge's own of the
//! fleet's CA, or files `<state>/certificates/NAME.pem` with their keys, `NAME.key`, that somebody put there. Private keys go to
//! charon only. They are read again at each look, so what is renewed is loaded within seconds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hawser_edge_core::config::PeerCa;
use hawser_edge_core::ike::{Blocked, KeyKind};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::oid_registry::{
    OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::control::Identity;
use crate::control::files::read_bounded;

/// Of the state directory.
pub const FOLDER: &str = "certificates";
const MAX_BYTES: u64 = 64 << 10;
const FOR_FILES: &str = "put NAME.pem (the certificate, then those above it) and NAME.key there, and keep others from reading the key";

/// A certificate of this edge, with what belongs to it.
pub(crate) struct Own {
    /// DER.
    pub certificate: Vec<u8>,
    /// Those above it, DER.
    pub authorities: Vec<Vec<u8>>,
    pub key: Zeroizing<Vec<u8>>,
    pub kind: KeyKind,
    /// As charon names it.
    pub key_id: String,
    /// The first name that it gives its holder.
    pub name: String,
}

/// By name; `None`: the one that the edge has of the fleet's CA.
pub(crate) fn own(state_dir: &Path, name: Option<&str>) -> Result<Own, Blocked> {
    match name {
        None => of_fleet(state_dir),
        Some(name) => of_files(state_dir, name),
    }
}

/// One or more, PEM or DER.
pub(crate) fn peer_cas(state_dir: &Path, peer_ca: &PeerCa) -> Result<Vec<Vec<u8>>, Blocked> {
    match peer_ca {
        PeerCa::Named(name) => chain(&file(state_dir, name, "pem")?, &format!("{name}.pem")),
        PeerCa::Pem(pem) => chain(pem.as_bytes(), "the gateway's CA in the fleet's document"),
    }
}

fn of_fleet(state_dir: &Path) -> Result<Own, Blocked> {
    let identity = Identity::load(state_dir).map_err(|error| Blocked {
        code: "IKE_CERTIFICATE_UNREADABLE",
        message: format!("this edge's own certificate: {}", crate::engine::chain(&error)),
        mend: error.mend().to_owned(),
    })?;
    let mut chain: Vec<Vec<u8>> = identity.chain().iter().map(|der| der.to_vec()).collect();
    let root = identity.root().to_vec();
    if !chain.contains(&root) {
        chain.push(root);
    }
    let key = Zeroizing::new(identity.key().der().secret_der().to_vec());
    put_together(chain, key, "this edge's own certificate")
}

fn of_files(state_dir: &Path, name: &str) -> Result<Own, Blocked> {
    let what = format!("{name}.pem");
    let chain = chain(&file(state_dir, name, "pem")?, &what)?;
    let key_path = state_dir.join(FOLDER).join(format!("{name}.key"));
    // Through links too: what counts is who can read the key.
    if let Ok(metadata) = fs::metadata(&key_path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        let path = key_path.display();
        return Err(Blocked {
            code: "IKE_KEY_EXPOSED",
            message: format!("others than its owner may read {path}"),
            mend: format!("chmod 600 {path}; if anybody may have read it, use a new key"),
        });
    }
    let key = Zeroizing::new(file(state_dir, name, "key")?);
    if String::from_utf8_lossy(&key).contains("ENCRYPTED") {
        let message =
            format!("{name}.key is encrypted, and there is nobody to ask for the password");
        return Err(unreadable(message));
    }
    put_together(chain, key, &what)
}

fn put_together(
    mut chain: Vec<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    what: &str,
) -> Result<Own, Blocked> {
    let certificate = chain.remove(0);
    let (_, parsed) = X509Certificate::from_der(&certificate)
        .map_err(|_| unreadable(format!("{what} is no X.509 certificate")))?;
    let validity = parsed.validity();
    let now = i64::try_from(crate::engine::unix_ms() / 1000).unwrap_or(i64::MAX);
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if now < from || now > to {
        return Err(Blocked {
            code: "IKE_CERTIFICATE_EXPIRED",
            message: format!("{what} is valid from {from} to {to} (Unix time)"),
            mend: "check the clock; if it is right, renew the certificate".to_owned(),
        });
    }
    let public = parsed.public_key();
    let algorithm = &public.algorithm.algorithm;
    let kind = if *algorithm == OID_PKCS1_RSAENCRYPTION {
        KeyKind::Rsa
    } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        KeyKind::Ecdsa
    } else if *algorithm == OID_SIG_ED25519 {
        KeyKind::Ed25519
    } else {
        return Err(unreadable(format!("the key of {what} is neither RSA, ECDSA nor Ed25519")));
    };
    let id = digest(&SHA1_FOR_LEGACY_USE_ONLY, &public.subject_public_key.data);
    let key_id = id.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    let name = first_name(&parsed);
    Ok(Own { authorities: chain, key, kind, key_id, name, certificate })
}

/// Of the alternative ones that IKE can say; else the subject.
fn first_name(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let mut names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.next().unwrap_or_else(|| certificate.subject().to_string())
}

/// At least one certificate.
fn chain(pem: &[u8], what: &str) -> Result<Vec<Vec<u8>>, Blocked> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|_| unreadable(format!("{what} is damaged")))?;
    if all.is_empty() {
        return Err(unreadable(format!("{what} holds no certificate in PEM")));
    }
    Ok(all.iter().map(|der| der.to_vec()).collect())
}

/// `name` is a DNS label: the decoder lets no path pass.
fn file(state_dir: &Path, name: &str, ending: &str) -> Result<Vec<u8>, Blocked> {
    let path = state_dir.join(FOLDER).join(format!("{name}.{ending}"));
    match read_bounded(&path, MAX_BYTES) {
        Ok(Some(content)) => Ok(content),
        Ok(None) => Err(Blocked {
            code: "IKE_CERTIFICATE_MISSING",
            message: format!("this edge has no {}", path.display()),
            mend: FOR_FILES.replace("NAME", name),
        }),
        Err(error) => Err(unreadable(crate::engine::chain(&error))),
    }
}

fn unreadable(message: String) -> Blocked {
    Blocked {
        code: "IKE_CERTIFICATE_UNREADABLE",
        message,
        mend: "compare it with `openssl x509 -noout -text -in NAME.pem`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(state: &Path, file: &str, text: &str, mode: u32) {
        let path = state.join(FOLDER).join(file);
        fs::create_dir_all(state.join(FOLDER)).expect("a folder");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn a_certificate_with_its_key_is_read_and_a_key_that_others_can_read_is_refused() {
        let state = tempfile::tempdir().expect("a folder");
        let at = state.path();
        let code = |name| own(at, Some(name)).err().map(|blocked| blocked.code);
        assert_eq!(code("dc"), Some("IKE_CERTIFICATE_MISSING"));
        let made = rcgen::generate_simple_self_signed(vec!["left.example.net".to_owned()]);
        let made = made.expect("a certificate");
        let key = made.signing_key.serialize_pem();
        put(at, "dc.pem", &made.cert.pem(), 0o644);
        put(at, "dc.key", &key, 0o640);
        assert_eq!(code("dc"), Some("IKE_KEY_EXPOSED"));
        put(at, "dc.key", &key, 0o600);
        let own = own(at, Some("dc")).unwrap_or_else(|blocked| panic!("{blocked:?}"));
        assert_eq!((own.name.as_str(), own.kind), ("left.example.net", KeyKind::Ecdsa));
        assert_eq!((own.key_id.len(), own.authorities.len()), (40, 0));
        assert_eq!(own.certificate, made.cert.der().to_vec());
        put(at, "dc.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----", 0o600);
        assert_eq!(code("dc"), Some("IKE_CERTIFICATE_UNREADABLE"));
        put(at, "dc.pem", &key, 0o644);
        assert_eq!(code("dc"), Some("IKE_CERTIFICATE_UNREADABLE"));
        let cas = peer_cas(at, &PeerCa::Pem(made.cert.pem())).expect("one");
        assert_eq!(cas, [made.cert.der().to_vec()]);
        let missing = peer_cas(at, &PeerCa::Named("ca".into())).expect_err("none");
        assert_eq!(missing.code, "IKE_CERTIFICATE_MISSING");
    }

    #[test]
    fn a_certificate_whose_time_is_over_is_refused() {
        let state = tempfile::tempdir().expect("a folder");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params =
            rcgen::CertificateParams::new(vec!["old.example".to_owned()]).expect("sound");
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        put(state.path(), "old.pem", &params.self_signed(&key).expect("signed").pem(), 0o644);
        put(state.path(), "old.key", &key.serialize_pem(), 0o600);
        let blocked = own(state.path(), Some("old")).err().expect("refused");
        assert_eq!(blocked.code, "IKE_CERTIFICATE_EXPIRED");
    }
}
