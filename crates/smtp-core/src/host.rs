//! The one identity of a host: what the caller names, what access entries name, and what is connected to.
//!
//! Owns the canonical spelling, so that no second spelling slips past an entry: names compare as lower-case A-labels
//! (UTS #46) without a trailing dot, addresses as numbers, and an IPv4-mapped IPv6 address is its IPv4 address.
//! Refuses every spelling of an address that only a resolver would understand (`127.1`, `0x7f.1`, `2130706433`), zone
//! identifiers, the unspecified address, and anything that is more than a host: ports, paths, users. Implements RFC 1123
//! §2.1, RFC 4291 §2.2.

mod pattern;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::limits;
use crate::text::{ArgumentError, printable, quoted};

pub use pattern::{HostPattern, candidates, contains_host, domain_level, domains, equals_host};

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to resolve.
    Name(HostName),
    /// An address; never an IPv4-mapped IPv6 one.
    Address(IpAddr),
}

impl Host {
    /// Takes a name, an IPv4 address as four decimal numbers, or an IPv6 address with or without brackets.
    pub fn parse(argument: &'static str, text: &str) -> Result<Self, ArgumentError> {
        printable(argument, text)?;
        Self::read(text)
            .and_then(Self::specified)
            .map_err(|reason| {
                ArgumentError::new(
                    argument,
                    format!("{} is not a host: {reason}", quoted(text)),
                )
            })
    }

    /// `0.0.0.0` and `::` connect to loopback, whatever is said of that: a second identity. Entries may name them.
    fn specified(self) -> Result<Self, String> {
        match self {
            Self::Address(address) if address.is_unspecified() => {
                Err("the unspecified address is no machine's".to_owned())
            }
            host => Ok(host),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        if let Some(address) = read_address(text) {
            return Ok(Self::Address(address));
        }
        if text.contains([':', '[', ']']) {
            return Err("neither a name nor an IPv6 address, and a port is given apart".to_owned());
        }
        HostName::read(text).map(Self::Name)
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

/// A host's name: lower-case A-labels, no trailing dot, and nothing that could be taken for an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as it is matched, resolved and compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn read(text: &str) -> Result<Self, String> {
        let name = ascii_name(text)?;
        // getaddrinfo() takes such names for addresses in shapes that no access entry can be written in.
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err("an IPv4 address is written as four decimal numbers".to_owned());
        }
        Ok(Self(name))
    }

    fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A domain name as lower-case A-labels without its trailing dot. Underscores pass: such names exist and resolve.
pub(crate) fn ascii_name(text: &str) -> Result<String, String> {
    // Four octets are the most that UTF-8 spends on a character; beyond that the conversion would be for nothing.
    if text.len() > 4 * (limits::DOMAIN + 1) {
        return Err(too_long());
    }
    let converted = Uts46::new()
        .to_ascii(
            text.as_bytes(),
            AsciiDenyList::EMPTY,
            Hyphens::Allow,
            DnsLength::Ignore,
        )
        .map_err(|_| "not a valid internationalized domain name".to_owned())?;
    let name = converted.strip_suffix('.').unwrap_or(&converted);
    if name.is_empty() {
        return Err("a name is needed".to_owned());
    }
    if name.len() > limits::DOMAIN {
        return Err(too_long());
    }
    name.split('.').try_for_each(check_label)?;
    Ok(name.to_owned())
}

fn check_label(label: &str) -> Result<(), String> {
    if label.is_empty() {
        return Err("an empty label between dots".to_owned());
    }
    if label.len() > 63 {
        return Err("a label of more than 63 octets".to_owned());
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("a label begins or ends with \"-\"".to_owned());
    }
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    match label.chars().find(|character| !allowed(*character)) {
        Some(character) => Err(format!(
            "{} in a domain name",
            quoted(&character.to_string())
        )),
        None => Ok(()),
    }
}

fn too_long() -> String {
    format!("a domain name of more than {} octets", limits::DOMAIN)
}

/// Decimal or hexadecimal, as inet_aton() reads the parts of an address.
fn is_number(label: &str) -> bool {
    let all_digits = label.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = label
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    all_digits || hexadecimal
}

fn read_address(text: &str) -> Option<IpAddr> {
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
