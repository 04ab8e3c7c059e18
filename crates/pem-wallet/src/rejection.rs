//! Why a certificate is rejected.

use std::fmt::Write as _;

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::identity::ServerIdentity;
use crate::verifier::CHAIN_LENGTH;
use crate::wallet::Wallet;
use crate::x509::{IssuerFault, SubjectName, Summary, date, unix_seconds};

/// Names of a certificate that a text shows.
const SHOWN_NAMES: usize = 10;

/// Why a server's certificate is rejected. Names found in certificates are escaped and cut short.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The server sent no certificate.
    #[error("the server sent no certificate")]
    NoCertificate,

    /// The server's chain has this many certificates.
    #[error("the server sent {0} certificates, more than {CHAIN_LENGTH}")]
    TooManyCertificates(usize),

    /// The server's certificate can't be parsed.
    #[error("the server's certificate is damaged")]
    Damaged,

    /// A certificate of the chain can't be parsed.
    #[error("an intermediate certificate is damaged")]
    DamagedIntermediate,

    /// A certificate of the chain is not valid now.
    #[error("{} {problem}", certificate_of(.subject.as_deref()))]
    Dates {
        /// What to call the certificate, if it is known which one.
        subject: Option<String>,
        /// Too early or too late.
        problem: DateProblem,
    },

    /// The trust anchor is not valid now.
    #[error("trust anchor in \"{location}\": the certificate of \"{subject}\" {problem}")]
    AnchorDates {
        /// Where the wallet is.
        location: String,
        /// What to call the anchor.
        subject: String,
        /// Too early or too late.
        problem: DateProblem,
    },

    /// A revocation list of the wallet names a certificate of the chain.
    #[error("the certificate of \"{subject}\" has been revoked by a revocation list in the wallet")]
    Revoked {
        /// What to call the certificate.
        subject: String,
    },

    /// The certificate is its own issuer and is not in the wallet.
    #[error("the certificate of \"{subject}\" is self-signed and not in the wallet")]
    SelfSigned {
        /// What to call the certificate.
        subject: String,
    },

    /// Neither the server nor the wallet has the issuer of the last certificate of the chain.
    #[error(
        "the certificate of \"{subject}\" was issued by \"{issuer}\", which is not in the wallet \
         \"{location}\""
    )]
    UnknownIssuer {
        /// What to call the last certificate of the chain.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// Where the wallet is.
        location: String,
    },

    /// The wallet has the issuer of the last certificate of the chain, but that may not issue
    /// certificates.
    #[error(
        "the certificate of \"{subject}\" was issued by \"{issuer}\", which is in the wallet \
         \"{location}\" but may not issue certificates: {fault}"
    )]
    UnfitIssuer {
        /// What to call the last certificate of the chain.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// Where the wallet is.
        location: String,
        /// Why the issuer may not issue certificates.
        fault: IssuerFault,
    },

    /// An intermediate certificate may not issue others.
    #[error("the certificate of \"{subject}\" may not issue certificates: {fault}")]
    NotAnIssuer {
        /// What to call the intermediate certificate.
        subject: String,
        /// Why not.
        fault: IssuerFault,
    },

    /// The chain is longer than the path length of its trust anchor allows (RFC 5280 §4.2.1.9).
    #[error("the chain is longer than the issuer \"{issuer}\" allows")]
    PathTooLong {
        /// What to call the anchor.
        issuer: String,
    },

    /// The chain breaks another rule.
    #[error("the certificate of \"{subject}\": {problem}")]
    Chain {
        /// What to call the server's certificate.
        subject: String,
        /// The rule.
        problem: ChainProblem,
    },

    /// The certificate has no subject alternative name of a server.
    #[error(
        "the certificate has no subject alternative name to compare with {}{}",
        .expected.described(), unused(.common_name.as_deref())
    )]
    NoName {
        /// The name that it should have.
        expected: ServerIdentity,
        /// Its common name, which is not used.
        common_name: Option<String>,
    },

    /// The certificate is for another server.
    #[error("the certificate should be for {}, but it is for {}", .expected.described(), list(.presented))]
    Name {
        /// The name that it should have.
        expected: ServerIdentity,
        /// The names that it has, at least one.
        presented: Vec<SubjectName>,
    },

    /// The server did not prove that it has the private key of its certificate.
    #[error(
        "the server's proof that it holds its certificate's key is wrong, or the key is too weak or \
         of an unsupported kind"
    )]
    Proof,

    /// Any other error of the TLS library about a certificate.
    #[error("the server's certificate can't be verified: {0}")]
    Tls(CertificateError),
}

