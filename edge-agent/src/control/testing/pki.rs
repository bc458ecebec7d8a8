//! A root, an intermediate, and what they sign.

use std::sync::Arc;

use hawser_proto::agent::v1 as wire;
use hawser_proto::authority::Authority;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

use crate::control::enrol::spki_sha256;
use crate::control::identity::{CONTROLLER_NAME, EdgeKey, Identity};

pub struct Ca {
    root: Arc<CertifiedIssuer<'static, KeyPair>>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    pub fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(ca_params("root", 1), key()).unwrap();
        Ca::under(&Arc::new(root))
    }

    fn under(root: &Arc<CertifiedIssuer<'static, KeyPair>>) -> Self {
        let (params, key) = (ca_params("fleet", 0), KeyPair::generate().unwrap());
        let intermediate = CertifiedIssuer::signed_by(params, key, &**root).unwrap();
        Ca { root: root.clone(), intermediate }
    }

    /// Another intermediate of the same root.
    pub fn next(&self) -> Self {
        Ca::under(&self.root)
    }

    pub fn authority_der(&self) -> Vec<u8> {
        self.intermediate.der().to_vec()
    }

    pub fn authority(&self) -> Authority {
        Authority::verify(self.intermediate.der(), self.root.der()).unwrap()
    }

    /// Signed by this intermediate.
    pub fn list(&self, number: u8, serials: &[Vec<u8>]) -> wire::RevocationList {
        let at = rcgen::date_time_ymd(2026, 1, 1);
        let entry = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: at,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at,
            next_update: rcgen::date_time_ymd(2027, 1, 1),
            crl_number: SerialNumber::from_slice(&[number]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = params.signed_by(&self.intermediate).unwrap();
        wire::RevocationList { crl_der: signed.der().to_vec(), issuer_der: self.authority_der() }
    }

    pub fn root(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }

    pub fn pin(&self) -> [u8; 32] {
        spki_sha256(&self.root()).unwrap()
    }

    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The controller's chain, root included, and its key.
    pub fn controller_pem(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![CONTROLLER_NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.intermediate).unwrap();
        let chain = [leaf.pem(), self.intermediate.pem(), self.root.pem()].concat();
        (chain, key.serialize_pem())
    }

    /// Signs a request; the name is the CA's choice.
    pub fn sign_edge(&self, csr_der: &[u8], fleet: &str, edge: &str) -> Vec<Vec<u8>> {
        let der = csr_der.to_vec().into();
        let mut csr = CertificateSigningRequestParams::from_der(&der).unwrap();
        edge_params(&mut csr.params, fleet, edge);
        let leaf = csr.signed_by(&self.intermediate).unwrap();
        vec![leaf.der().to_vec(), self.intermediate.der().to_vec()]
    }

    /// The identity of an enrolled edge, its key stored in `state_dir`.
    pub fn identity(
        &self,
        state_dir: &std::path::Path,
        edge: &str,
        controllers: &[String],
    ) -> Identity {
        let key = EdgeKey::load_or_create(state_dir).unwrap();
        let mut params = CertificateParams::default();
        edge_params(&mut params, "acme", edge);
        let leaf = params.signed_by(&key.pair().unwrap(), &self.intermediate).unwrap();
        let chain = vec![leaf.der().clone(), self.intermediate.der().clone()];
        Identity::new(key, chain, self.root(), controllers.to_vec()).unwrap()
    }
}

fn edge_params(params: &mut CertificateParams, fleet: &str, edge: &str) {
    let uri = format!("hawser://{fleet}/edge/{edge}");
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
}

fn ca_params(name: &str, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
