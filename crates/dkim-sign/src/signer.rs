//! The field DKIM-Signature (RFC 6376 §3.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::folding::Folded;
use crate::key::PrivateKey;
use crate::message::HashedMessage;
use crate::name::{Domain, NameError, Selector};

const NAME: &str = "DKIM-Signature";

/// The system has no random numbers, or computed a wrong signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature could not be computed")]
pub struct SigningFailed;

/// A key, and where its public part is published.
#[derive(Debug, Clone)]
pub struct Signer {
    domain: Domain,
    selector: Selector,
    key: PrivateKey,
}

impl Signer {
    /// A key of a domain.
    ///
    /// # Errors
    /// Where the two names are too long together to be one name in DNS.
    pub fn new(domain: Domain, selector: Selector, key: PrivateKey) -> Result<Self, NameError> {
        selector.record_name(&domain)?;
        Ok(Self {
            domain,
            selector,
            key,
        })
    }

    /// The domain that takes responsibility for what is signed.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Which key of the domain this is.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// The key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The field DKIM-Signature to put in front of the message: ASCII, folded before column 78,
    /// with CRLF at the end. Fields of several signers may stand in any order.
    ///
    /// `time` is the time of the signature in seconds since 1970.
    ///
    /// # Errors
    /// Where the system fails. The message has no part in it.
    pub fn sign(&self, message: &HashedMessage, time: u64) -> Result<String, SigningFailed> {
        let mut value = self.unsigned(message, time);
        let mut data = message.header().canonical();
        data.extend_from_slice(&canonical(value.as_str()));
        let signature = self.key.sign(&data)?;
        value.characters(&STANDARD.encode(signature));
        Ok(format!("{NAME}:{}\r\n", value.as_str()))
    }

    /// The value of the field as it is signed, that is without a value of its last tag, `b`.
    fn unsigned(&self, message: &HashedMessage, time: u64) -> Folded {
        let mut value = Folded::new(NAME);
        value.word("v=1;");
        value.word(&format!("a={};", self.key.algorithm()));
        value.word("c=relaxed/relaxed;");
        value.word(&format!("d={};", self.domain));
        value.word(&format!("s={};", self.selector));
        value.word(&format!("t={time};"));
        let mut names = message.header().names().peekable();
        let mut before = "h=";
        while let Some(name) = names.next() {
            let behind = if names.peek().is_none() { ";" } else { "" };
            let text = format!("{before}{name}{behind}");
            match before {
                ":" => value.attach(&text),
                _ => value.word(&text),
            }
            before = ":";
        }
        value.word(&format!("bh={};", STANDARD.encode(message.body_hash())));
        value.word("b=");
        value
    }
}

/// The relaxed form of the field without a signature. Its folding has one space for each piece of
/// white space.
fn canonical(value: &str) -> Vec<u8> {
    let value = value.replace("\r\n", "");
    format!("dkim-signature:{}", value.trim_start()).into_bytes()
}

#[cfg(test)]
mod tests;