/// Why a certificate is not valid now. The times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DateProblem {
    /// Its validity has ended.
    #[error("expired on {}", date(*.0))]
    Expired(i64),
    /// Its validity has not begun.
    #[error("is not yet valid: its time begins on {}", date(*.0))]
    NotYetValid(i64),
}

/// The rule of RFC 5280 or of this verifier that a chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainProblem {
    /// The server's certificate is of this X.509 version.
    #[error("it is of X.509 version {0}, and version 3 is needed")]
    LeafVersion(u32),
    /// A certificate is not of version 3.
    #[error("it, or an issuer in its chain, is not an X.509 version 3 certificate")]
    Version,
    /// The path found ends at no anchor of the wallet.
    #[error("no issuer of it is in the wallet")]
    NoAnchor,
    /// The server's certificate is that of an issuer.
    #[error("it is an issuer's own certificate, not a server's")]
    CaAsServer,
    /// A certificate that is not of an issuer has issued another.
    #[error("a certificate in its chain may not issue certificates")]
    NotAnIssuer,
    /// The chain is longer than the path length of an issuer.
    #[error("its chain is longer than one of its issuers allows")]
    PathLength,
    /// Name constraints of an issuer (RFC 5280 §4.2.1.10).
    #[error("an issuer in its chain may not issue for this name")]
    NameConstraints,
    /// Extended key usage without servers (RFC 5280 §4.2.1.12).
    #[error("it, or an issuer in its chain, is not meant for servers (extended key usage)")]
    ExtendedKeyUsage,
    /// An unknown critical extension.
    #[error("it has a critical extension that is not known here")]
    CriticalExtension,
    /// A signature does not verify.
    #[error("a signature in its chain is wrong, or made with a key that is too weak")]
    Signature,
    /// An algorithm that is not supported.
    #[error("a signature in its chain is of a kind that is too weak or not supported")]
    SignatureAlgorithm,
    /// A key on a list of compromised keys.
    #[error("its key is known to be compromised")]
    Compromised,
    /// A certificate can't be parsed.
    #[error("it, or an issuer in its chain, is malformed")]
    Malformed,
    /// A kind of name that is not supported.
    #[error("a name in its chain is of a kind that is not supported")]
    NameKind,
    /// The search for a path was given up.
    #[error("its chain takes too much work to verify")]
    TooMuchWork,
    /// An error that does not occur without revocation lists in webpki.
    #[error("it can't be verified: {0}")]
    Other(webpki::Error),
}

impl Rejection {
    /// The rejection behind an error of rustls: that of [`crate::Verifier`], or one of rustls
    /// itself.
    pub fn from_rustls(error: &CertificateError) -> Self {
        match error {
            CertificateError::Other(other) => match other.0.downcast_ref::<Self>() {
                Some(rejection) => rejection.clone(),
                None => Self::Tls(error.clone()),
            },
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Self::Proof
            }
            CertificateError::BadEncoding => Self::Damaged,
            other => Self::Tls(other.clone()),
        }
    }

    /// Rejects a certificate that is not valid at this time.
    pub(crate) fn check_dates(certificate: &Summary, now: UnixTime) -> Result<(), Self> {
        match date_problem(certificate, now) {
            Some(problem) => Err(Self::dates(certificate, problem)),
            None => Ok(()),
        }
    }

    /// Rejects a trust anchor that is not valid at this time. `location`: where the wallet is.
    pub(crate) fn check_anchor(
        anchor: &Summary,
        location: &str,
        now: UnixTime,
    ) -> Result<(), Self> {
        match date_problem(anchor, now) {
            Some(problem) => Err(Self::AnchorDates {
                location: location.to_owned(),
                subject: anchor.label(),
                problem,
            }),
            None => Ok(()),
        }
    }

    fn dates(certificate: &Summary, problem: DateProblem) -> Self {
        Self::Dates {
            subject: Some(certificate.label()),
            problem,
        }
    }

    /// The rejection of a server's certificate that webpki can't parse.
    pub(crate) fn unusable(error: &webpki::Error, leaf: &Summary) -> Self {
        Self::Chain {
            subject: leaf.label(),
            problem: match error {
                webpki::Error::UnsupportedCertVersion => ChainProblem::LeafVersion(leaf.version),
                other => ChainProblem::from_webpki(other),
            },
        }
    }

    /// The rejection for an error of the path search. The chain may be incomplete.
    pub(crate) fn from_webpki(
        error: &webpki::Error,
        leaf: &Summary,
        intermediates: &[CertificateDer<'_>],
        wallet: &Wallet,
    ) -> Self {
        use webpki::Error as E;
        let others: Vec<Summary> = intermediates
            .iter()
            .filter_map(|der| Summary::of_certificate(der))
            .collect();
        let all = || std::iter::once(leaf).chain(&others);
        match error {
            E::UnknownIssuer | E::CaUsedAsEndEntity if leaf.is_self_issued() => Self::SelfSigned {
                subject: leaf.label(),
            },
            E::UnknownIssuer => Self::unknown_issuer(leaf, &others, wallet),
            E::CertExpired { not_after, .. } => {
                let at = unix_seconds(*not_after);
                Self::Dates {
                    subject: all().find(|c| c.not_after == at).map(Summary::label),
                    problem: DateProblem::Expired(at),
                }
            }
            E::CertNotValidYet { not_before, .. } => {
                let at = unix_seconds(*not_before);
                Self::Dates {
                    subject: all().find(|c| c.not_before == at).map(Summary::label),
                    problem: DateProblem::NotYetValid(at),
                }
            }
            other => Self::Chain {
                subject: leaf.label(),
                problem: ChainProblem::from_webpki(other),
            },
        }
    }

    /// The rejection for a chain whose last certificate has no issuer in the chain or the wallet.
    fn unknown_issuer(leaf: &Summary, others: &[Summary], wallet: &Wallet) -> Self {
        let mut last = leaf;
        // Each step goes to another certificate, so there are no more steps than certificates.
        for _ in others {
            let issuer = others.iter().find(|c| c.raw_subject == last.raw_issuer);
            match issuer {
                Some(issuer) if !last.is_self_issued() => last = issuer,
                _ => break,
            }
        }
        let (subject, issuer) = (last.label(), last.issuer.clone());
        let location = wallet.location().to_owned();
        match wallet.issuers().fault_of(&last.raw_issuer) {
            Some(fault) => Self::UnfitIssuer {
                subject,
                issuer,
                location,
                fault,
            },
            None => Self::UnknownIssuer {
                subject,
                issuer,
                location,
            },
        }
    }
}

