//! A whole command line of the caller's making, for `command()`.
//!
//! Owns its length (RFC 5321 §4.5.3.1.4; RFC 4954 §4 for authentication) and nothing of its
//! meaning: what a verb does to a conversation is for the session to know.

use std::fmt;

use zeroize::Zeroizing;

use super::{TextError, printable};
use crate::limits;

/// Why two texts can't be joined to a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RawCommandError {
    /// The command, or the line as a whole.
    #[error(transparent)]
    Command(TextError),
    /// The text behind the command.
    #[error(transparent)]
    Argument(TextError),
}

/// One line without its CRLF. It may be part of an authentication, so it is zeroed when dropped and
/// `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct RawCommand(Zeroizing<String>);

impl RawCommand {
    /// Joins `cmd` and `arg` by one space; spaces before the verb are dropped, so that no verb
    /// hides behind them.
    ///
    /// # Errors
    /// Where a control character stands in either text, the command is empty, or the line is too
    /// long.
    pub fn parse(cmd: &str, arg: Option<&str>) -> Result<Self, RawCommandError> {
        let command = Self(joined(cmd.trim_start_matches(' '), arg)?);
        if command.verb().is_empty() {
            return Err(RawCommandError::Command(TextError::NoCommand));
        }
        let longest = match command.verb().as_str() {
            "AUTH" => limits::AUTH_LINE - 2,
            _ => limits::COMMAND_LINE,
        };
        command.no_longer_than(longest)
    }

    /// A line of an authentication exchange that is already going on: any text, an empty one
    /// included.
    ///
    /// # Errors
    /// Where a control character stands in either text, or the line is too long.
    pub fn parse_response(cmd: &str, arg: Option<&str>) -> Result<Self, RawCommandError> {
        Self(joined(cmd, arg)?).no_longer_than(limits::AUTH_LINE - 2)
    }

    /// The first word in upper case.
    pub fn verb(&self) -> String {
        self.words().0.to_ascii_uppercase()
    }

    /// What follows the first word and the spaces after it.
    pub fn rest(&self) -> &str {
        self.words().1
    }

    /// The line as it goes out.
    pub fn line(&self) -> &str {
        &self.0
    }

    fn words(&self) -> (&str, &str) {
        match self.0.split_once(' ') {
            Some((verb, rest)) => (verb, rest.trim_start_matches(' ')),
            None => (&self.0, ""),
        }
    }

    fn no_longer_than(self, longest: usize) -> Result<Self, RawCommandError> {
        let length = self.0.len();
        match length > longest {
            true => Err(RawCommandError::Command(TextError::TooLong {
                length,
                longest,
            })),
            false => Ok(self),
        }
    }
}

impl fmt::Debug for RawCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawCommand(********)")
    }
}

fn joined(cmd: &str, arg: Option<&str>) -> Result<Zeroizing<String>, RawCommandError> {
    printable(cmd).map_err(RawCommandError::Command)?;
    printable(arg.unwrap_or_default()).map_err(RawCommandError::Argument)?;
    Ok(Zeroizing::new(match arg {
        Some(arg) if !arg.is_empty() => [cmd, " ", arg].concat(),
        _ => cmd.to_owned(),
    }))
}
