//! Private keys that sign, and the DNS records of their public keys.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::{self, DecodePrivateKey};
use ed25519_dalek::{Signer as _, SigningKey};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::RSA_PKCS1_SHA256;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroize;

use crate::signer::SigningFailed;

/// An RSA key of 2048 to 4096 bits, or an Ed25519 key. Clones share it.
#[derive(Clone)]
pub struct PrivateKey(Arc<Pair>);

enum Pair {
    Rsa(rsa::KeyPair),
    Ed25519(SigningKey),
}

/// Why a text is no key that can sign. No variant quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM block with a private key.
    #[error("it holds no private key in PEM form")]
    NoKey,
    /// The key is encrypted.
    #[error("the private key is encrypted")]
    Encrypted,
    /// An elliptic curve of NIST, for example.
    #[error("the private key is neither an RSA nor an Ed25519 key")]
    Unsupported,
    /// Fewer than 2048 bits (RFC 8301 §3.2), more than 4096, or a number that is no multiple of
    /// 512.
    #[error("the RSA key does not have 2048, 2560, 3072, 3584 or 4096 bits")]
    Size,
    /// The numbers of the key don't fit together, or their encoding is broken.
    #[error("the private key is damaged")]
    Damaged,
}

impl PrivateKey {
    /// Takes the first private key of a PEM text: PKCS#8 (`PRIVATE KEY`), or PKCS#1 (`RSA PRIVATE
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
            PrivateKeyDer::Pkcs8(key) => from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => {
                let pair = rsa::KeyPair::from_der(key.secret_pkcs1_der());
                pair.map(Pair::Rsa).map_err(|rejected| unfit(&rejected))
            }
            _ => return Err(KeyError::Unsupported),
        };
        der.zeroize();
        Ok(Self(Arc::new(pair?)))
    }

    /// The content of the TXT record that publishes the public key (RFC 6376 §3.6.1, RFC 8463 §4).
    /// A zone file has it in strings of at most 255 octets each.
    pub fn dns_record(&self) -> String {
        let (kind, key) = match &*self.0 {
            Pair::Rsa(pair) => ("rsa", public_key_info(pair.public().as_ref())),
            Pair::Ed25519(pair) => ("ed25519", pair.verifying_key().as_bytes().to_vec()),
        };
        format!("v=DKIM1; k={kind}; p={}", STANDARD.encode(key))
    }

    /// The tag `a`.
    pub(crate) fn algorithm(&self) -> &'static str {
        match &*self.0 {
            Pair::Rsa(_) => "rsa-sha256",
            Pair::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// The signature of the SHA-256 of `data`. Ed25519 signs the hash as its message (RFC 8463 §3).
    pub(crate) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        match &*self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    data,
                    &mut signature,
                )
                .map_err(|_| SigningFailed)?;
                Ok(signature)
            }
            Pair::Ed25519(key) => Ok(key.sign(digest(&SHA256, data).as_ref()).to_bytes().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(********)")
    }
}

fn from_pkcs8(der: &[u8]) -> Result<Pair, KeyError> {
    match rsa::KeyPair::from_pkcs8(der).map_err(|rejected| unfit(&rejected)) {
        Err(KeyError::Unsupported) => match SigningKey::from_pkcs8_der(der) {
            Ok(key) => Ok(Pair::Ed25519(key)),
            // Of another algorithm.
            Err(pkcs8::Error::PublicKey(_)) => Err(KeyError::Unsupported),
            Err(_) => Err(KeyError::Damaged),
        },
        pair => pair.map(Pair::Rsa),
    }
}

fn unfit(rejected: &ring::error::KeyRejected) -> KeyError {
    match rejected.to_string().as_str() {
        "WrongAlgorithm" => KeyError::Unsupported,
        "TooSmall" | "TooLarge" | "PrivateModulusLenNotMultipleOf512Bits" => KeyError::Size,
        _ => KeyError::Damaged,
    }
}

/// SubjectPublicKeyInfo (RFC 3279 §2.3.1) of an RSAPublicKey. RFC 6376 §3.6.1 names the latter, but
/// its examples and all that is published have the former (erratum 3017).
fn public_key_info(key: &[u8]) -> Vec<u8> {
    // SEQUENCE { OID rsaEncryption, NULL }
    const ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    // No bit of the last octet is unused.
    let key = der(BIT_STRING, &[&[0], key].concat());
    der(SEQUENCE, &[ALGORITHM, &key].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|octet| **octet == 0).count()..];
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 + length.len() as u8);
    }
    out.extend_from_slice(length);
    out.extend_from_slice(content);
    out
}
