//! Private keys that sign assertions, and the certificate that names one.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rsa::KeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

/// An RSA private key of 2048 to 4096 bits.
#[derive(Clone)]
pub struct SigningKey(Arc<KeyPair>);

/// Why a text is no key that can sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM block with a private key.
    #[error("it holds no private key in PEM form")]
    NoKey,
    /// The key is encrypted.
    #[error("the private key is encrypted")]
    Encrypted,
    /// An elliptic curve, for example.
    #[error("the private key is not an RSA key")]
    NotRsa,
    /// Fewer than 2048 bits, or more than 4096.
    #[error("the RSA key has fewer than 2048 or more than 4096 bits")]
    Size,
    /// The numbers of the key don't fit together, or their encoding is broken.
    #[error("the private key is damaged")]
    Damaged,
    /// No PEM block with a certificate.
    #[error("it holds no certificate in PEM form")]
    NoCertificate,
    /// The certificate is for another key.
    #[error("the certificate and the private key do not belong together")]
    Mismatch,
}

impl SigningKey {
    /// Takes the first private key of a PEM text, PKCS#8 (`PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE
    /// KEY`).
    ///
    /// # Errors
    /// [`KeyError`] says why the key can't be used.
    pub fn parse(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let mut der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NoKey)?;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(KeyError::NotRsa),
        };
        der.zeroize();
        let pair = pair.map_err(|rejected| match rejected.to_string().as_str() {
            "WrongAlgorithm" => KeyError::NotRsa,
            "TooSmall" | "TooLarge" | "PrivateModulusLenNotMultipleOf512Bits" => KeyError::Size,
            _ => KeyError::Damaged,
        })?;
        Ok(Self(Arc::new(pair)))
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(********)")
    }
}

/// What a client proves its identity with by `private_key_jwt`: a key, and in most cases the
/// certificate that the issuer of tokens knows it by.
#[derive(Debug, Clone)]
pub struct ClientKey {
    pub(crate) key: SigningKey,
    /// SHA-256 of the certificate in base64url, the header `x5t#S256` (RFC 7515 §4.1.8).
    pub(crate) thumbprint: Option<String>,
}

impl ClientKey {
    /// Takes a private key and a certificate, both in PEM form. Of a chain the first certificate
    /// counts.
    ///
    /// # Errors
    /// As [`SigningKey::parse`]; where the certificate is none, or is for another key.
    pub fn parse(key: &str, certificate: Option<&str>) -> Result<Self, KeyError> {
        let key = SigningKey::parse(key)?;
        let thumbprint = match certificate {
            None => None,
            Some(pem) => {
                let der = CertificateDer::from_pem_slice(pem.as_bytes())
                    .map_err(|_| KeyError::NoCertificate)?;
                // Its SubjectPublicKeyInfo contains the RSAPublicKey as it is (RFC 3279 §2.3.1).
                let public = key.pair().public().as_ref();
                if !der.windows(public.len()).any(|part| part == public) {
                    return Err(KeyError::Mismatch);
                }
                Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, &der)))
            }
        };
        Ok(Self { key, thumbprint })
    }
}
