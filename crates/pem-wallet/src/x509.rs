//! The fields of certificates and revocation lists that listings and errors show: names, dates,
//! serial numbers.
//!
//! Nothing here decides about trust; the verifier does. Text from a certificate is escaped and
//! cut short, because it may come from a stranger and end up in a log.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::UnixTime;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{X509Name, X509Version};

/// Characters shown of a name found in a certificate.
const SHOWN_NAME: usize = 256;

/// The fields of a certificate that this crate uses.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub subject: String,
    /// The first of its alternative names, of any kind, if the subject is empty.
    first_name: Option<String>,
    pub issuer: String,
    pub raw_subject: Vec<u8>,
    pub raw_issuer: Vec<u8>,
    pub serial: Vec<u8>,
    pub not_before: i64,
    pub not_after: i64,
    /// The X.509 version, 1 to 3.
    pub version: u32,
    /// Why it may not issue certificates; `None` if it may.
    pub issuer_fault: Option<IssuerFault>,
    /// Whether it has the name of a server, so that it can be pinned.
    pub names_server: bool,
    /// How many intermediate certificates may follow it.
    pub path_length: Option<u32>,
}

impl Summary {
    /// Parses a certificate; `None` if it is damaged or something follows it.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let certificate = parse(der)?;
        let constraints = certificate.basic_constraints().ok()?;
        let usage = certificate.key_usage().ok()?;
        let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
        let is_ca = match &constraints {
            Some(constraints) => constraints.value.ca,
            // X.509 version 1 has no extensions. A root of that version is its own issuer.
            None => certificate.version() == X509Version::V1 && self_issued,
        };
        let may_sign = usage.is_none_or(|usage| usage.value.key_cert_sign());
        let subject = name_text(certificate.subject());
        let first_name = match subject.is_empty() {
            true => first_name(&certificate),
            false => None,
        };
        Some(Self {
            subject,
            first_name,
            issuer: name_text(certificate.issuer()),
            raw_subject: certificate.subject().as_raw().to_vec(),
            raw_issuer: certificate.issuer().as_raw().to_vec(),
            serial: significant(certificate.raw_serial()).to_vec(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            version: certificate.version().0 + 1,
            issuer_fault: match (is_ca, may_sign) {
                (false, _) => Some(IssuerFault::NotCa),
                (true, false) => Some(IssuerFault::NoKeyCertSign),
                (true, true) => None,
            },
            names_server: !SubjectName::of(&certificate).is_empty(),
            path_length: constraints.and_then(|constraints| constraints.value.path_len_constraint),
        })
    }

    pub fn is_self_issued(&self) -> bool {
        self.raw_subject == self.raw_issuer
    }

    /// Its name for a message: the subject, or the first alternative name or the serial number if
    /// the subject is empty (RFC 5280 §4.1.2.6).
    pub fn label(&self) -> String {
        match &self.first_name {
            _ if !self.subject.is_empty() => self.subject.clone(),
            Some(name) => name.clone(),
            None if self.issuer.is_empty() => format!("serial {}", hex(&self.serial)),
            None => format!("serial {} of {}", hex(&self.serial), self.issuer),
        }
    }
}

/// Why a certificate may not issue others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerFault {
    /// Its basicConstraints lack CA:TRUE (RFC 5280 §4.2.1.9).
    #[error("it is no CA certificate (no CA:TRUE in its basicConstraints)")]
    NotCa,
    /// Its key usage lacks keyCertSign (RFC 5280 §4.2.1.3).
    #[error("its key usage does not include keyCertSign")]
    NoKeyCertSign,
    /// It can't be used as a trust anchor.
    #[error("it is malformed")]
    Malformed,
}

/// Why a revocation list does not cover all certificates of its issuer. The `Display` text follows
/// the name of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListFault {
    /// A delta CRL (RFC 5280 §5.2.4).
    #[error("is a delta list: it has only what changed since another list")]
    Delta,
    /// An indirect CRL (RFC 5280 §5.2.5).
    #[error("is an indirect list: entries for other issuers are taken for this one's")]
    Indirect,
    /// A critical extension that this crate does not know.
    #[error("has a critical extension that is not known here: it may not mean what it seems to")]
    CriticalExtension,
    /// No certificate of its issuer in the wallet has the key that signed it.
    #[error("has a signature that does not verify with the key of that name in the wallet")]
    Signature,
    /// Its next update was due at this time, in seconds since 1970.
    #[error("expired on {}: later revocations are missing", date(*.0))]
    Expired(i64),
}

/// A list of certificates revoked by one issuer.
#[derive(Debug)]
pub(crate) struct RevocationList {
    pub issuer: String,
    pub raw_issuer: Vec<u8>,
    pub this_update: i64,
    pub next_update: Option<i64>,
    /// The CRL number, if it has one.
    pub number: Option<String>,
    /// Why it does not cover all certificates of its issuer.
    pub faults: Vec<ListFault>,
    revoked: HashSet<Vec<u8>>,
}

impl RevocationList {
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (rest, list) = CertificateRevocationList::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            issuer: name_text(list.issuer()),
            raw_issuer: list.issuer().as_raw().to_vec(),
            this_update: list.last_update().timestamp(),
            next_update: list.next_update().map(|time| time.timestamp()),
            number: list.crl_number().map(|number| format!("{number:x}")),
            faults: faults(&list),
            revoked: list
                .iter_revoked_certificates()
                .map(|entry| significant(entry.raw_serial()).to_vec())
                .collect(),
        })
    }

    /// When it expired, in seconds since 1970; `None` if it has not.
    pub fn expired_at(&self, now: UnixTime) -> Option<i64> {
        self.next_update.filter(|end| *end < unix_seconds(now))
    }

    /// Whether a list is signed by the key of a certificate; both are DER.
    pub fn is_signed_by(list: &[u8], certificate: &[u8]) -> bool {
        let (Ok((_, list)), Some(issuer)) = (
            CertificateRevocationList::from_der(list),
            parse(certificate),
        ) else {
            return false;
        };
        list.verify_signature(issuer.public_key()).is_ok()
    }

    /// Whether it names this certificate. Its date and signature are not checked: a revoked
    /// certificate stays revoked, and whoever can put a forged list into the wallet can also remove
    /// the trust anchor.
    pub fn revokes(&self, certificate: &Summary) -> bool {
        self.raw_issuer == certificate.raw_issuer && self.revoked.contains(&certificate.serial)
    }
}

