//! Why a certificate is not believed, in words that say which certificate it is and what would help.

use rustls::pki_types::{CertificateDer, UnixTime};

use super::identity::ServerIdentity;
use super::wording::words;
use crate::error::NetError;
use crate::wallet::Wallet;
use crate::x509::{Summary, date, unix_seconds};

/// The reason to refuse a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejection {
    /// The certificate can't be trusted.
    #[error("{detail}")]
    Untrusted {
        detail: String,
        hint: Option<String>,
    },
    /// It can, but it is somebody else's.
    #[error("the certificate is not for {expected}")]
    Name {
        expected: String,
        presented: Vec<String>,
    },
}

impl From<Rejection> for NetError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Untrusted { detail, hint } => Self::Certificate { detail, hint },
            Rejection::Name {
                expected,
                presented,
            } => Self::CertificateName {
                expected,
                presented,
            },
        }
    }
}

impl Rejection {
    pub fn because(detail: impl Into<String>) -> Self {
        Self::Untrusted {
            detail: detail.into(),
            hint: None,
        }
    }

    fn with_hint(self, hint: String) -> Self {
        match self {
            Self::Untrusted { detail, .. } => Self::Untrusted {
                detail,
                hint: Some(hint),
            },
            other => other,
        }
    }

    /// Refuses a certificate whose time is over or yet to come.
    pub fn check_dates(certificate: &Summary, now: UnixTime) -> Result<(), Self> {
        let now = unix_seconds(now);
        if now > certificate.not_after {
            return Err(Self::expired(certificate));
        }
        if now < certificate.not_before {
            return Err(Self::not_yet_valid(certificate));
        }
        Ok(())
    }

    /// The same about a certificate of ours rather than the server's.
    pub fn of_anchor(self, location: &str) -> Self {
        match self {
            Self::Untrusted { detail, .. } => Self::Untrusted {
                detail: format!("trust anchor in \"{location}\": {detail}"),
                hint: Some("replace it by the issuer's current certificate".into()),
            },
            other => other,
        }
    }

    pub fn revoked(certificate: &Summary) -> Self {
        Self::because(format!(
            "the certificate of \"{}\" has been revoked by a revocation list in the wallet",
            certificate.label()
        ))
    }

    /// A certificate without any name that could be compared.
    pub fn nameless(expected: &ServerIdentity, common_name: Option<String>) -> Self {
        let instead = match common_name {
            Some(name) => format!("; its common name \"{name}\" is not used"),
            None => String::new(),
        };
        Self::because(format!(
            "the certificate has no subject alternative name to compare with {}{instead}",
            expected.described()
        ))
        .with_hint(
            "the server needs a certificate that names it as a subject alternative name".into(),
        )
    }

    /// A server's certificate that can't be read as one.
    pub fn unusable(error: &webpki::Error, leaf: &Summary) -> Self {
        let reason = match error {
            webpki::Error::UnsupportedCertVersion => {
                format!(
                    "it is of X.509 version {}, and version 3 is needed",
                    leaf.version
                )
            }
            other => reason(other),
        };
        Self::because(format!("the certificate of \"{}\": {reason}", leaf.label()))
    }

    /// What the path search says, about a chain that may or may not be complete.
    pub fn from_webpki(
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
        let is_self_signed = leaf.is_self_issued();
        match error {
            E::UnknownIssuer | E::CaUsedAsEndEntity if is_self_signed => Self::self_signed(leaf),
            E::UnknownIssuer => Self::unknown_issuer(leaf, &others, wallet),
            E::CertExpired { not_after, .. } => {
                let at = unix_seconds(*not_after);
                let all = std::iter::once(leaf).chain(&others);
                match all.into_iter().find(|c| c.not_after == at) {
                    Some(certificate) => Self::expired(certificate),
                    None => Self::because(format!("a certificate expired on {}", date(at))),
                }
            }
            E::CertNotValidYet { not_before, .. } => {
                let at = unix_seconds(*not_before);
                let all = std::iter::once(leaf).chain(&others);
                match all.into_iter().find(|c| c.not_before == at) {
                    Some(certificate) => Self::not_yet_valid(certificate),
                    None => {
                        Self::because(format!("a certificate is not valid before {}", date(at)))
                    }
                }
            }
            other => Self::because(format!(
                "the certificate of \"{}\": {}",
                leaf.label(),
                reason(other)
            )),
        }
    }

