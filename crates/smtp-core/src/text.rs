//! Values that become part of a command line, constructible only when valid (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! Owns the rule that nothing a caller gives can end a line, start a second command, or smuggle parameters behind an
//! address. It judges shape only: whether a mailbox or a parameter makes sense is for the server to say.
//! An error names the argument and what is wrong at which place; it never repeats a value that came through here,
//! because the value may be a secret.

mod domain;
mod mailbox;
mod raw_command;

pub use domain::Domain;
pub use mailbox::{Mailbox, ReversePath};
pub use raw_command::RawCommand;

/// What is wrong with a caller's argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for argument \"{argument}\": {reason}")]
pub struct ArgumentError {
    /// The argument's name in SQL.
    pub argument: &'static str,
    /// What is wrong with it, without the value.
    pub reason: String,
}

impl ArgumentError {
    /// Says that `argument` is wrong because of `reason`, which must not repeat a secret.
    pub fn new(argument: &'static str, reason: impl Into<String>) -> Self {
        Self {
            argument,
            reason: reason.into(),
        }
    }
}

/// Refuses every control character: CR and LF would end the line, NUL and the rest have no place in a command.
pub fn printable(argument: &'static str, text: &str) -> Result<(), ArgumentError> {
    match text
        .chars()
        .enumerate()
        .find(|(_, character)| character.is_control())
    {
        None => Ok(()),
        Some((index, character)) => Err(unexpected(argument, character, index)),
    }
}

/// ESMTP parameters of MAIL or RCPT (RFC 5321 §4.1.2): `SIZE=1000 BODY=8BITMIME`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(String);

impl Parameters {
    /// Takes printable ASCII; an empty or blank text means no parameters.
    pub fn parse(argument: &'static str, text: &str) -> Result<Self, ArgumentError> {
        let foreign = |character: char| !(character.is_ascii_graphic() || character == ' ');
        match text
            .chars()
            .enumerate()
            .find(|(_, character)| foreign(*character))
        {
            None => Ok(Self(text.trim().to_owned())),
            Some((index, character)) => Err(unexpected(argument, character, index)),
        }
    }

    /// What follows the path, without the separating space.
    pub fn as_str(&self) -> &str {
        &self.0
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

/// A text in double quotes for a message: control characters escaped, cut when long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}

/// "a line feed at character 3": characters are counted from 1, as SQL does.
fn unexpected(argument: &'static str, character: char, index: usize) -> ArgumentError {
    ArgumentError::new(
        argument,
        format!("{} at character {}", kind(character), index + 1),
    )
}

fn kind(character: char) -> String {
    match character {
        '\0' => "a NUL".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' => "a line feed".to_owned(),
        '\r' => "a carriage return".to_owned(),
        ' ' => "a space".to_owned(),
        '"' => "a quotation mark".to_owned(),
        _ if character.is_control() => format!("a control character (U+{:04X})", character as u32),
        _ if character.is_whitespace() => format!("white space (U+{:04X})", character as u32),
        _ if character.is_ascii() => format!("\"{character}\""),
        _ => format!("a character outside ASCII (U+{:04X})", character as u32),
    }
}

#[cfg(test)]
mod tests;
