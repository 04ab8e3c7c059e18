//! Private certificate authorities, server certificates and wallets.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::crypto::ring::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, SupportedCipherSuite, SupportedProtocolVersion};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The chain below the root, leaf first; empty for a root.
    chain: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// A root with parameters changed by the test, such as dates or constraints.
    pub fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, key()).unwrap();
        Self {
            issuer,
            chain: Vec::new(),
        }
    }

    /// An intermediate CA issued by this one.
    pub fn intermediate(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Authority {
        let mut params = authority_params(name);
        change(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, key(), &self.issuer).unwrap();
        let chain = std::iter::once(issuer.der().clone()).chain(self.chain.iter().cloned());
        Self {
            chain: chain.collect(),
            issuer,
        }
    }

    /// A server certificate for these names (an address becomes an iPAddress).
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    pub fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = leaf_params(names);
        change(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = std::iter::once(certificate.der().clone()).chain(self.chain.iter().cloned());
        Identity {
            chain: chain.collect(),
            pem: certificate.pem(),
            key,
        }
    }

    /// A client certificate, with clientAuth instead of serverAuth.
    pub fn issue_client(&self, name: &str) -> Identity {
        self.issue_with(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// A revocation list with these serial numbers.
    pub fn revocation_list(&self, serials: &[SerialNumber]) -> String {
        let now = date_time_ymd(2020, 1, 1);
        let revoked = |serial: &SerialNumber| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// A certificate with its key and the chain to send.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate alone.
    pub pem: String,
    pub key: KeyPair,
}

impl Identity {
    /// A self-signed certificate.
    pub fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = leaf_params(names);
        params.use_authority_key_identifier_extension = false;
        change(&mut params);
        let key = key();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key,
        }
    }

    /// A certificate from another source; `pem` is the whole chain, leaf first.
    pub fn from_pem(pem: &str, key: &str) -> Self {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(Result::unwrap)
            .collect();
        Self {
            chain,
            pem: pem.to_owned(),
            key: KeyPair::from_pem(key).unwrap(),
        }
    }

    /// A TLS server with this certificate, versions 1.2 and 1.3.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server_with(rustls::ALL_VERSIONS, ring::DEFAULT_CIPHER_SUITES)
    }

    pub fn server_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        suites: &[SupportedCipherSuite],
    ) -> Arc<ServerConfig> {
        let provider = CryptoProvider {
            cipher_suites: suites.to_vec(),
            ..ring::default_provider()
        };
        Arc::new(
            builder(versions, provider)
                .with_no_client_auth()
                .with_cert_resolver(self.resolver()),
        )
    }

    /// A TLS server with this key exchange group only. A client that offers another first gets a
    /// HelloRetryRequest.
    pub fn server_with_group(&self, group: &'static dyn SupportedKxGroup) -> Arc<ServerConfig> {
        let provider = CryptoProvider {
            kx_groups: vec![group],
            ..ring::default_provider()
        };
        Arc::new(
            builder(rustls::ALL_VERSIONS, provider)
                .with_no_client_auth()
                .with_cert_resolver(self.resolver()),
        )
    }

    /// A TLS server that requests a client certificate of this CA, or requires it.
    pub fn server_asking(&self, authority: &Authority, insist: bool) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if insist {
            verifier
        } else {
            verifier.allow_unauthenticated()
        };
        Arc::new(
            builder(rustls::ALL_VERSIONS, ring::default_provider())
                .with_client_cert_verifier(verifier.build().unwrap())
                .with_cert_resolver(self.resolver()),
        )
    }

    /// The certificate and its unencrypted key, in the wallet format of a client identity.
    pub fn pem_with_key(&self) -> String {
        format!("{}{}", self.pem, self.key.serialize_pem())
    }

    /// Sends the certificate unchecked: some are bad on purpose.
    fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let key = any_supported_type(&key).unwrap();
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(
            self.chain.clone(),
            key,
        )))
    }
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
    provider: CryptoProvider,
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
}

/// The only cipher suites of OCI Email Delivery.
pub const ECDHE_GCM: [SupportedCipherSuite; 4] = [
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
];

/// A directory of PEM files that the server's user can read. It is removed when dropped.
pub struct Wallet {
    directory: tempfile::TempDir,
}

impl Wallet {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("wallet.")
            .tempdir_in("/tmp")
            .unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self { directory }
    }

    /// A wallet that trusts this CA.
    pub fn of(authority: &Authority) -> Self {
        let wallet = Self::new();
        wallet.add("ca.pem", &authority.pem());
        wallet
    }

    pub fn add(&self, file: &str, content: &str) -> &Self {
        self.add_with_mode(file, content, 0o644)
    }

    /// Adds a file with these permissions, owned by the server's user.
    pub fn add_with_mode(&self, file: &str, content: &str, mode: u32) -> &Self {
        let path = self.path().join(file);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let data = &crate::cluster::Cluster::shared().data_directory;
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(data).unwrap());
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        self
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn locator(&self) -> String {
        format!("file:{}", self.path().display())
    }
}

impl Default for Wallet {
    fn default() -> Self {
        Self::new()
    }
}
