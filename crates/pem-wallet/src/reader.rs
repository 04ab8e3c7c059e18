//! Parses the files of a wallet.
//!
//! - A `CERTIFICATE` block is trusted: as an issuer if it may issue, and as the certificate of a
//!   server (pinned).
//! - A private key makes its file the client identity. The certificates in that file are its chain
//!   and are not trusted.
//! - An `X509 CRL` block revokes certificates of one issuer.
//!
//! A block that can't be used is skipped with a warning.

use std::collections::HashMap;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use smtp_core::memory::{self, OutOfMemory};

use crate::client::{KeyForm, SealedIdentity, SealedKey};
use crate::error::{OtherFormat, WalletError};
use crate::files::{Listing, WalletFile};
use crate::pem::{self, Content};
use crate::wallet::{CertificateInfo, CertificateKind, Issuers, Wallet};
use crate::warning::{BlockProblem, FileProblem, Warning};
use crate::x509::{IssuerFault, ListFault, RevocationList, Summary, fingerprint, hex};

/// PEM blocks of a wallet.
pub(crate) const MOST_BLOCKS: usize = 4096;
/// Certificates of one name whose keys are tried on a revocation list.
const LIST_ISSUERS: usize = 8;
/// Octets that parsing needs for each octet of a file, at most.
const OCTETS_PER_OCTET: usize = 8;
/// Octets that parsing needs for one more block of the usual size.
const BLOCK: usize = 32 * 1024;

/// Parses the files of a wallet.
pub(crate) fn read(listing: Listing) -> Result<Wallet, WalletError> {
    let mut reader = Reader {
        warnings: listing.warnings,
        ..Reader::default()
    };
    for file in &listing.files {
        reader.add_file(file)?;
    }
    reader.finish(listing.location, listing.other_formats)
}

/// The parts of a wallet that were read so far.
#[derive(Default)]
struct Reader {
    issuers: Issuers,
    pinned: Vec<[u8; 32]>,
    revocations: Vec<RevocationList>,
    identities: Vec<SealedIdentity>,
    certificates: Vec<CertificateInfo>,
    warnings: Vec<Warning>,
    content: Sha256,
    blocks: usize,
    /// The trusted certificates by their subjects.
    trusted: HashMap<Vec<u8>, Vec<CertificateDer<'static>>>,
    /// The file and the DER of each revocation list.
    lists: Vec<(String, Vec<u8>)>,
}

impl Reader {
    fn add_file(&mut self, file: &WalletFile) -> Result<(), WalletError> {
        if !pem::looks_like_pem(&file.content) {
            self.add_without_pem(file);
            return Ok(());
        }
        memory::require(file.content.len() * OCTETS_PER_OCTET)?;
        let mut found = FileContent::default();
        for block in pem::blocks(&file.content) {
            memory::require(BLOCK)?;
            self.blocks += 1;
            if self.blocks > MOST_BLOCKS {
                return Err(WalletError::TooManyBlocks);
            }
            let outcome = block.content.and_then(|content| found.add(content));
            if let Err(problem) = outcome {
                self.warnings.push(Warning::Block {
                    file: file.name.clone(),
                    line: block.line,
                    problem,
                });
            }
        }
        self.make_room(found.certificates.len() + found.lists.len())?;
        self.add_content(file, found);
        Ok(())
    }

    /// Reserves room for `additional` more certificates and lists.
    fn make_room(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        memory::reserve(&mut self.issuers.anchors, additional)?;
        memory::reserve(&mut self.issuers.summaries, additional)?;
        memory::reserve(&mut self.pinned, additional)?;
        memory::reserve(&mut self.revocations, additional)?;
        memory::reserve(&mut self.certificates, additional)
    }

    /// Adds a file without PEM: a DER certificate, as Windows exports `.cer`, or nothing.
    fn add_without_pem(&mut self, file: &WalletFile) {
        let certificate = CertificateDer::from(file.content.to_vec());
        match Summary::of_certificate(&certificate) {
            Some(summary) if !file.is_called_pem() => self.trust(file, certificate, summary),
            Some(_) => self.skip(file, FileProblem::DerNamedPem),
            None => self.skip(file, FileProblem::NoPem),
        }
    }

    fn skip(&mut self, file: &WalletFile, problem: FileProblem) {
        self.warnings.push(Warning::File {
            file: file.name.clone(),
            problem,
        });
    }

    fn add_content(&mut self, file: &WalletFile, found: FileContent) {
        for (der, list) in found.lists {
            let print = self.digest(b"crl", &der);
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
                self.warnings.push(of_list(&file.name, &list, *fault));
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
            let warning = Warning::KeyWithoutCertificate(file.name.clone());
            self.warnings.push(warning);
            return;
        }
        for (certificate, summary) in &found.certificates {
            let kind = CertificateKind::ClientCertificate;
            let print = fingerprint(certificate);
            self.certificates.push(info(file, kind, summary, &print));
        }
        if let Some(first) = self.identities.first() {
            self.warnings.push(Warning::SecondIdentity {
                file: file.name.clone(),
                first: first.file().to_owned(),
            });
        }
        let chain = found.certificates.into_iter().map(|(der, _)| der).collect();
        self.identities.push(SealedIdentity::new(file, chain, key));
    }

