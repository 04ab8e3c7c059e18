//! Verifies a server's certificate (RFC 5280 §6, RFC 9525).
//!
//! A certificate is trusted by a chain to a valid issuer in the wallet, or because the certificate
//! itself is in the wallet (pinned). In both cases its name must match, it must be valid now, and
//! no revocation list of the wallet may name it. Nothing is fetched, and verification can't be
//! switched off.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    VerifiedPath,
};

use crate::identity::ServerIdentity;
use crate::rejection::{ChainProblem, Rejection};
use crate::wallet::Wallet;
use crate::x509::{SubjectName, Summary, common_name};

/// Certificates of a server's chain.
pub(crate) const CHAIN_LENGTH: usize = 16;

/// Verifies server certificates by one wallet, for one identity.
#[derive(Debug)]
pub struct Verifier {
    wallet: Arc<Wallet>,
    identity: ServerIdentity,
    algorithms: WebPkiSupportedAlgorithms,
    /// The last chain that was accepted.
    known: Mutex<Option<Known>>,
}

/// A chain that was accepted. The decision depends on the chain, the wallet, the identity and the
/// time. Wallet and identity are the verifier's own, so it holds for the same chain until one of
/// its certificates expires.
#[derive(Debug)]
struct Known {
    chain: Vec<CertificateDer<'static>>,
    valid: RangeInclusive<i64>,
    verified: Verified,
}

/// A certificate that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Why it is trusted.
    pub trusted_by: TrustedBy,
    /// What to call it: its subject, or another name of it if that is empty.
    pub label: String,
    /// Its subject, which may be empty.
    pub subject: String,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
}

/// Why a certificate is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedBy {
    /// Its chain ends at an issuer in the wallet.
    Issuer {
        /// What to call the issuer.
        label: String,
        /// When the issuer's certificate expires, in seconds since 1970.
        not_after: i64,
    },
    /// The certificate itself is in the wallet.
    Pin,
}

impl Verifier {
    /// - `algorithms`: the signature algorithms of the provider that does the handshake.
    pub fn new(
        wallet: Arc<Wallet>,
        identity: ServerIdentity,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            wallet,
            identity,
            algorithms,
            known: Mutex::new(None),
        }
    }

    /// Verifies a chain as the server sent it, beginning with the server's certificate. The last
    /// chain that was accepted is not verified again until one of its certificates expires.
    ///
    /// # Errors
    /// Why the certificate is rejected.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Verified, Rejection> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        // A poisoned lock holds a whole value or none: it is only ever replaced.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref()
            && known.valid.contains(&seconds)
            && known
                .chain
                .iter()
                .map(|der| der.as_ref())
                .eq(chain.iter().map(|der| der.as_ref()))
        {
            return Ok(known.verified.clone());
        }
        let verified = self.verify_anew(chain, now)?;
        *known = Some(Known {
            chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
            valid: validity(chain, &verified.trusted_by),
            verified: verified.clone(),
        });
        Ok(verified)
    }

    fn verify_anew(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Verified, Rejection> {
        if chain.len() > CHAIN_LENGTH {
            return Err(Rejection::TooManyCertificates(chain.len()));
        }
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(Rejection::NoCertificate);
        };
        let Some(summary) = Summary::of_certificate(leaf) else {
            return Err(Rejection::Damaged);
        };
        let certificate =
            EndEntityCert::try_from(leaf).map_err(|error| Rejection::unusable(&error, &summary))?;
        let trusted_by = if self.wallet.pins(leaf) {
            self.verify_pinned(&summary, now)?
        } else {
            self.verify_path(&certificate, &summary, intermediates, now)?
        };
        self.verify_name(&certificate, leaf)?;
        Ok(Verified {
            trusted_by,
            label: summary.label(),
            subject: summary.subject,
            not_after: summary.not_after,
        })
    }

    fn verify_pinned(&self, leaf: &Summary, now: UnixTime) -> Result<TrustedBy, Rejection> {
        Rejection::check_dates(leaf, now)?;
        if self.is_revoked(leaf) {
            return Err(Rejection::Revoked {
                subject: leaf.label(),
            });
        }
        Ok(TrustedBy::Pin)
    }

    fn verify_path(
        &self,
        certificate: &EndEntityCert<'_>,
        leaf: &Summary,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<TrustedBy, Rejection> {
        let issuers = self.wallet.issuers();
        // Why the last path that reached an issuer was refused.
        let dead_end: Cell<Option<Rejection>> = Cell::new(None);
        let trusted: Cell<Option<&Summary>> = Cell::new(None);
        let accept = |path: &VerifiedPath<'_>| {
            let anchors = issuers.anchors.iter();
            let anchor = anchors
                .zip(&issuers.summaries)
                .find(|(anchor, _)| std::ptr::eq(*anchor, path.anchor()))
                .map(|(_, summary)| summary)
                .ok_or(webpki::Error::UnknownIssuer)?;
            match self.check_path(path, anchor, leaf, now) {
                Ok(()) => {
                    trusted.set(Some(anchor));
                    Ok(())
                }
                Err(rejection) => {
                    dead_end.set(Some(rejection));
                    Err(webpki::Error::UnknownIssuer)
                }
            }
        };
        let outcome = certificate.verify_for_usage(
            self.algorithms.all,
            &issuers.anchors,
            intermediates,
            now,
            ServerUsage,
            None,
            Some(&accept),
        );
        match (outcome, trusted.get()) {
            (Ok(_), Some(anchor)) => Ok(TrustedBy::Issuer {
                label: anchor.label(),
                not_after: anchor.not_after,
            }),
            (Ok(_), None) => Err(Rejection::Chain {
                subject: leaf.label(),
                problem: ChainProblem::NoAnchor,
            }),
            (Err(error), _) => Err(dead_end.take().unwrap_or_else(|| {
                Rejection::from_webpki(&error, leaf, intermediates, &self.wallet)
            })),
        }
    }

    /// Checks what webpki does not: the anchor's dates and path length, the key usage of
    /// intermediates (RFC 5280 §6.1.4 (n)), and revocation.
    fn check_path(
        &self,
        path: &VerifiedPath<'_>,
        anchor: &Summary,
        leaf: &Summary,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        Rejection::check_anchor(anchor, self.wallet.location(), now)?;
        let mut between = 0;
        let mut certificates = vec![leaf.clone()];
        for intermediate in path.intermediate_certificates() {
            let Some(summary) = Summary::of_certificate(&intermediate.der()) else {
                return Err(Rejection::DamagedIntermediate);
            };
            if let Some(fault) = summary.issuer_fault {
                return Err(Rejection::NotAnIssuer {
                    subject: summary.label(),
                    fault,
                });
            }
            between += u32::from(!summary.is_self_issued());
            certificates.push(summary);
        }
        if anchor.path_length.is_some_and(|most| between > most) {
            return Err(Rejection::PathTooLong {
                issuer: anchor.label(),
            });
        }
        match certificates.iter().find(|c| self.is_revoked(c)) {
            Some(revoked) => Err(Rejection::Revoked {
                subject: revoked.label(),
            }),
            None => Ok(()),
        }
    }

    fn is_revoked(&self, certificate: &Summary) -> bool {
        let lists = self.wallet.revocations();
        lists.iter().any(|list| list.revokes(certificate))
    }

    fn verify_name(
        &self,
        certificate: &EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
    ) -> Result<(), Rejection> {
        let names = SubjectName::all_of(leaf);
        if self.identity.matches(certificate, &names) {
            return Ok(());
        }
        if names.is_empty() {
            return Err(Rejection::NoName {
                expected: self.identity.clone(),
                common_name: common_name(leaf),
            });
        }
        Err(Rejection::Name {
            expected: self.identity.clone(),
            presented: names,
        })
    }
}

