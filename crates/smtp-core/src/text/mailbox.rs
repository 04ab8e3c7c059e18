//! The mailbox of MAIL and RCPT (RFC 5321 §4.1.2 Mailbox; RFC 6531 §3.3 for characters outside ASCII).
//!
//! Refuses what isn't exactly one address: source routes, display names, lists, anything after the address.
//! Dots at odd places in a local part are the server's business.

use std::fmt;

use super::{ArgumentError, Domain, printable, unexpected};

/// One address, without the `<` and `>`: `user@example.com`, `"odd one"@example.com`, or a local part alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    text: String,
    local_part_end: usize,
}

impl Mailbox {
    /// Takes one address with or without `<` and `>`.
    pub fn parse(argument: &'static str, text: &str) -> Result<Self, ArgumentError> {
        match ReversePath::parse(argument, text)? {
            ReversePath::Mailbox(mailbox) => Ok(mailbox),
            ReversePath::Null => Err(ArgumentError::new(argument, "an address is needed")),
        }
    }

    /// What goes between `<` and `>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the server must offer SMTPUTF8 to take it: the local part isn't ASCII. The domain always is.
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
    pub fn parse(argument: &'static str, text: &str) -> Result<Self, ArgumentError> {
        printable(argument, text)?;
        let (path, skipped) = match text.strip_prefix('<') {
            Some(rest) => (Some(rest), 1),
            None => (None, 0),
        };
        let scanner = Scanner {
            argument,
            text: path.unwrap_or(text),
            skipped,
        };
        let (address, rest) = scanner.address()?;
        match (path.is_some(), rest) {
            (true, ">") | (false, "") => {}
            (true, "") => return Err(ArgumentError::new(argument, "no \">\" after the address")),
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
    argument: &'static str,
    text: &'a str,
    /// Characters of the argument that precede `text`.
    skipped: usize,
}

impl<'a> Scanner<'a> {
    /// The address and what follows it: a local part, and a domain when there is an `@`.
    fn address(&self) -> Result<(&'a str, &'a str), ArgumentError> {
        let after_local = self.local_part_end()?;
        let rest = &self.text[after_local..];
        let Some(domain) = rest.strip_prefix('@') else {
            return Ok(self.text.split_at(after_local));
        };
        if after_local == 0 {
            let route = domain.contains(':') || domain.contains(',');
            return Err(self.error(if route {
                "a source route: give the address alone"
            } else {
                "no local part before the \"@\""
            }));
        }
        // A colon can only be part of an address literal, a space or a bracket can't be part of anything.
        let length = match domain.starts_with('[') {
            true => domain.find(']').map_or(domain.len(), |end| end + 1),
            false => domain
                .find(['>', '<', ' ', ',', ';'])
                .unwrap_or(domain.len()),
        };
        Ok(self.text.split_at(after_local + 1 + length))
    }

    fn local_part_end(&self) -> Result<usize, ArgumentError> {
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

    fn quoted_string_end(&self) -> Result<usize, ArgumentError> {
        let mut escaped = false;
        for (index, character) in self.text.char_indices().skip(1) {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return Ok(index + 1),
                _ => {}
            }
        }
        Err(self.error("a quotation mark without its partner"))
    }

    fn mailbox(&self, address: &str) -> Result<Mailbox, ArgumentError> {
        let local_part_end = self.local_part_end()?;
        let (local_part, domain) = address.split_at(local_part_end);
        let text = match domain.strip_prefix('@') {
            Some(domain) => {
                let domain = Domain::parse(self.argument, domain)?;
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
    fn leftover(&self, rest: &str) -> ArgumentError {
        let index = self.text.len() - rest.len();
        match rest.chars().next() {
            Some(',' | ';') => self.error("a list of addresses: one recipient per call"),
            Some('>') if rest.len() > 1 => {
                self.error("text after the \">\": parameters have an argument of their own")
            }
            Some('>') => self.error("a \">\" without its \"<\""),
            Some('<') => self.error("a \"<\" inside the address: give the address alone"),
            Some(character) => self.at(index, character),
            None => self.error("not an address"),
        }
    }

    fn at(&self, index: usize, character: char) -> ArgumentError {
        let place = self.skipped + self.text[..index].chars().count();
        // `Name <user@example.com>` stumbles over the space, but the name is what is wrong.
        if character.is_whitespace() && self.text[index..].contains('<') {
            return self.error("a name before the \"<\": give the address alone");
        }
        unexpected(self.argument, character, place)
    }

    fn error(&self, reason: &str) -> ArgumentError {
        ArgumentError::new(self.argument, reason)
    }
}
