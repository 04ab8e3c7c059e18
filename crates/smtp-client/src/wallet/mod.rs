//! Wallets: directories of PEM files that say whom to trust, and at times who we are.
//!
//! - A `CERTIFICATE` block is trusted: as an issuer if it may issue, and as a server's own certificate (pinned).
//! - A private key makes its file the client identity; the certificates beside it are its chain and trust nobody.
//! - An `X509 CRL` block withdraws what one issuer has issued.
//!
//! A block that can't be used is left out with a warning that names the file and the line, never the content. A
//! wallet as a whole is refused if it is missing, unreadable, too big, or has no certificate in it. Only regular files
//! are read. PKCS#12 and Oracle's own formats are not.

mod cache;
mod client;
mod decrypt;
mod files;
mod locator;
mod pem;

use std::collections::HashMap;
use std::path::Path;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use smtp_core::limits;
use smtp_core::secret::Secret;

pub use cache::WalletCache;
pub use client::ClientIdentity;
pub use locator::{Locator, WalletSource};

use crate::error::NetError;
use crate::memory;
use crate::wait::{Deadline, Wait};
use crate::x509::{RevocationList, Summary, date, fingerprint, hex};
use client::{KeyForm, SealedIdentity, SealedKey};
use files::{Directory, WalletFile};
use pem::Content;

/// The contents of a wallet, parsed.
#[derive(Debug)]
pub struct Wallet {
    location: String,
    issuers: Issuers,
    pinned: Vec<[u8; 32]>,
    revocations: Vec<RevocationList>,
    identities: Vec<SealedIdentity>,
    certificates: Vec<CertificateInfo>,
    warnings: Vec<String>,
    /// What is to be said of each list once it has expired, at the same index.
    expiries: Vec<String>,
    content: [u8; 32],
}

/// One certificate or revocation list of a wallet, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The file it is in: a name in the wallet's directory, or a path for the system's trust store.
    pub file: String,
    /// What it is there for.
    pub kind: CertificateKind,
    /// Whom it is for; a revocation list has none.
    pub subject: Option<String>,
    /// Who has issued it.
    pub issuer: String,
    /// Its serial number in hexadecimal; of a revocation list, its number if it has one.
    pub serial: Option<String>,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when, in seconds since 1970; a revocation list may leave it open.
    pub not_after: Option<i64>,
    /// The SHA-256 of its DER encoding, in hexadecimal.
    pub sha256_fingerprint: String,
}

/// What a wallet's certificate is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// It is trusted.
    TrustAnchor,
    /// It says who we are.
    ClientCertificate,
    /// It is a list of what is not to be trusted any more.
    Crl,
}

impl CertificateKind {
    /// As people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrustAnchor => "trust anchor",
            Self::ClientCertificate => "client certificate",
            Self::Crl => "crl",
        }
    }
}

/// The trusted certificates that may issue others, with what the verifier has to know of each at the same index.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    pub anchors: Vec<TrustAnchor<'static>>,
    pub summaries: Vec<Summary>,
    /// The subjects of the other certificates, and why they may not issue any.
    unfit: Vec<(Vec<u8>, &'static str)>,
}

impl Issuers {
    /// Why an issuer of this name is none, if the wallet has one.
    pub fn fault_of(&self, raw_subject: &[u8]) -> Option<&'static str> {
        let mut unfit = self.unfit.iter();
        unfit.find_map(|(subject, fault)| (subject == raw_subject).then_some(*fault))
    }
}

impl Wallet {
    /// Reads a directory of PEM files.
    pub fn open(directory: &Path) -> Result<Self, NetError> {
        Self::read(Directory::open(directory, None)?.read()?)
    }

    /// Reads the machine's own trust store.
    pub fn system() -> Result<Self, NetError> {
        Self::read(files::system()?)
    }

    /// What can be looked at.
    pub fn certificates(&self) -> &[CertificateInfo] {
        &self.certificates
    }