    fn trust(&mut self, file: &WalletFile, der: CertificateDer<'static>, summary: Summary) {
        let print = self.digest(b"certificate", &der);
        let kind = CertificateKind::TrustAnchor;
        self.certificates.push(info(file, kind, &summary, &print));
        if self.pinned.contains(&print) {
            return;
        }
        self.pinned.push(print);
        let namesakes = self.trusted.entry(summary.raw_subject.clone());
        namesakes.or_default().push(der.clone());
        let anchor = match summary.issuer_fault {
            None => webpki::anchor_from_trusted_cert(&der).map_err(|_| IssuerFault::Malformed),
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

    /// Adds a certificate that may not issue others. Without the name of a server it is useless.
    fn unfit(&mut self, file: &WalletFile, summary: Summary, fault: IssuerFault) {
        if !summary.names_server {
            self.warnings.push(Warning::UselessCertificate {
                file: file.name.clone(),
                subject: summary.label(),
                fault,
            });
        }
        self.issuers.unfit.push((summary.raw_subject, fault));
    }

    /// Adds DER to the digest of the content, and returns the digest of the DER alone.
    fn digest(&mut self, kind: &[u8], der: &[u8]) -> [u8; 32] {
        let print = fingerprint(der);
        self.content.update(kind);
        self.content.update(print);
        print
    }

    /// Warns of lists that no issuer of that name in the wallet has signed. Nothing is known where
    /// the wallet has no such issuer, or too many.
    fn check_signatures(&mut self) {
        for ((file, der), list) in self.lists.iter().zip(&self.revocations) {
            let issuers = self.trusted.get(&list.raw_issuer);
            if let Some(issuers) = issuers.filter(|all| all.len() <= LIST_ISSUERS)
                && !issuers
                    .iter()
                    .any(|issuer| RevocationList::is_signed_by(der, issuer))
            {
                self.warnings
                    .push(of_list(file, list, ListFault::Signature));
            }
        }
    }

    fn finish(
        mut self,
        location: String,
        other_formats: Vec<OtherFormat>,
    ) -> Result<Wallet, WalletError> {
        self.check_signatures();
        let is_certificate = |info: &CertificateInfo| info.kind != CertificateKind::Crl;
        if !self.certificates.iter().any(is_certificate) {
            return Err(WalletError::NoCertificate {
                location,
                other_formats,
                warnings: self.warnings,
            });
        }
        Ok(Wallet {
            location,
            issuers: self.issuers,
            pinned: self.pinned,
            revocations: self.revocations,
            list_files: self.lists.into_iter().map(|(file, _)| file).collect(),
            identities: self.identities,
            certificates: self.certificates,
            warnings: self.warnings,
            content: self.content.finalize().into(),
        })
    }
}

/// The content of one file. Its certificates are trusted, or the chain of its key if it has one.
#[derive(Default)]
struct FileContent {
    certificates: Vec<(CertificateDer<'static>, Summary)>,
    lists: Vec<(Vec<u8>, RevocationList)>,
    key: Option<SealedKey>,
}

impl FileContent {
    fn add(&mut self, content: Content<'_>) -> Result<(), BlockProblem> {
        match content.label {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let der = CertificateDer::from(content.der.to_vec());
                let summary = Summary::of_certificate(&der).ok_or(BlockProblem::NotCertificate)?;
                self.certificates.push((der, summary));
            }
            "X509 CRL" => {
                let list = RevocationList::parse(&content.der);
                let list = list.ok_or(BlockProblem::NotRevocationList)?;
                self.lists.push((content.der.to_vec(), list));
            }
            "PRIVATE KEY" => self.add_key(KeyForm::Pkcs8, content)?,
            "RSA PRIVATE KEY" => self.add_key(KeyForm::Pkcs1, content)?,
            "EC PRIVATE KEY" => self.add_key(KeyForm::Sec1, content)?,
            "ENCRYPTED PRIVATE KEY" => self.add_key(KeyForm::EncryptedPkcs8, content)?,
            // Parameters of a key, which the key has too.
            "EC PARAMETERS" | "DH PARAMETERS" => {}
            _ => return Err(BlockProblem::Kind),
        }
        Ok(())
    }

    fn add_key(&mut self, form: KeyForm, content: Content<'_>) -> Result<(), BlockProblem> {
        if self.key.is_some() {
            return Err(BlockProblem::SecondKey);
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

fn of_list(file: &str, list: &RevocationList, fault: ListFault) -> Warning {
    Warning::RevocationList {
        file: file.to_owned(),
        issuer: list.issuer.clone(),
        fault,
    }
}
