//! The domain of HELO and EHLO, and the part of a mailbox after `@` (RFC 5321 §2.3.5, §4.1.3).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{TextError, printable};
use crate::host;

/// A domain name, with its international labels as A-labels, or an address literal in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

impl Domain {
    /// Takes `example.com`, `bücher.example`, `[192.0.2.1]` or `[IPv6:2001:db8::1]`. A name in
    /// ASCII keeps its spelling but for a trailing dot; any other is converted by UTS #46.
    ///
    /// # Errors
    /// Where the text is neither.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        printable(text)?;
        Self::read(text).map(Self)
    }

    /// As it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn read(text: &str) -> Result<String, TextError> {
        if let Some(literal) = text.strip_prefix('[') {
            return literal
                .strip_suffix(']')
                .filter(|literal| is_address(literal))
                .map(|_| text.to_owned())
                .ok_or(TextError::AddressLiteral);
        }
        let converted = host::ascii_name(text)?;
        // Case means nothing in a domain, so what the caller wrote may stand.
        Ok(if text.is_ascii() {
            text.strip_suffix('.').unwrap_or(text).to_owned()
        } else {
            converted
        })
    }
}

fn is_address(literal: &str) -> bool {
    match literal.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<Ipv6Addr>().is_ok()
        }
        _ => literal.parse::<Ipv4Addr>().is_ok(),
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