    /// What was left out, what is unwise, and which revocation lists have expired by now, one
    /// sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let now = UnixTime::now();
        let expired = self.revocations.iter().zip(&self.expiries);
        let expired = expired.filter(|(list, _)| list.has_expired(now));
        let expired = expired.map(|(_, warning)| warning);
        self.warnings.iter().chain(expired).cloned().collect()
    }

    /// Whether there is a client identity, whatever its key needs to be opened.
    pub fn has_client_identity(&self) -> bool {
        !self.identities.is_empty()
    }

    /// The client identity, its key decrypted by the password if it is encrypted; `None` if the
    /// wallet has no key.
    ///
    /// # Errors
    /// The key can't be used, or it was not decrypted by the deadline. An interrupt may unwind.
    pub fn client_identity(
        &self,
        password: Option<&Secret>,
        wait: &dyn Wait,
        deadline: Deadline,
    ) -> Result<Option<ClientIdentity>, NetError> {
        let Some(identity) = self.identities.first() else {
            return Ok(None);
        };
        let mut pause = || {
            wait.check()?;
            match deadline.passed() {
                true => Err(NetError::timeout("decrypting the client's private key")),
                false => Ok(()),
            }
        };
        identity.open(password, &mut pause).map(Some)
    }

    /// Where it came from, for messages.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    pub(crate) fn revocations(&self) -> &[RevocationList] {
        &self.revocations
    }

    /// Whether this very certificate is trusted.
    pub(crate) fn pins(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.contains(&fingerprint(certificate))
    }

    /// A digest of all that decides whom this wallet trusts.
    pub(crate) fn trust_digest(&self) -> [u8; 32] {
        self.content
    }

    fn read(listing: files::Listing) -> Result<Self, NetError> {
        let mut reader = Reader {
            warnings: listing.warnings,
            ..Reader::default()
        };
        for file in &listing.files {
            reader.add_file(file)?;
        }
        reader.finish(listing.location, listing.foreign)
    }
}

/// Octets that parsing a file takes for each octet of it, at most.
const OCTETS_PER_OCTET: usize = 8;
/// Octets that parsing one more block takes, of an ordinary one.
const BLOCK: usize = 32 * 1024;

/// A wallet in the making.
#[derive(Default)]
struct Reader {
    issuers: Issuers,
    pinned: Vec<[u8; 32]>,
    revocations: Vec<RevocationList>,
    identities: Vec<SealedIdentity>,
    certificates: Vec<CertificateInfo>,
    warnings: Vec<String>,
    content: Sha256,
    blocks: usize,
    /// The certificates that are trusted, by their subjects, and the lists, with their files.
    trusted: HashMap<Vec<u8>, Vec<CertificateDer<'static>>>,
    lists: Vec<(String, Vec<u8>)>,
}

impl Reader {
    fn add_file(&mut self, file: &WalletFile) -> Result<(), NetError> {
        if !pem::looks_like_pem(&file.content) {
            self.add_without_pem(file);
            return Ok(());
        }
        memory::require(file.content.len() * OCTETS_PER_OCTET)?;
        let mut found = FileContent::default();
        for block in pem::blocks(&file.content) {
            memory::require(BLOCK)?;
            self.blocks += 1;
            if self.blocks > limits::WALLET_BLOCKS {
                let most = limits::WALLET_BLOCKS;
                return Err(NetError::wallet(format!(
                    "the wallet has more than {most} PEM blocks"
                )));
            }
            let outcome = block.content.and_then(|content| found.add(content));
            if let Err(reason) = outcome {
                let place = place(&file.name, block.line);
                self.warnings
                    .push(format!("{place}: this block is not used: {reason}"));
            }
        }
        self.make_room(found.certificates.len() + found.lists.len())?;
        self.add_content(file, found);
        Ok(())
    }

    /// Room for so many more certificates and lists.
    fn make_room(&mut self, additional: usize) -> Result<(), NetError> {
        memory::reserve(&mut self.issuers.anchors, additional)?;
        memory::reserve(&mut self.issuers.summaries, additional)?;
        memory::reserve(&mut self.pinned, additional)?;
        memory::reserve(&mut self.revocations, additional)?;
        memory::reserve(&mut self.certificates, additional)
    }

    /// A file with no PEM in it: plain DER, as Windows exports `.cer`, or nothing of use.
    fn add_without_pem(&mut self, file: &WalletFile) {
        let certificate = CertificateDer::from(file.content.to_vec());
        match Summary::of_certificate(&certificate) {
            Some(summary) if !file.is_called_pem() => self.trust(file, certificate, summary),
            Some(_) => self.warnings.push(format!(
                "file \"{}\" is not used: it is DER under the name of a PEM file",
                file.name
            )),
            None => self.warnings.push(format!(
                "file \"{}\" is not used: it has no PEM block in it",
                file.name
            )),
        }
    }

