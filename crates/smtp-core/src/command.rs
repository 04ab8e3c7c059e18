//! The commands of a client (RFC 5321 §4.1, RFC 3207), each built from values that are already
//! valid, and their bytes.

use std::fmt;

use crate::limits;
use crate::text::{Domain, Mailbox, Parameters, RawCommand, ReversePath};

/// One command. AUTH is not among them: it is an exchange of several lines, see
/// [`crate::session::Session::authenticate`].
#[derive(Clone, Debug)]
pub enum Command {
    /// HELO with the client's name.
    Helo(Domain),
    /// EHLO with the client's name.
    Ehlo(Domain),
    /// STARTTLS.
    StartTls,
    /// MAIL FROM with its parameters.
    Mail(ReversePath, Parameters),
    /// RCPT TO with its parameters.
    Rcpt(Mailbox, Parameters),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY with a user name or mailbox.
    Vrfy(String),
    /// HELP, optionally about a command.
    Help(Option<String>),
    /// QUIT.
    Quit,
    /// A line written by the caller.
    Raw(RawCommand),
}

/// The kind of a command: the label in error messages, and the key to the replies that can follow
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// No command: the greeting is due.
    Connect,
    /// HELO
    Helo,
    /// EHLO
    Ehlo,
    /// STARTTLS
    StartTls,
    /// AUTH, driven by the session.
    Auth,
    /// MAIL FROM
    Mail,
    /// RCPT TO
    Rcpt,
    /// DATA
    Data,
    /// The dot that ends the message.
    FinalDot,
    /// RSET
    Rset,
    /// NOOP
    Noop,
    /// VRFY
    Vrfy,
    /// HELP
    Help,
    /// QUIT
    Quit,
    /// AUTH or one of its lines, driven by the caller.
    RawAuth,
    /// Any other raw line.
    Raw,
}

/// A command line is longer than [`limits::COMMAND_LINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "makes a command line of {length} octets, more than {}",
    limits::COMMAND_LINE
)]
pub struct LineTooLong {
    /// The command.
    pub verb: Verb,
    /// The octets of its line, without CRLF.
    pub length: usize,
}

impl Command {
    /// The verb. A raw line with a known verb counts as that verb.
    pub fn verb(&self) -> Verb {
        match self {
            Command::Helo(_) => Verb::Helo,
            Command::Ehlo(_) => Verb::Ehlo,
            Command::StartTls => Verb::StartTls,
            Command::Mail(..) => Verb::Mail,
            Command::Rcpt(..) => Verb::Rcpt,
            Command::Data => Verb::Data,
            Command::Rset => Verb::Rset,
            Command::Noop => Verb::Noop,
            Command::Vrfy(_) => Verb::Vrfy,
            Command::Help(_) => Verb::Help,
            Command::Quit => Verb::Quit,
            Command::Raw(line) => match line.verb().as_str() {
                "HELO" => Verb::Helo,
                "EHLO" => Verb::Ehlo,
                "MAIL" => Verb::Mail,
                "RCPT" => Verb::Rcpt,
                "RSET" => Verb::Rset,
                "AUTH" => Verb::RawAuth,
                _ => Verb::Raw,
            },
        }
    }

    /// The line without its CRLF.
    ///
    /// # Errors
    /// If it is longer than a server must accept.
    pub fn line(&self) -> Result<String, LineTooLong> {
        Ok(self.pieces()?.concat())
    }

    /// The line in pieces, without its CRLF.
    pub(crate) fn pieces(&self) -> Result<Pieces<'_>, LineTooLong> {
        let pieces = match self {
            Command::Helo(domain) => words("HELO ", domain.as_str()),
            Command::Ehlo(domain) => words("EHLO ", domain.as_str()),
            Command::StartTls => words("STARTTLS", ""),
            Command::Mail(from, parameters) => {
                // RFC 6531 §3.4
                let added = match from.needs_smtputf8() && !parameters.contains("SMTPUTF8") {
                    true => " SMTPUTF8",
                    false => "",
                };
                path("MAIL FROM:<", from.as_str(), parameters, added)
            }
            Command::Rcpt(to, parameters) => rcpt(to, parameters),
            Command::Data => words("DATA", ""),
            Command::Rset => words("RSET", ""),
            Command::Noop => words("NOOP", ""),
            Command::Vrfy(recipient) => words("VRFY ", recipient),
            Command::Help(None) => words("HELP", ""),
            Command::Help(Some(command)) => words("HELP ", command),
            Command::Quit => words("QUIT", ""),
            Command::Raw(raw) => return Ok(words(raw.line(), "")),
        };
        require_length(self.verb(), &pieces)?;
        Ok(pieces)
    }
}

/// A line in pieces, of which some are empty.
pub(crate) type Pieces<'a> = [&'a str; 6];

/// Refuses a RCPT whose line would be too long.
pub(crate) fn require_rcpt_length(
    to: &Mailbox,
    parameters: &Parameters,
) -> Result<(), LineTooLong> {
    require_length(Verb::Rcpt, &rcpt(to, parameters))
}

fn require_length(verb: Verb, pieces: &Pieces<'_>) -> Result<(), LineTooLong> {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    match length > limits::COMMAND_LINE {
        true => Err(LineTooLong { verb, length }),
        false => Ok(()),
    }
}

fn words<'a>(first: &'a str, second: &'a str) -> Pieces<'a> {
    [first, second, "", "", "", ""]
}

fn rcpt<'a>(to: &'a Mailbox, parameters: &'a Parameters) -> Pieces<'a> {
    path("RCPT TO:<", to.as_str(), parameters, "")
}

fn path<'a>(
    verb: &'a str,
    path: &'a str,
    parameters: &'a Parameters,
    added: &'a str,
) -> Pieces<'a> {
    let space = if parameters.is_empty() { "" } else { " " };
    [verb, path, ">", space, parameters.as_str(), added]
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Connect => "connection",
            Verb::Helo => "HELO",
            Verb::Ehlo => "EHLO",
            Verb::StartTls => "STARTTLS",
            Verb::Auth | Verb::RawAuth => "AUTH",
            Verb::Mail => "MAIL FROM",
            Verb::Rcpt => "RCPT TO",
            Verb::Data => "DATA",
            Verb::FinalDot => "end of data",
            Verb::Rset => "RSET",
            Verb::Noop => "NOOP",
            Verb::Vrfy => "VRFY",
            Verb::Help => "HELP",
            Verb::Quit => "QUIT",
            Verb::Raw => "command",
        })
    }
}
