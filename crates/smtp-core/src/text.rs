//! Values that become part of a command line, constructible only when valid (RFC 5321 §4.1.2, RFC
//! 6531 §3.3).
//!
//! Owns the rule that nothing a caller gives can end a line, start a second command, or smuggle
//! parameters behind an address. It judges shape only: whether a mailbox or a parameter makes sense
//! is for the server to say. An error says what is wrong at which place; it never repeats a text
//! that came through here, because the text may be a secret.

mod domain;
mod error;
mod mailbox;
mod raw_command;

pub use domain::Domain;
pub use error::{MailboxError, TextError, quoted};
pub use mailbox::{Mailbox, ReversePath};
pub use raw_command::{RawCommand, RawCommandError};

/// Refuses every control character: CR and LF would end the line, NUL and the rest have no place in
/// a command.
///
/// # Errors
/// [`TextError::Unexpected`] for the first one.
pub fn printable(text: &str) -> Result<(), TextError> {
    if is_printable_ascii(text.as_bytes()) {
        return Ok(());
    }
    match text
        .chars()
        .enumerate()
        .find(|(_, character)| character.is_control())
    {
        None => Ok(()),
        Some((index, character)) => Err(TextError::Unexpected { character, index }),
    }
}

/// Whether all octets are printable ASCII: the usual case, which needs no decoding.
pub(crate) fn is_printable_ascii(octets: &[u8]) -> bool {
    octets.iter().all(|octet| (b' '..=b'~').contains(octet))
}

/// ESMTP parameters of MAIL or RCPT (RFC 5321 §4.1.2): `SIZE=1000 BODY=8BITMIME`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(String);

impl Parameters {
    /// Takes printable ASCII; an empty or blank text means no parameters.
    ///
    /// # Errors
    /// [`TextError::Unexpected`] for the first other character.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let foreign = |character: char| !(character.is_ascii_graphic() || character == ' ');
        match text
            .chars()
            .enumerate()
            .find(|(_, character)| foreign(*character))
        {
            None => Ok(Self(text.trim().to_owned())),
            Some((index, character)) => Err(TextError::Unexpected { character, index }),
        }
    }

    /// What follows the path, without the separating space.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Adds a parameter without a value, unless it is there.
    pub(crate) fn add(&mut self, keyword: &str) {
        if !self.contains(keyword) {
            let space = if self.0.is_empty() { "" } else { " " };
            self.0.extend([space, keyword]);
        }
    }

    /// Gives the parameter `keyword` another value, which is a number, wherever it is there.
    pub fn set_number(&mut self, keyword: &str, number: u64) {
        let other = |word: &str| {
            let name = word.split('=').next().unwrap_or_default();
            match name.eq_ignore_ascii_case(keyword) {
                true => format!("{name}={number}"),
                false => word.to_owned(),
            }
        };
        if self.contains(keyword) {
            let words: Vec<String> = self.0.split_ascii_whitespace().map(other).collect();
            self.0 = words.join(" ");
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the parameter `keyword` is among them, with or without a value.
    pub fn contains(&self, keyword: &str) -> bool {
        self.keywords()
            .any(|(name, _)| name.eq_ignore_ascii_case(keyword))
    }

    /// The parameters without those that need an extension that is not offered. An extension whose
    /// parameter is not known here has the parameter's name.
    #[must_use]
    pub fn understood(&self, offers: impl Fn(&str) -> bool) -> Self {
        let understood = self
            .0
            .split_ascii_whitespace()
            .filter(|parameter| offers(extension_of(parameter)));
        Self(understood.collect::<Vec<_>>().join(" "))
    }

    /// The value of the parameter `keyword`.
    pub fn value(&self, keyword: &str) -> Option<&str> {
        self.keywords()
            .find(|(name, _)| name.eq_ignore_ascii_case(keyword))?
            .1
    }

    fn keywords(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0
            .split_ascii_whitespace()
            .map(|parameter| match parameter.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (parameter, None),
            })
    }
}

/// The extension that a parameter of MAIL or RCPT belongs to.
fn extension_of(parameter: &str) -> &str {
    const EXTENSIONS: [(&str, &str); 11] = [
        // RFC 6152
        ("BODY", "8BITMIME"),
        // RFC 3461
        ("RET", "DSN"),
        ("ENVID", "DSN"),
        ("NOTIFY", "DSN"),
        ("ORCPT", "DSN"),
        // RFC 2852
        ("BY", "DELIVERBY"),
        // RFC 4865
        ("HOLDFOR", "FUTURERELEASE"),
        ("HOLDUNTIL", "FUTURERELEASE"),
        // RFC 1845
        ("TRANSID", "CHECKPOINT"),
        // RFC 3865
        ("SOLICIT", "NO-SOLICITING"),
        // RFC 4141
        ("CONNEG", "CONPERM"),
    ];
    let keyword = parameter.split('=').next().unwrap_or_default();
    let known = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(keyword);
    match EXTENSIONS.iter().find(known) {
        Some((_, extension)) => extension,
        None => keyword,
    }
}

#[cfg(test)]
mod tests;
