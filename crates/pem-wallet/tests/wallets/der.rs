//! DER for certificates and revocation lists that rcgen does not make.

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certs::{Issuer, pem};

/// One element: its tag, and its contents one after the other.
pub fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let content = contents.concat();
    let length = content.len();
    let mut element = vec![tag];
    match length {
        0..0x80 => element.push(length as u8),
        0x80..0x100 => element.extend([0x81, length as u8]),
        _ => element.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    element.extend(content);
    element
}

pub fn sequence(contents: &[&[u8]]) -> Vec<u8> {
    element(0x30, contents)
}

pub fn time(year: i32) -> Vec<u8> {
    element(0x18, &[format!("{year}0101000000Z").as_bytes()])
}

/// A critical extension; `oid` is its encoded content.
pub fn critical(oid: &[u8], value: &[u8]) -> Vec<u8> {
    let (oid, value) = (element(0x06, &[oid]), element(0x04, &[value]));
    sequence(&[&oid, &[0x01, 1, 0xff], &value])
}

/// deltaCRLIndicator, issuingDistributionPoint, certificateIssuer, and one that nobody knows.
pub const DELTA: &[u8] = &[0x55, 0x1d, 27];
pub const DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
pub const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
pub const UNKNOWN: &[u8] = &[0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 1];

/// ecdsa-with-SHA256, which rcgen's keys sign by.
fn algorithm() -> Vec<u8> {
    sequence(&[&[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])
}

fn signed(content: &[u8], key: &KeyPair) -> Vec<u8> {
    let signature = element(0x03, &[&[0], &key.sign(content).unwrap()]);
    sequence(&[content, &algorithm(), &signature])
}

fn name(issuer: &Issuer) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(issuer.der()).unwrap();
    certificate.subject().as_raw().to_vec()
}

/// A certificate of X.509 version 1: without extensions.
pub fn version_1(issuer: &Issuer, key: &KeyPair) -> CertificateDer<'static> {
    let common_name = sequence(&[&[0x06, 3, 0x55, 4, 3], &element(0x0c, &[b"version 1"])]);
    let content = sequence(&[
        &[0x02, 1, 1],
        &algorithm(),
        &name(issuer),
        &sequence(&[&time(2020), &time(2100)]),
        &sequence(&[&element(0x31, &[&common_name])]),
        &key.subject_public_key_info(),
    ]);
    signed(&content, issuer.key()).into()
}

/// A revocation list in the name of an issuer, with one entry.
pub struct List<'a> {
    pub issuer: &'a Issuer,
    pub key: &'a KeyPair,
    pub serial: u8,
    pub next_update: i32,
    pub extensions: Vec<Vec<u8>>,
    pub entry_extensions: Vec<Vec<u8>>,
}

impl<'a> List<'a> {
    /// One with nothing wrong.
    pub fn of(issuer: &'a Issuer) -> Self {
        Self {
            issuer,
            key: issuer.key(),
            serial: 7,
            next_update: 2100,
            extensions: Vec::new(),
            entry_extensions: Vec::new(),
        }
    }

    pub fn pem(&self) -> String {
        let all = |extensions: &[Vec<u8>]| match extensions {
            [] => Vec::new(),
            some => sequence(&[&some.concat()]),
        };
        let entry = sequence(&[
            &[0x02, 1, self.serial],
            &time(2020),
            &all(&self.entry_extensions),
        ]);
        let extensions = match all(&self.extensions) {
            none if none.is_empty() => none,
            some => element(0xa0, &[&some]),
        };
        let content = sequence(&[
            &[0x02, 1, 1],
            &algorithm(),
            &name(self.issuer),
            &time(2020),
            &time(self.next_update),
            &sequence(&[&entry]),
            &extensions,
        ]);
        pem("X509 CRL", &signed(&content, self.key))
    }
}