impl ChainProblem {
    #[allow(deprecated)] // Matched too, in case they occur.
    fn from_webpki(error: &webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::CaUsedAsEndEntity => Self::CaAsServer,
            E::EndEntityUsedAsCa => Self::NotAnIssuer,
            E::PathLenConstraintViolated => Self::PathLength,
            E::NameConstraintViolation => Self::NameConstraints,
            E::RequiredEkuNotFoundContext(_) | E::RequiredEkuNotFound | E::EmptyEkuExtension => {
                Self::ExtendedKeyUsage
            }
            E::UnsupportedCriticalExtension => Self::CriticalExtension,
            E::InvalidSignatureForPublicKey => Self::Signature,
            E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
            | E::UnsupportedSignatureAlgorithm
            | E::UnsupportedSignatureAlgorithmForPublicKey
            | E::SignatureAlgorithmMismatch => Self::SignatureAlgorithm,
            E::CertDistrusted => Self::Compromised,
            E::UnsupportedCertVersion => Self::Version,
            E::BadDer
            | E::BadDerTime
            | E::ExtensionValueInvalid
            | E::InvalidCertValidity
            | E::InvalidNetworkMaskConstraint
            | E::InvalidSerialNumber
            | E::MalformedDnsIdentifier
            | E::MalformedExtensions
            | E::MalformedNameConstraint
            | E::TrailingData(_) => Self::Malformed,
            E::UnsupportedNameType => Self::NameKind,
            E::MaximumNameConstraintComparisonsExceeded
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumPathDepthExceeded
            | E::MaximumSignatureChecksExceeded => Self::TooMuchWork,
            other => Self::Other(other.clone()),
        }
    }
}

fn date_problem(certificate: &Summary, now: UnixTime) -> Option<DateProblem> {
    let now = unix_seconds(now);
    if now > certificate.not_after {
        return Some(DateProblem::Expired(certificate.not_after));
    }
    (now < certificate.not_before).then_some(DateProblem::NotYetValid(certificate.not_before))
}

fn certificate_of(subject: Option<&str>) -> String {
    match subject {
        Some(subject) => format!("the certificate of \"{subject}\""),
        None => "a certificate".to_owned(),
    }
}

fn unused(common_name: Option<&str>) -> String {
    match common_name {
        Some(name) => format!("; its common name \"{name}\" is not used"),
        None => String::new(),
    }
}

fn list(names: &[SubjectName]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN_NAMES)
        .map(SubjectName::to_string)
        .collect();
    let mut text = shown.join(", ");
    if names.len() > SHOWN_NAMES {
        let _ = write!(text, " and {} more", names.len() - SHOWN_NAMES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_names_are_cut() {
        let names: Vec<SubjectName> = (0..12).map(|n| SubjectName::Dns(format!("h{n}"))).collect();
        assert!(list(&names).ends_with("DNS name \"h9\" and 2 more"));
    }
}
