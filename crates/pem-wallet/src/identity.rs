//! The name that a server's certificate must have (RFC 9525): a DNS name, an address, or a pattern
//! `*.example.com`.
//!
//! Neither a common name nor a name that DNS returned on the way is used.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::{DnsName, ServerName};
use smtp_core::host::{Host, HostError};
use webpki::EndEntityCert;

use crate::x509::SubjectName;

/// The name that a server's certificate must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerIdentity {
    /// This name: lower case, A-labels, no trailing dot.
    Name(DnsName<'static>),
    /// This address.
    Address(IpAddr),
    /// A name with exactly one label before this suffix, or the very same wildcard.
    Pattern {
        /// The part after `*.`.
        suffix: String,
    },
}

/// Why a text can't be the name of a server in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// `*.com`.
    #[error("a pattern needs at least two labels after \"*.\"")]
    PatternTooWide,
    /// `*.192.0.2.1`.
    #[error("a pattern needs a name after \"*.\"")]
    PatternOfAddress,
    /// A host name with an underscore, for example.
    #[error("\"{0}\" is not a name that a certificate can have")]
    NotCertifiable(String),
}

impl ServerIdentity {
    /// Parses a host, or a pattern such as `*.example.com`.
    ///
    /// # Errors
    /// No certificate can have that name.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let Some(suffix) = text.strip_prefix("*.") else {
            return Self::of_host(&Host::parse(text)?);
        };
        match Host::parse(suffix)? {
            Host::Name(suffix) if suffix.as_str().contains('.') => Ok(Self::Pattern {
                suffix: suffix.to_string(),
            }),
            Host::Name(_) => Err(IdentityError::PatternTooWide),
            Host::Address(_) => Err(IdentityError::PatternOfAddress),
        }
    }

    /// The identity of a host.
    ///
    /// # Errors
    /// No certificate can have that name.
    pub fn of_host(host: &Host) -> Result<Self, IdentityError> {
        match host {
            Host::Address(address) => Ok(Self::Address(address.to_canonical())),
            Host::Name(name) => match DnsName::try_from(name.to_string()) {
                Ok(name) => Ok(Self::Name(name.to_lowercase_owned())),
                Err(_) => Err(IdentityError::NotCertifiable(name.to_string())),
            },
        }
    }

    /// The name to ask for in a handshake (SNI, RFC 6066 §3): this identity, or `host` for a
    /// pattern. rustls sends no address.
    ///
    /// # Errors
    /// The identity is a pattern, and no certificate can have the name of the host.
    pub fn server_name(&self, host: &Host) -> Result<ServerName<'static>, IdentityError> {
        match self {
            Self::Name(name) => Ok(ServerName::DnsName(name.clone())),
            Self::Address(address) => Ok(ServerName::IpAddress((*address).into())),
            // The identity of a host is never a pattern.
            Self::Pattern { .. } => Self::of_host(host)?.server_name(host),
        }
    }

    /// Whether a certificate is for this identity.
    pub(crate) fn matches(&self, certificate: &EndEntityCert<'_>, names: &[SubjectName]) -> bool {
        let exactly =
            |name: ServerName<'_>| certificate.verify_is_valid_for_subject_name(&name).is_ok();
        match self {
            Self::Name(name) => exactly(ServerName::DnsName(name.borrow())),
            Self::Address(address) => exactly(ServerName::IpAddress((*address).into())),
            Self::Pattern { suffix } => names.iter().any(|name| is_under(name, suffix)),
        }
    }
}

impl ServerIdentity {
    /// Its text with its kind, for messages.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Address(address) => format!("IP address {address}"),
            name => format!("DNS name \"{name}\""),
        }
    }
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name.as_ref()),
            Self::Address(address) => address.fmt(f),
            Self::Pattern { suffix } => write!(f, "*.{suffix}"),
        }
    }
}

/// Whether a name of a certificate is one label, or the wildcard, before a suffix.
fn is_under(name: &SubjectName, suffix: &str) -> bool {
    let SubjectName::Dns(name) = name else {
        return false;
    };
    let Some((label, rest)) = name.split_once('.') else {
        return false;
    };
    rest == suffix && (label == "*" || DnsName::try_from(label).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        ServerIdentity::parse(text).unwrap().to_string()
    }

    #[test]
    fn spellings_of_one_name_are_one_identity() {
        for text in [
            "mail.example.test",
            "MAIL.Example.Test",
            "mail.example.test.",
        ] {
            assert_eq!(parse(text), "mail.example.test");
        }
        assert_eq!(parse("bücher.example"), "xn--bcher-kva.example");
        assert_eq!(parse("*.Example.COM."), "*.example.com");
    }

    #[test]
    fn spellings_of_one_address_are_one_identity() {
        for text in ["2001:db8:0:0::1", "2001:DB8::0001", "2001:db8::0.0.0.1"] {
            assert_eq!(parse(text), "2001:db8::1");
        }
        assert_eq!(parse("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn a_star_anywhere_but_before_a_domain_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "*.com",
            "*.com.",
            "mail.*.com",
            "m*.example.com",
            "*mail.example.com",
            "*.*.example.com",
            "*.192.0.2.1",
            "mail.example.test\0",
            "mail.example.test\r\n",
            "*.example.com\r\n",
            "a b",
        ] {
            let outcome = ServerIdentity::parse(text);
            assert!(outcome.is_err(), "{text:?}: {outcome:?}");
        }
    }

    #[test]
    fn a_pattern_takes_one_label_or_itself() {
        let dns = |name: &str| SubjectName::Dns(name.into());
        for name in ["mail.example.com", "*.example.com"] {
            assert!(is_under(&dns(name), "example.com"), "{name}");
        }
        for name in [
            "example.com",
            "a.b.example.com",
            ".example.com",
            "*.b.example.com",
            "m*.example.com",
            "*.com",
            "mailexample.com",
        ] {
            assert!(!is_under(&dns(name), "example.com"), "{name}");
        }
    }
}