    fn add_content(&mut self, file: &WalletFile, found: FileContent) {
        for (der, list) in found.lists {
            let print = self.remember(b"crl", &der);
            self.certificates.push(CertificateInfo {
                file: file.name.clone(),
                kind: CertificateKind::Crl,
                subject: None,
                issuer: list.issuer.clone(),
                serial: list.number.clone(),
                not_before: list.this_update,
                not_after: list.next_update,
                sha256_fingerprint: hex(&print),
            });
            for fault in &list.faults {
                self.warnings.push(of_list(&file.name, &list, fault));
            }
            self.lists.push((file.name.clone(), der));
            self.revocations.push(list);
        }
        let Some(key) = found.key else {
            for (certificate, summary) in found.certificates {
                self.trust(file, certificate, summary);
            }
            return;
        };
        if found.certificates.is_empty() {
            self.warnings.push(format!(
                "file \"{}\": the private key is not used: its certificate is not in the same file",
                file.name
            ));
            return;
        }
        for (certificate, summary) in &found.certificates {
            let kind = CertificateKind::ClientCertificate;
            let print = fingerprint(certificate);
            self.certificates.push(info(file, kind, summary, &print));
        }
        if let Some(first) = self.identities.first() {
            self.warnings.push(format!(
                "file \"{}\": this client identity is not used: the one in \"{}\" comes first",
                file.name,
                first.file()
            ));
        }
        let chain = found.certificates.into_iter().map(|(der, _)| der).collect();
        self.identities.push(SealedIdentity::new(file, chain, key));
    }

    fn trust(&mut self, file: &WalletFile, der: CertificateDer<'static>, summary: Summary) {
        let print = self.remember(b"certificate", &der);
        let kind = CertificateKind::TrustAnchor;
        self.certificates.push(info(file, kind, &summary, &print));
        if self.pinned.contains(&print) {
            return;
        }
        self.pinned.push(print);
        let namesakes = self.trusted.entry(summary.raw_subject.clone());
        namesakes.or_default().push(der.clone());
        let anchor = match summary.issuer_fault {
            None => webpki::anchor_from_trusted_cert(&der).map_err(|_| "it is malformed"),
            Some(fault) => Err(fault),
        };
        match anchor {
            Ok(anchor) => {
                self.issuers.anchors.push(anchor.to_owned());
                self.issuers.summaries.push(summary);
            }
            Err(fault) => self.unfit(file, summary, fault),
        }
    }

    /// A certificate that may issue none. If it has no server's name either, it is of no use.
    fn unfit(&mut self, file: &WalletFile, summary: Summary, fault: &'static str) {
        if !summary.names_server {
            self.warnings.push(format!(
                "file \"{}\": the certificate of \"{}\" is of no use: {fault}, and it has no subject \
                 alternative name of a server",
                file.name,
                summary.label()
            ));
        }
        self.issuers.unfit.push((summary.raw_subject, fault));
    }

    /// Adds something to the digest of the content, and returns its own digest.
    fn remember(&mut self, kind: &[u8], der: &[u8]) -> [u8; 32] {
        let print = fingerprint(der);
        self.content.update(kind);
        self.content.update(print);
        print
    }

    /// Warns of lists that are not by the issuer of that name in the wallet. Where that one is not
    /// there, or too many are, nothing can be said.
    fn check_signatures(&mut self) {
        for ((file, der), list) in self.lists.iter().zip(&self.revocations) {
            let issuers = self.trusted.get(&list.raw_issuer);
            if let Some(issuers) = issuers.filter(|all| all.len() <= limits::LIST_ISSUERS)
                && !issuers
                    .iter()
                    .any(|issuer| RevocationList::is_signed_by(der, issuer))
            {
                let fault =
                    "has a signature that does not verify with the key of that name in the wallet";
                self.warnings.push(of_list(file, list, fault));
            }
        }
    }

