//! Lists of addresses with display names (RFC 5322 §3.4).

use mail_builder::headers::address::Address as Built;
use smtp_core::text::{Mailbox, MailboxError, TextError};

use crate::error::{ComposeError, Field, Problem, printable};

/// Octets of an address, so that it fits on a line of 998 (RFC 5322 §2.1.1) with what surrounds it.
const LONGEST: usize = 900;

/// One address with its display name, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    name: Option<String>,
    mailbox: Mailbox,
}

impl Address {
    /// Takes exactly one address: `a@x.com`, `<a@x.com>`, `Name <a@x.com>` or `"B, C" <b@x.com>`.
    ///
    /// # Errors
    /// Where the text is none or several, with `field` as its place.
    pub fn parse(field: Field, text: &str) -> Result<Self, ComposeError> {
        let mut list = AddressList::parse(field, text)?.0;
        match (list.pop(), list.len()) {
            (Some(address), 0) => Ok(address),
            (None, _) => Err(Problem::Missing.of(field)),
            (Some(_), others) => Err(Problem::NotOne(others + 1).of(field)),
        }
    }

    /// The display name, without quotation marks.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address itself, its domain in A-labels.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    pub(crate) fn domain(&self) -> &str {
        self.mailbox
            .as_str()
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain)
    }

    fn read(element: Element<'_>, number: usize, field: Field) -> Result<Self, ComposeError> {
        let failed = |error| Problem::Address { number, error }.of(field);
        let mailbox = Mailbox::parse(element.address).map_err(failed)?;
        let text = mailbox.as_str();
        // A quoted local part may hold a line separator, which some readers take for a line end.
        let separator = |c: char| c.is_whitespace() && c != ' ';
        if let Some((index, character)) = text.chars().enumerate().find(|(_, c)| separator(*c)) {
            return Err(failed(TextError::Unexpected { character, index }));
        }
        if text.len() > LONGEST {
            return Err(failed(TextError::TooLong {
                length: text.len(),
                longest: LONGEST,
            }));
        }
        let address = Self {
            name: element.name,
            mailbox,
        };
        // `"a@b"` is a local part alone.
        let text = address.mailbox.as_str();
        match text.ends_with('"') || !text.contains('@') {
            true => Err(Problem::NoDomain { number }.of(field)),
            false => Ok(address),
        }
    }

    pub(crate) fn built(&self) -> Built<'_> {
        Built::new_address(self.name.as_deref(), self.mailbox.as_str())
    }
}

/// Addresses in the order given; there may be none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressList(Vec<Address>);

impl AddressList {
    /// Takes addresses separated by commas or semicolons: `a@x.com, "B, C" <b@x.com>; <c@x.com>`.
    /// Display names may be quoted or not, in any script. Empty elements are skipped.
    ///
    /// # Errors
    /// At the first control character and the first element that is not one address, with `field`
    /// as the place.
    pub fn parse(field: Field, text: &str) -> Result<Self, ComposeError> {
        printable(field, text)?;
        let mut addresses = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let number = addresses.len() + 1;
            let (element, after) = Element::split(rest)
                .map_err(|error| Problem::Address { number, error }.of(field))?;
            if !element.is_empty() {
                addresses.push(Address::read(element, number, field)?);
            }
            rest = after.trim_start();
        }
        Ok(Self(addresses))
    }

    /// Whether there is no address.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses.
    pub fn iter(&self) -> std::slice::Iter<'_, Address> {
        self.0.iter()
    }
}

/// One element of a list, its display name apart from its address.
struct Element<'a> {
    name: Option<String>,
    address: &'a str,
}

impl<'a> Element<'a> {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.address.is_empty()
    }

    /// The first element and what follows its separator.
    fn split(text: &'a str) -> Result<(Self, &'a str), TextError> {
        let mut name = String::new();
        let mut quotes = Quotes::default();
        for (index, character) in text.char_indices() {
            if quotes.pass(character) {
                if !quotes.is_syntax(character) {
                    name.push(character);
                }
                continue;
            }
            match character {
                ',' | ';' => return Ok((Self::bare(&text[..index]), &text[index + 1..])),
                '<' => return Self::bracketed(name.trim(), &text[index..]),
                _ => name.push(character),
            }
        }
        match quotes.open {
            true => Err(MailboxError::Unquoted.into()),
            false => Ok((Self::bare(text), "")),
        }
    }

    fn bare(text: &'a str) -> Self {
        Self {
            name: None,
            address: text.trim(),
        }
    }

    /// `text` begins with the `<`.
    fn bracketed(name: &str, text: &'a str) -> Result<(Self, &'a str), TextError> {
        let mut quotes = Quotes::default();
        let end = text
            .char_indices()
            .find(|(_, character)| !quotes.pass(*character) && *character == '>')
            .map(|(index, _)| index + 1);
        let Some(end) = end else {
            return Err(MailboxError::NotClosed.into());
        };
        let after = text[end..].trim_start();
        let after = match after.strip_prefix([',', ';']) {
            Some(after) => after,
            None if after.is_empty() => after,
            None => return Err(MailboxError::TextBehind.into()),
        };
        let element = Self {
            name: (!name.is_empty()).then(|| name.to_owned()),
            address: &text[..end],
        };
        Ok((element, after))
    }
}

/// Where a quoted string (RFC 5322 §3.2.4) begins and ends.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
    syntax: bool,
}

impl Quotes {
    /// Whether the next character belongs to a quoted string, its quotation marks included.
    fn pass(&mut self, character: char) -> bool {
        let inside = self.open || character == '"';
        self.syntax = inside && !self.escaped && matches!(character, '"' | '\\');
        self.open ^= self.syntax && character == '"';
        self.escaped = self.syntax && character == '\\';
        inside
    }

    /// Whether the character that just passed was a quotation mark or an escape.
    fn is_syntax(&self, character: char) -> bool {
        self.syntax && matches!(character, '"' | '\\')
    }
}

#[cfg(test)]
mod tests;
