//! A wallet: what is trusted, what is revoked, and the client identity.

use std::path::Path;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use smtp_core::secret::Secret;

use crate::client::{ClientIdentity, SealedIdentity};
use crate::error::WalletError;
use crate::files::{self, Directory};
use crate::reader;
use crate::warning::Warning;
use crate::x509::{IssuerFault, ListFault, RevocationList, Summary, fingerprint};

/// The contents of a wallet, parsed.
#[derive(Debug)]
pub struct Wallet {
    pub(crate) location: String,
    pub(crate) issuers: Issuers,
    /// The SHA-256 of each trusted certificate.
    pub(crate) pinned: Vec<[u8; 32]>,
    pub(crate) revocations: Vec<RevocationList>,
    /// The file of each revocation list, at the same index.
    pub(crate) list_files: Vec<String>,
    pub(crate) identities: Vec<SealedIdentity>,
    pub(crate) certificates: Vec<CertificateInfo>,
    pub(crate) warnings: Vec<Warning>,
    /// A digest of the certificates and revocation lists.
    pub(crate) content: [u8; 32],
}

/// A summary of one certificate or revocation list of a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Its file: a name in the wallet's directory, or the path of the system's trust store.
    pub file: String,
    /// Its purpose.
    pub kind: CertificateKind,
    /// Its subject; a revocation list has none.
    pub subject: Option<String>,
    /// Its issuer.
    pub issuer: String,
    /// Its serial number in hexadecimal; for a revocation list the CRL number, if it has one.
    pub serial: Option<String>,
    /// The beginning of its validity, in seconds since 1970.
    pub not_before: i64,
    /// The end of its validity, in seconds since 1970; a revocation list may have none.
    pub not_after: Option<i64>,
    /// The SHA-256 of its DER encoding, in hexadecimal.
    pub sha256_fingerprint: String,
}

/// The purpose of a certificate in a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// Trusted: an issuer, or the certificate of a server.
    TrustAnchor,
    /// Part of the client identity.
    ClientCertificate,
    /// A certificate revocation list.
    Crl,
}

impl CertificateKind {
    /// Its name for a listing.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrustAnchor => "trust anchor",
            Self::ClientCertificate => "client certificate",
            Self::Crl => "crl",
        }
    }
}

/// The trusted certificates that may issue others, each with its summary at the same index.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    pub anchors: Vec<TrustAnchor<'static>>,
    pub summaries: Vec<Summary>,
    /// The subjects of the other certificates, and why they may not issue any.
    pub unfit: Vec<(Vec<u8>, IssuerFault)>,
}

impl Issuers {
    /// Why the certificate of this name may not issue others; `None` if the wallet has no such
    /// certificate.
    pub fn fault_of(&self, raw_subject: &[u8]) -> Option<IssuerFault> {
        let mut unfit = self.unfit.iter();
        unfit.find_map(|(subject, fault)| (subject == raw_subject).then_some(*fault))
    }
}

impl Wallet {
    /// Reads a directory of PEM files.
    ///
    /// # Errors
    /// The directory or one of its files can't be read, a limit is exceeded, or there is no
    /// certificate.
    pub fn open(directory: &Path) -> Result<Self, WalletError> {
        reader::read(Directory::open(directory, None)?.read()?)
    }

    /// Reads the trust store of the system.
    ///
    /// # Errors
    /// There is no trust store, or as [`Wallet::open`].
    pub fn system() -> Result<Self, WalletError> {
        reader::read(files::system()?)
    }

    /// Summaries of the certificates and revocation lists.
    pub fn certificates(&self) -> &[CertificateInfo] {
        &self.certificates
    }

    /// The parts that are not used or risky to use, and the revocation lists that have expired by
    /// now.
    pub fn warnings(&self) -> Vec<Warning> {
        let now = UnixTime::now();
        let lists = self.list_files.iter().zip(&self.revocations);
        let expired = lists.filter_map(|(file, list)| {
            Some(Warning::RevocationList {
                file: file.clone(),
                issuer: list.issuer.clone(),
                fault: ListFault::Expired(list.expired_at(now)?),
            })
        });
        self.warnings.iter().cloned().chain(expired).collect()
    }

    /// Whether there is a client identity, usable or not.
    pub fn has_client_identity(&self) -> bool {
        !self.identities.is_empty()
    }

    /// The client identity, or `None` if the wallet has no key.
    ///
    /// - `password`: decrypts the key if it is encrypted.
    /// - `check`: is called before and during the decryption, every few milliseconds. An error from
    ///   it ends the decryption and is returned; it may also unwind. The longest time between two
    ///   calls is half a second, for scrypt.
    ///
    /// # Errors
    /// [`WalletError::Key`] or [`WalletError::OutOfMemory`], or the error of `check`.
    pub fn client_identity<E: From<WalletError>>(
        &self,
        password: Option<&Secret>,
        check: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<Option<ClientIdentity>, E> {
        match self.identities.first() {
            Some(identity) => identity.open(password, check).map(Some),
            None => Ok(None),
        }
    }

    /// The directory, or `system:`.
    pub fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    pub(crate) fn revocations(&self) -> &[RevocationList] {
        &self.revocations
    }

    /// Whether this certificate itself is trusted.
    pub(crate) fn pins(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.contains(&fingerprint(certificate))
    }

    /// A digest of everything that decides what this wallet trusts: its certificates and revocation
    /// lists.
    pub fn trust_digest(&self) -> [u8; 32] {
        self.content
    }
}
