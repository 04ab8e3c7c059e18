//! The identity of a host: the same for the caller, for access entries and for the connection.
//!
//! Defines the canonical spelling, so that no other spelling evades an entry: names compare as
//! lower-case A-labels (UTS #46) without a trailing dot, addresses as numbers, and an IPv4-mapped
//! IPv6 address is its IPv4 address. Refuses every spelling of an address that only a resolver
//! would understand (`127.1`, `0x7f.1`, `2130706433`), zone identifiers, the unspecified address,
//! and anything that is more than a host: ports, paths, users. Implements RFC 1123 §2.1, RFC 4291
//! §2.2.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::limits;
use crate::text::{TextError, printable, quoted};

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to resolve.
    Name(HostName),
    /// An address; never an IPv4-mapped IPv6 one.
    Address(IpAddr),
}

impl Host {
    /// Takes a name, an IPv4 address as four decimal numbers, or an IPv6 address with or without
    /// brackets.
    ///
    /// # Errors
    /// Where the text is none of them, or the unspecified address: `0.0.0.0` and `::` connect to
    /// loopback, so they would be a second identity of it.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        printable(text)?;
        let host = Self::parse_any(text).and_then(|host| match host {
            Self::Address(address) if address.is_unspecified() => Err(HostProblem::Unspecified),
            host => Ok(host),
        });
        host.map_err(|problem| HostError::Host {
            shown: quoted(text),
            problem,
        })
    }

    /// The same, with the unspecified addresses, which access entries may name.
    ///
    /// # Errors
    /// Where the text is neither a name nor an address.
    pub fn parse_any(text: &str) -> Result<Self, HostProblem> {
        if let Some(address) = parse_address(text) {
            return Ok(Self::Address(address));
        }
        if text.contains([':', '[', ']']) {
            return Err(HostProblem::NotAnAddress);
        }
        HostName::parse(text).map(Self::Name)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why a text names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// A control character.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Anything else.
    #[error("{shown} is not a host: {problem}")]
    Host {
        /// The text, escaped and cut.
        shown: String,
        /// What is wrong with it.
        problem: HostProblem,
    },
}

/// What is wrong with a text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostProblem {
    /// `0.0.0.0` or `::`.
    #[error("the unspecified address is no machine's")]
    Unspecified,
    /// A colon or a bracket, but no IPv6 address.
    #[error("neither a name nor an IPv6 address, and a port is given apart")]
    NotAnAddress,
    /// A number that resolvers take for an address.
    #[error("an IPv4 address is written as four decimal numbers")]
    Number,
    /// Not a domain name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Why a text is not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("a name is needed")]
    Empty,
    /// More than [`limits::DOMAIN`] octets.
    #[error("a domain name of more than {} octets", limits::DOMAIN)]
    TooLong,
    /// UTS #46 does not convert it.
    #[error("not a valid internationalized domain name")]
    Unconvertible,
    /// Two dots in a row.
    #[error("an empty label between dots")]
    EmptyLabel,
    /// More than 63 octets between dots.
    #[error("a label of more than 63 octets")]
    LongLabel,
    /// `-` where a label begins or ends.
    #[error("a label begins or ends with \"-\"")]
    Hyphen,
    /// Neither a letter nor a digit, hyphen or underscore.
    #[error("{} in a domain name", quoted(.0.encode_utf8(&mut [0; 4])))]
    Character(char),
}

/// A host's name: lower-case A-labels, no trailing dot, and nothing that could be taken for an
/// address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as it is matched, resolved and compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a domain name, which is converted by UTS #46.
    ///
    /// # Errors
    /// Where the text is none, or could be taken for an address.
    pub fn parse(text: &str) -> Result<Self, HostProblem> {
        let name = ascii_name(text)?;
        // getaddrinfo() takes such names for addresses in shapes that no access entry can be
        // written in.
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(HostProblem::Number);
        }
        Ok(Self(name))
    }

    /// The labels between the dots.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The domains that the name lies in, the narrowest first: `example.com` and `com` for
    /// `mail.example.com`.
    pub fn parents(&self) -> impl Iterator<Item = HostName> {
        let dots = self.0.match_indices('.');
        dots.map(|(dot, _)| HostName(self.0[dot + 1..].to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A domain name as lower-case A-labels without its trailing dot. Underscores pass: such names
/// exist and resolve.
pub(crate) fn ascii_name(text: &str) -> Result<String, NameError> {
    // A character takes four octets of UTF-8 at most; a longer text can't become a valid name.
    if text.len() > 4 * (limits::DOMAIN + 1) {
        return Err(NameError::TooLong);
    }
    let converted = Uts46::new()
        .to_ascii(
            text.as_bytes(),
            AsciiDenyList::EMPTY,
            Hyphens::Allow,
            DnsLength::Ignore,
        )
        .map_err(|_| NameError::Unconvertible)?;
    let name = converted.strip_suffix('.').unwrap_or(&converted);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > limits::DOMAIN {
        return Err(NameError::TooLong);
    }
    let mut labels = name.as_bytes().split(|octet| *octet == b'.');
    labels.try_for_each(check_label)?;
    Ok(name.to_owned())
}

fn check_label(label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > 63 {
        return Err(NameError::LongLabel);
    }
    if label.starts_with(b"-") || label.ends_with(b"-") {
        return Err(NameError::Hyphen);
    }
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    match label.iter().find(|octet| !allowed(**octet)) {
        Some(octet) => Err(NameError::Character(char::from(*octet))),
        None => Ok(()),
    }
}

/// Decimal or hexadecimal, as inet_aton() reads the parts of an address.
fn is_number(label: &str) -> bool {
    let all_digits = label.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = label
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    all_digits || hexadecimal
}

/// An address as it is written in decimal or hexadecimal, IPv6 also in brackets.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bracketed.unwrap_or(text).parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(address).to_canonical());
    }
    text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests;
