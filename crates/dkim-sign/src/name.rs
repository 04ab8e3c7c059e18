//! Domains and selectors (RFC 6376 §3.1), in the form in which DNS knows them.

use std::fmt;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// Octets of a domain name (RFC 1035 §2.3.4), without the dot at its end.
const LONGEST: usize = 253;

/// A domain in lower-case A-labels, without a dot at its end: the tag `d`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

impl Domain {
    /// Takes a domain name, which is converted by UTS #46. Underscores pass: such names exist.
    ///
    /// # Errors
    /// Where the text is no domain name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        a_labels(text).map(Self)
    }

    /// As it stands in the tag `d`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one key of a domain: the tag `s`. One or more labels, as those of a [`Domain`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector(String);

impl Selector {
    /// Takes labels with dots between them, which are converted by UTS #46.
    ///
    /// # Errors
    /// Where the text is something else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        a_labels(text).map(Self)
    }

    /// As it stands in the tag `s`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the TXT record of this key (RFC 6376 §3.6.2.1).
    ///
    /// # Errors
    /// Where it would have more than 253 octets.
    pub fn record_name(&self, domain: &Domain) -> Result<String, NameError> {
        let name = format!("{self}._domainkey.{domain}");
        match name.len() {
            ..=LONGEST => Ok(name),
            _ => Err(NameError::TooLong),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a domain or a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("a name is needed")]
    Empty,
    /// More than 253 octets in all.
    #[error("a name of more than {LONGEST} octets")]
    TooLong,
    /// UTS #46 does not convert it.
    #[error("not a valid internationalized name")]
    Unconvertible,
    /// Two dots in a row, or one at the beginning.
    #[error("an empty label between dots")]
    EmptyLabel,
    /// More than 63 octets between dots.
    #[error("a label of more than 63 octets")]
    LongLabel,
    /// `-` where a label begins or ends.
    #[error("a label begins or ends with \"-\"")]
    Hyphen,
    /// Neither a letter nor a digit, hyphen or underscore.
    #[error("a label has other characters than letters, digits, \"-\" and \"_\"")]
    Character,
}

fn a_labels(text: &str) -> Result<String, NameError> {
    // A character takes four octets of UTF-8 at most; a longer text can't become a valid name.
    if text.len() > 4 * LONGEST {
        return Err(NameError::TooLong);
    }
    let name = Uts46::new()
        .to_ascii(
            text.as_bytes(),
            AsciiDenyList::EMPTY,
            Hyphens::Allow,
            DnsLength::Ignore,
        )
        .map_err(|_| NameError::Unconvertible)?;
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > LONGEST {
        return Err(NameError::TooLong);
    }
    name.split('.').try_for_each(check_label)?;
    Ok(name.into_owned())
}

fn check_label(label: &str) -> Result<(), NameError> {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
    match label.as_bytes() {
        [] => Err(NameError::EmptyLabel),
        [_, ..] if label.len() > 63 => Err(NameError::LongLabel),
        [b'-', ..] | [.., b'-'] => Err(NameError::Hyphen),
        octets if octets.iter().copied().all(allowed) => Ok(()),
        _ => Err(NameError::Character),
    }
}
