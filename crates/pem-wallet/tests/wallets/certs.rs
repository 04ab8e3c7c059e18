//! Certificates and wallets for tests. smtp-client's tests use this file too.

#![allow(dead_code)] // Neither uses all of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use pem_wallet::Wallet;
use pkcs8::der::Encode;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Parameters;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tempfile::TempDir;

/// The name of most servers in tests.
pub const NAME: &str = "mail.example.test";

pub type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Parameters of an issuer with this common name.
pub fn issuer_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub fn root(name: &str) -> Issuer {
    root_with(issuer_params(name))
}

pub fn root_with(params: CertificateParams) -> Issuer {
    Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub fn intermediate(params: CertificateParams, issuer: &Issuer) -> Issuer {
    Issuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

/// Parameters of a server certificate for these names, which may be addresses.
pub fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, "the server");
    params
}

/// Sets the validity of a certificate, in days from now.
pub fn valid(params: &mut CertificateParams, from: i64, until: i64) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let at = |days: i64| {
        let today = rcgen::date_time_ymd(1970, 1, 1) + now;
        let distance = day * u32::try_from(days.unsigned_abs()).unwrap();
        if days < 0 {
            today - distance
        } else {
            today + distance
        }
    };
    params.not_before = at(from);
    params.not_after = at(until);
}

/// A certificate with its key and the rest of its chain.
pub struct Credentials {
    pub chain: Vec<CertificateDer<'static>>,
    pub pem: String,
    pub key: KeyPair,
}

impl Credentials {
    pub fn issued(params: CertificateParams, issuer: &Issuer) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key,
        }
    }

    pub fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key,
        }
    }

    /// With another certificate sent after its own.
    pub fn with(mut self, issuer: &Issuer) -> Self {
        self.chain.push(issuer.der().clone());
        self
    }

    /// The chain with the key, which need not match.
    pub fn certified_key(&self) -> CertifiedKey {
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der()).into();
        CertifiedKey::new(self.chain.clone(), any_supported_type(&key).unwrap())
    }
}

/// A directory with these files.
pub fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

/// A wallet of one file with these blocks.
pub fn wallet(blocks: &[String]) -> Arc<Wallet> {
    let directory = directory(&[("trusted.pem", &blocks.concat())]);
    open(directory.path())
}

pub fn open(directory: &Path) -> Arc<Wallet> {
    Arc::new(Wallet::open(directory).unwrap())
}

/// The password of [`encrypted`] keys.
pub const PASSWORD: &str = "correct horse";

/// A PKCS#8 key, encrypted with this many rounds of PBKDF2, as PEM.
pub fn encrypted(key: &[u8], rounds: u32) -> String {
    let parameters =
        Parameters::generate_pbkdf2_sha256_aes256cbc(rounds, &[1; 16], [2; 16]).unwrap();
    let sealed = parameters.encrypt(PASSWORD, key).unwrap();
    let info = pkcs8::EncryptedPrivateKeyInfoRef {
        encryption_algorithm: EncryptionScheme::Pbes2(parameters),
        encrypted_data: sealed.as_slice().try_into().unwrap(),
    };
    pem("ENCRYPTED PRIVATE KEY", &info.to_der().unwrap())
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