/// The time in which every certificate of a chain, and the issuer that it ends at, is valid.
fn validity(chain: &[CertificateDer<'_>], trusted_by: &TrustedBy) -> RangeInclusive<i64> {
    let end = match trusted_by {
        TrustedBy::Issuer { not_after, .. } => *not_after,
        TrustedBy::Pin => i64::MAX,
    };
    chain
        .iter()
        .filter_map(|der| Summary::of_certificate(der))
        .fold(i64::MIN..=end, |all, one| {
            *all.start().max(&one.not_before)..=*all.end().min(&one.not_after)
        })
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|der| CertificateDer::from(der.as_ref()))
            .collect();
        match self.verify(&chain, now) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(rejection) => Err(CertificateError::Other(OtherError(Arc::new(rejection))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Extended key usage (RFC 5280 §4.2.1.12): absent, or for servers, or for anything.
struct ServerUsage;

impl ExtendedKeyUsageValidator for ServerUsage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        // id-kp-serverAuth and anyExtendedKeyUsage, as DER contents.
        const SERVER_AUTH: KeyPurposeId<'static> =
            KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01]);
        const ANY: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0x00]);
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if purpose == SERVER_AUTH || purpose == ANY {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        Err(webpki::Error::RequiredEkuNotFoundContext(
            webpki::RequiredEkuNotFoundContext {
                required: KeyUsage::server_auth(),
                present,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::crypto::ring;

    use super::*;

    const NAME: &str = "mail.example.test";

    /// A day in spring.
    fn year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600 + 7_776_000))
    }

    #[test]
    fn a_chain_that_was_accepted_is_verified_again_when_it_expires() {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        leaf.not_before = rcgen::date_time_ymd(2030, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let leaf = leaf.signed_by(&key, &root).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("root.pem"), root.pem()).unwrap();
        let verifier = Verifier::new(
            Arc::new(Wallet::open(directory.path()).unwrap()),
            ServerIdentity::parse(NAME).unwrap(),
            ring::default_provider().signature_verification_algorithms,
        );
        let chain = [leaf.der().clone()];
        assert!(verifier.verify(&chain, year(2030)).is_ok());
        assert!(verifier.verify(&chain, year(2030)).is_ok());
        assert!(verifier.verify(&chain, year(2029)).is_err());
        assert!(verifier.verify(&chain, year(2031)).is_err());
    }
}