    fn finish(mut self, location: String, foreign: Vec<String>) -> Result<Wallet, NetError> {
        self.check_signatures();
        let lists = self.lists.iter().zip(&self.revocations);
        let expiries = lists.map(|((file, _), list)| {
            let at = date(list.next_update.unwrap_or_default());
            of_list(
                file,
                list,
                &format!("expired on {at}: later revocations are missing"),
            )
        });
        let expiries = expiries.collect();
        let is_certificate = |info: &CertificateInfo| info.kind != CertificateKind::Crl;
        if !self.certificates.iter().any(is_certificate) {
            return Err(no_certificate(&location, &foreign, &self.warnings));
        }
        Ok(Wallet {
            location,
            issuers: self.issuers,
            pinned: self.pinned,
            revocations: self.revocations,
            identities: self.identities,
            certificates: self.certificates,
            warnings: self.warnings,
            expiries,
            content: self.content.finalize().into(),
        })
    }
}

/// What one file holds: its certificates mean different things with and without a key among them.
#[derive(Default)]
struct FileContent {
    certificates: Vec<(CertificateDer<'static>, Summary)>,
    lists: Vec<(Vec<u8>, RevocationList)>,
    key: Option<SealedKey>,
}

impl FileContent {
    fn add(&mut self, content: Content<'_>) -> Result<(), &'static str> {
        match content.label {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let der = CertificateDer::from(content.der.to_vec());
                let summary = Summary::of_certificate(&der).ok_or("it is not a certificate")?;
                self.certificates.push((der, summary));
            }
            "X509 CRL" => {
                let list = RevocationList::parse(&content.der);
                let list = list.ok_or("it is not a revocation list")?;
                self.lists.push((content.der.to_vec(), list));
            }
            "PRIVATE KEY" => self.add_key(KeyForm::Pkcs8, content)?,
            "RSA PRIVATE KEY" => self.add_key(KeyForm::Pkcs1, content)?,
            "EC PRIVATE KEY" => self.add_key(KeyForm::Sec1, content)?,
            "ENCRYPTED PRIVATE KEY" => self.add_key(KeyForm::EncryptedPkcs8, content)?,
            // They go with keys and say nothing new.
            "EC PARAMETERS" | "DH PARAMETERS" => {}
            _ => return Err("it is of a kind that has no use here"),
        }
        Ok(())
    }

    fn add_key(&mut self, form: KeyForm, content: Content<'_>) -> Result<(), &'static str> {
        if self.key.is_some() {
            return Err("the file has a private key already");
        }
        let form = if content.legacy_encryption {
            KeyForm::LegacyEncrypted
        } else {
            form
        };
        self.key = Some(SealedKey {
            form,
            der: content.der,
        });
        Ok(())
    }
}

fn info(
    file: &WalletFile,
    kind: CertificateKind,
    summary: &Summary,
    print: &[u8; 32],
) -> CertificateInfo {
    CertificateInfo {
        file: file.name.clone(),
        kind,
        subject: Some(summary.subject.clone()),
        issuer: summary.issuer.clone(),
        serial: Some(hex(&summary.serial)),
        not_before: summary.not_before,
        not_after: Some(summary.not_after),
        sha256_fingerprint: hex(print),
    }
}

fn place(file: &str, line: usize) -> String {
    format!("file \"{file}\", line {line}")
}

/// What is wrong with a revocation list.
fn of_list(file: &str, list: &RevocationList, fault: &str) -> String {
    let issuer = &list.issuer;
    format!("file \"{file}\": the revocation list of \"{issuer}\" {fault}")
}

/// The error for a wallet without certificates, which may be one of Oracle's.
fn no_certificate(location: &str, foreign: &[String], warnings: &[String]) -> NetError {
    let mut detail = format!(
        "\"{location}\" has no certificate that can be used in any file named *.pem, *.crt or *.cer"
    );
    for warning in warnings {
        detail.push_str("; ");
        detail.push_str(warning);
    }
    let has = |name: &str| foreign.iter().any(|file| file.eq_ignore_ascii_case(name));
    let hint = if has("ewallet.p12") {
        Some(format!(
            "convert the Oracle wallet once: openssl pkcs12 -in {location}/ewallet.p12 -nokeys -out {location}/wallet.pem"
        ))
    } else if has("cwallet.sso") {
        Some(format!(
            "an auto-login wallet can't be converted by itself: take the ewallet.p12 it was made from, and: \
             openssl pkcs12 -in ewallet.p12 -nokeys -out {location}/wallet.pem"
        ))
    } else {
        None
    };
    NetError::Wallet { detail, hint }
}