/// The extensions of a list and of its entries that change its meaning (RFC 5280 §5.2.4 to §5.3.3).
fn faults(list: &CertificateRevocationList<'_>) -> Vec<ListFault> {
    const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
    const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
    let (mut is_delta, mut is_indirect, mut has_unknown) = (false, false, false);
    let of_entries = list.iter_revoked_certificates();
    let all = list.extensions().iter();
    for extension in all.chain(of_entries.flat_map(|entry| entry.extensions())) {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => is_indirect |= point.indirect_crl,
            ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::CRLNumber(_)
            | ParsedExtension::InvalidityDate(_)
            | ParsedExtension::IssuerAlternativeName(_)
            | ParsedExtension::ReasonCode(_) => {}
            _ => match extension.oid.as_bytes() {
                DELTA_CRL_INDICATOR => is_delta = true,
                CERTIFICATE_ISSUER => is_indirect = true,
                _ => has_unknown |= extension.critical,
            },
        }
    }
    [
        (is_delta, ListFault::Delta),
        (is_indirect, ListFault::Indirect),
        (has_unknown, ListFault::CriticalExtension),
    ]
    .into_iter()
    .filter_map(|(holds, fault)| holds.then_some(fault))
    .collect()
}

/// A subject alternative name (RFC 5280 §4.2.1.6) of the two kinds that name a server. The
/// `Display` text has its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectName {
    /// A DNS name in lower case, as the certificate has it.
    Dns(String),
    /// An IP address.
    Address(IpAddr),
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(_) => write!(f, "DNS name \"{}\"", self.text()),
            Self::Address(_) => write!(f, "IP address {}", self.text()),
        }
    }
}

impl SubjectName {
    /// All such names of a certificate, in its order.
    pub(crate) fn all_of(der: &[u8]) -> Vec<Self> {
        parse(der).map_or_else(Vec::new, |certificate| Self::of(&certificate))
    }

    fn of(certificate: &X509Certificate<'_>) -> Vec<Self> {
        let Ok(Some(extension)) = certificate.subject_alternative_name() else {
            return Vec::new();
        };
        let names = extension.value.general_names.iter();
        names.filter_map(Self::from_general_name).collect()
    }

    /// Its text for a message.
    fn text(&self) -> String {
        match self {
            Self::Dns(name) => printable(name),
            Self::Address(address) => address.to_string(),
        }
    }

    fn from_general_name(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(name) => Some(Self::Dns(name.to_ascii_lowercase())),
            GeneralName::IPAddress(octets) => {
                let address = <[u8; 4]>::try_from(*octets)
                    .map(IpAddr::from)
                    .or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
                address.ok().map(Self::Address)
            }
            _ => None,
        }
    }
}

fn first_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let extension = certificate.subject_alternative_name().ok()??;
    let name = match extension.value.general_names.first()? {
        GeneralName::RFC822Name(text) | GeneralName::URI(text) => printable(text),
        GeneralName::DirectoryName(name) => name_text(name),
        other => SubjectName::from_general_name(other)?.text(),
    };
    Some(name)
}

/// The common name of a certificate's subject, for messages only: it does not name a server (RFC
/// 9525 §2).
pub(crate) fn common_name(der: &[u8]) -> Option<String> {
    let certificate = parse(der)?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(printable)
}

/// A time in seconds since 1970, as certificates have it.
pub(crate) fn unix_seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// A time, as text in UTC.
pub(crate) fn date(unix: i64) -> String {
    match ASN1Time::from_timestamp(unix) {
        Ok(time) => {
            let time = time.to_datetime();
            format!(
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
                time.year(),
                u8::from(time.month()),
                time.day(),
                time.hour(),
                time.minute(),
                time.second()
            )
        }
        Err(_) => format!("{unix} seconds after 1970"),
    }
}

/// The SHA-256 of a DER encoding.
pub(crate) fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// Octets in lower-case hexadecimal.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

fn name_text(name: &X509Name<'_>) -> String {
    printable(&name.to_string())
}

/// Replaces what is not printable and cuts the text short.
fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_NAME)
        .map(|c| if is_printable(c) { c } else { '?' })
        .collect();
    if text.chars().nth(SHOWN_NAME).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Whether a character neither controls, reorders nor hides what is around it.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The octets of an integer without leading zeros.
fn significant(octets: &[u8]) -> &[u8] {
    let zeros = octets.iter().take_while(|&&octet| octet == 0).count();
    &octets[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_printable() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nc\u{202e}d"), "a?[2Jb??c?d");
        let long = printable(&"x".repeat(1000));
        assert_eq!(long.len(), SHOWN_NAME + 3);
    }

    #[test]
    fn dates_are_in_utc() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(1_767_225_599), "2025-12-31 23:59:59 UTC");
    }

    #[test]
    fn garbage_is_no_certificate() {
        assert!(Summary::of_certificate(b"\x30\x03\x02\x01\x05").is_none());
        assert!(SubjectName::all_of(b"").is_empty());
        assert!(RevocationList::parse(b"\x30\x00").is_none());
    }
}
