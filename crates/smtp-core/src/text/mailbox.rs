//! The mailbox of MAIL and RCPT (RFC 5321 §4.1.2 Mailbox; RFC 6531 §3.3 for characters outside
//! ASCII).
//!
//! Refuses what isn't exactly one address: source routes, display names, lists, anything after the
//! address. Dots at odd places in a local part are the server's business.

use std::fmt;

use super::{Domain, MailboxError, TextError, printable};

/// One address, without the `<` and `>`: `user@example.com`, `"odd one"@example.com`, or a local
/// part alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    text: String,
    local_part_end: usize,
}

impl Mailbox {
    /// Takes one address with or without `<` and `>`.
    ///
    /// # Errors
    /// Where the text is not exactly one address.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        match ReversePath::parse(text)? {
            ReversePath::Mailbox(mailbox) => Ok(mailbox),
            ReversePath::Null => Err(MailboxError::Missing.into()),
        }
    }

    /// What goes between `<` and `>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The spelling that equal addresses have in common: the domain in lower case (RFC 5321 §2.4).
    pub fn canonical(&self) -> String {
        let (local_part, domain) = self.text.split_at(self.local_part_end);
        [local_part, &domain.to_ascii_lowercase()].concat()
    }

    /// Whether the server must offer SMTPUTF8 to take it: the local part isn't ASCII. The domain
    /// always is.
    pub fn needs_smtputf8(&self) -> bool {
        !self.text[..self.local_part_end].is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The sender of MAIL: a mailbox, or nobody (RFC 5321 §4.5.5), to whom nothing is ever sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`.
    Null,
    /// An address.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Takes one address with or without `<` and `>`; an empty text and `<>` are the null sender.
    ///
    /// # Errors
    /// Where the text is more than one address, or none.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        printable(text)?;
        let (path, skipped) = match text.strip_prefix('<') {
            Some(rest) => (Some(rest), 1),
            None => (None, 0),
        };
        let scanner = Scanner {
            text: path.unwrap_or(text),
            skipped,
        };
        let (address, rest) = scanner.address()?;
        match (path.is_some(), rest) {
            (true, ">") | (false, "") => {}
            (true, "") => return Err(MailboxError::NotClosed.into()),
            (_, rest) => return Err(scanner.leftover(rest)),
        }
        if address.is_empty() {
            return Ok(Self::Null);
        }
        scanner.mailbox(address).map(Self::Mailbox)
    }

    /// What goes between `<` and `>`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// Whether the server must offer SMTPUTF8 to take it.
    pub fn needs_smtputf8(&self) -> bool {
        matches!(self, Self::Mailbox(mailbox) if mailbox.needs_smtputf8())
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Splits an address off a text and can say where something is wrong.
struct Scanner<'a> {
    text: &'a str,
    /// Characters of the argument that precede `text`.
    skipped: usize,
}

impl<'a> Scanner<'a> {
    /// The address and what follows it: a local part, and a domain when there is an `@`.
    fn address(&self) -> Result<(&'a str, &'a str), TextError> {
        let after_local = self.local_part_end()?;
        let rest = &self.text[after_local..];
        let Some(domain) = rest.strip_prefix('@') else {
            return Ok(self.text.split_at(after_local));
        };
        if after_local == 0 {
            let route = domain.contains(':') || domain.contains(',');
            return Err(match route {
                true => MailboxError::SourceRoute.into(),
                false => MailboxError::NoLocalPart.into(),
            });
        }
        // A colon can only be part of an address literal, a space or a bracket can't be part of
        // anything.
        let length = match domain.starts_with('[') {
            true => domain.find(']').map_or(domain.len(), |end| end + 1),
            false => domain
                .find(['>', '<', ' ', ',', ';'])
                .unwrap_or(domain.len()),
        };
        Ok(self.text.split_at(after_local + 1 + length))
    }

    fn local_part_end(&self) -> Result<usize, TextError> {
        if self.text.starts_with('"') {
            return self.quoted_string_end();
        }
        for (index, character) in self.text.char_indices() {
            match character {
                '@' | '>' | '<' | ',' | ';' => return Ok(index),
                '(' | ')' | '[' | ']' | ':' | '\\' | '"' => return Err(self.at(index, character)),
                _ if character.is_whitespace() => return Err(self.at(index, character)),
                _ => {}
            }
        }
        Ok(self.text.len())
    }

    fn quoted_string_end(&self) -> Result<usize, TextError> {
        let mut escaped = false;
        for (index, character) in self.text.char_indices().skip(1) {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return Ok(index + 1),
                _ => {}
            }
        }
        Err(MailboxError::Unquoted.into())
    }

    fn mailbox(&self, address: &str) -> Result<Mailbox, TextError> {
        let local_part_end = self.local_part_end()?;
        let (local_part, domain) = address.split_at(local_part_end);
        let text = match domain.strip_prefix('@') {
            Some(domain) => {
                let domain = Domain::parse(domain)?;
                [local_part, "@", domain.as_str()].concat()
            }
            None => local_part.to_owned(),
        };
        Ok(Mailbox {
            text,
            local_part_end,
        })
    }

    /// The error for what stands behind an address.
    fn leftover(&self, rest: &str) -> TextError {
        let index = self.text.len() - rest.len();
        match rest.chars().next() {
            Some(',' | ';') => MailboxError::List.into(),
            Some('>') if rest.len() > 1 => MailboxError::TextBehind.into(),
            Some('>') => MailboxError::NotOpened.into(),
            Some('<') => MailboxError::Nested.into(),
            Some(character) => self.at(index, character),
            None => MailboxError::Missing.into(),
        }
    }

    fn at(&self, index: usize, character: char) -> TextError {
        let place = self.skipped + self.text[..index].chars().count();
        // `Name <user@example.com>` stumbles over the space, but the name is what is wrong.
        if character.is_whitespace() && self.text[index..].contains('<') {
            return MailboxError::DisplayName.into();
        }
        TextError::Unexpected {
            character,
            index: place,
        }
    }
}