    fn expired(certificate: &Summary) -> Self {
        Self::because(format!(
            "the certificate of \"{}\" expired on {}",
            certificate.label(),
            date(certificate.not_after)
        ))
        .with_hint("the server's administrator has to renew it".into())
    }

    fn not_yet_valid(certificate: &Summary) -> Self {
        Self::because(format!(
            "the certificate of \"{}\" is not yet valid: its time begins on {}",
            certificate.label(),
            date(certificate.not_before)
        ))
        .with_hint("compare the clock of this machine with the server's".into())
    }

    fn self_signed(leaf: &Summary) -> Self {
        Self::because(format!(
            "the certificate of \"{}\" is self-signed and not in the wallet",
            leaf.label()
        ))
        .with_hint("to trust this very certificate, add it to the wallet as a .pem file".into())
    }

    /// The end of what the server sent: the issuer of that is missing.
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
        let (label, issuer, location) = (last.label(), &last.issuer, wallet.location());
        if let Some(fault) = wallet.issuers().fault_of(&last.raw_issuer) {
            return Self::because(format!(
                "the certificate of \"{label}\" was issued by \"{issuer}\", which is in the wallet \"{location}\" \
                 but may not issue certificates: {fault}"
            ))
            .with_hint(format!(
                "put a CA certificate of \"{issuer}\" into the wallet in place of this one"
            ));
        }
        Self::because(format!(
            "the certificate of \"{label}\" was issued by \"{issuer}\", which is not in the wallet \"{location}\""
        ))
        .with_hint(format!(
            "add the certificate of \"{issuer}\" to the wallet as a .pem file, or have the server send its whole chain"
        ))
    }
}

/// The other errors of webpki, in words.
#[allow(deprecated)] // Named so that they read well should they ever occur.
fn reason(error: &webpki::Error) -> String {
    use webpki::Error as E;
    let words = match error {
        E::CaUsedAsEndEntity => "it is an issuer's own certificate, not a server's",
        E::EndEntityUsedAsCa => "a certificate in its chain may not issue certificates",
        E::PathLenConstraintViolated => "its chain is longer than one of its issuers allows",
        E::NameConstraintViolation => "an issuer in its chain may not issue for this name",
        E::RequiredEkuNotFoundContext(_) | E::RequiredEkuNotFound | E::EmptyEkuExtension => {
            "it, or an issuer in its chain, is not meant for servers (extended key usage)"
        }
        E::UnsupportedCriticalExtension => "it has a critical extension that is not known here",
        E::InvalidSignatureForPublicKey => {
            "a signature in its chain is wrong, or made with a key that is too weak"
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | E::UnsupportedSignatureAlgorithm
        | E::UnsupportedSignatureAlgorithmForPublicKey
        | E::SignatureAlgorithmMismatch => {
            "a signature in its chain is of a kind that is too weak or not supported"
        }
        E::CertDistrusted => "its key is known to be compromised",
        E::UnsupportedCertVersion => {
            "it, or an issuer in its chain, is not an X.509 version 3 certificate"
        }
        E::BadDer
        | E::BadDerTime
        | E::ExtensionValueInvalid
        | E::InvalidCertValidity
        | E::InvalidNetworkMaskConstraint
        | E::InvalidSerialNumber
        | E::MalformedDnsIdentifier
        | E::MalformedExtensions
        | E::MalformedNameConstraint
        | E::TrailingData(_) => "it, or an issuer in its chain, is malformed",
        E::UnsupportedNameType => "a name in its chain is of a kind that is not supported",
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => "its chain takes too much work to verify",
        other => return format!("it can't be verified: {}", words(other)),
    };
    words.to_owned()
}
