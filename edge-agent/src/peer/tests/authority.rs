//! Certificate authorities of test fleets: a root, an intermediate of the fleet, edges.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::peer::Identity;
use crate::peer::identity::dns_name;

/// The root, and the intermediate of one fleet.
pub(super) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    fleet_ca: CertifiedIssuer<'static, KeyPair>,
    pub(super) fleet: String,
}

/// What a certificate says, where it is not what it should be.
#[derive(Clone)]
pub(super) struct Certified {
    pub(super) serial: Vec<u8>,
    pub(super) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(super) expired: bool,
    pub(super) uri: Option<String>,
}

impl Default for Certified {
    fn default() -> Self {
        Certified {
            serial: rand::random::<[u8; 8]>().map(|o| o & 0x7f | 1).to_vec(),
            usages: vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
            expired: false,
            uri: None,
        }
    }
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

impl Authority {
    pub(super) fn new(fleet: &str) -> Self {
        let root = CertifiedIssuer::self_signed(ca("root"), KeyPair::generate().unwrap()).unwrap();
        Authority::under(root, fleet)
    }

    fn under(root: CertifiedIssuer<'static, KeyPair>, fleet: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let fleet_ca = CertifiedIssuer::signed_by(ca(fleet), key, &root).unwrap();
        Authority { root, fleet_ca, fleet: fleet.into() }
    }

    /// A certificate of this fleet's CA.
    pub(super) fn identity(&self, edge: &str) -> Identity {
        self.certify(&self.fleet, edge, &Certified::default())
    }

    /// A certificate of this CA, whatever it says.
    pub(super) fn certify(&self, fleet: &str, edge: &str, what: &Certified) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([dns_name(fleet, edge)]).unwrap();
        let uri = what.uri.clone().unwrap_or(format!("hawser://{fleet}/edge/{edge}"));
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        params.serial_number = Some(SerialNumber::from_slice(&what.serial));
        params.extended_key_usages = what.usages.clone();
        if what.expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let leaf = params.signed_by(&key, &self.fleet_ca).unwrap();
        let chain = vec![leaf.der().clone(), self.fleet_ca.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Identity::from_der(chain, key, self.root_der())
    }

    fn root_der(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }
}
