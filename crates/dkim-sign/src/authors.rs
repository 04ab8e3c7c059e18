//! The addresses of the field From (RFC 5322 §3.4 with its obsolete forms but for source routes,
//! RFC 6854, RFC 6532).
//!
//! What is not exactly a list of addresses is refused: readers of mail show different authors for
//! it.

use crate::message::MessageError;
use crate::name::{Domain, NameError};

/// Why the domains of the authors are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorsError {
    /// There is no field From, or not only one.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The field is not a list of addresses.
    #[error("the From field is not a list of addresses")]
    Syntax,
    /// What stands behind an `@` is neither a domain name nor an address literal.
    #[error("a domain of the From field is not valid: {0}")]
    Domain(#[from] NameError),
}

/// The domains of all addresses, each once.
pub(crate) fn parse(value: &[u8]) -> Result<Vec<Domain>, AuthorsError> {
    let tokens = tokens(value).ok_or(AuthorsError::Syntax)?;
    let mut parser = Parser {
        rest: &tokens,
        domains: Vec::new(),
        found: false,
    };
    parser.list().ok_or(AuthorsError::Syntax)?;
    let mut domains = Vec::new();
    for name in parser.domains {
        let name = String::from_utf8(name).map_err(|_| AuthorsError::Syntax)?;
        let domain = Domain::parse(&name)?;
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    Ok(domains)
}

/// What is left of a field when white space and comments are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Atom(&'a [u8]),
    Quoted,
    /// An address literal in brackets.
    Literal,
    /// One of `<>@:;,.`.
    Special(u8),
}

fn tokens(value: &[u8]) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b' ' | b'\t' => after,
            b'(' => behind_comment(after)?,
            b'"' => {
                tokens.push(Token::Quoted);
                behind_quoted(after, b'"')?
            }
            b'[' => {
                tokens.push(Token::Literal);
                behind_quoted(after, b']')?
            }
            b'<' | b'>' | b'@' | b':' | b';' | b',' | b'.' => {
                tokens.push(Token::Special(*first));
                after
            }
            _ => {
                let end = rest.iter().position(|octet| !is_atext(*octet));
                let (atom, after) = rest.split_at(end.unwrap_or(rest.len()));
                if atom.is_empty() {
                    return None;
                }
                tokens.push(Token::Atom(atom));
                after
            }
        };
    }
    Some(tokens)
}

/// RFC 5322 §3.2.3, RFC 6532 §3.2.
fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || !octet.is_ascii() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
}

/// What follows the end of a comment, which may contain others.
fn behind_comment(text: &[u8]) -> Option<&[u8]> {
    let mut depth = 1;
    let mut at = 0;
    while depth > 0 {
        match text.get(at)? {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    text.get(at..)
}

/// What follows `end`, which does not count behind a backslash.
fn behind_quoted(text: &[u8], end: u8) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'\\' => at += 2,
            octet if octet == end => return text.get(at + 1..),
            _ => at += 1,
        }
    }
}

/// The methods return `None` where the tokens are no list of addresses.
struct Parser<'a> {
    rest: &'a [Token<'a>],
    domains: Vec<Vec<u8>>,
    /// There was an address or a group.
    found: bool,
}

impl<'a> Parser<'a> {
    fn list(&mut self) -> Option<()> {
        let mut in_group = false;
        loop {
            let words = self.words();
            match self.next() {
                None => return (self.found && !in_group && words.is_empty()).then_some(()),
                Some(Token::Special(b',')) if words.is_empty() => {}
                Some(Token::Special(b';')) if in_group && words.is_empty() => {
                    in_group = false;
                    self.separator(in_group)?;
                }
                Some(Token::Special(b':')) if !in_group && !words.is_empty() => {
                    in_group = true;
                    self.found = true;
                }
                Some(Token::Special(b'<')) => {
                    let local_part = self.words();
                    (self.next()? == Token::Special(b'@')).then_some(())?;
                    self.address(local_part)?;
                    (self.next()? == Token::Special(b'>')).then_some(())?;
                    self.separator(in_group)?;
                }
                Some(Token::Special(b'@')) => {
                    self.address(words)?;
                    self.separator(in_group)?;
                }
                Some(_) => return None,
            }
        }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Words and dots: a display name or a local part.
    fn words(&mut self) -> &'a [Token<'a>] {
        let is_word = |token: &Token<'_>| {
            matches!(token, Token::Atom(_) | Token::Quoted | Token::Special(b'.'))
        };
        let end = self.rest.iter().position(|token| !is_word(token));
        let (words, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        words
    }

    /// The domain behind an `@`. Dots may stand anywhere in a local part: such addresses exist.
    fn address(&mut self, local_part: &[Token<'_>]) -> Option<()> {
        let adjacent = |pair: &[Token<'_>]| !pair.contains(&Token::Special(b'.'));
        if local_part.is_empty() || local_part.windows(2).any(adjacent) {
            return None;
        }
        self.found = true;
        if self.rest.first() == Some(&Token::Literal) {
            self.next();
            return Some(());
        }
        let mut domain = Vec::new();
        loop {
            let Token::Atom(label) = self.next()? else {
                return None;
            };
            domain.extend_from_slice(label);
            if self.rest.first() != Some(&Token::Special(b'.')) {
                self.domains.push(domain);
                return Some(());
            }
            self.next();
            domain.push(b'.');
        }
    }

    /// An address ends at a comma, at the end of its group, or at the end.
    fn separator(&mut self, in_group: bool) -> Option<()> {
        match self.rest.first() {
            None => Some(()),
            Some(Token::Special(b';')) if in_group => Some(()),
            Some(Token::Special(b',')) => {
                self.next();
                Some(())
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
