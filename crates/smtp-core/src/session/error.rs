//! Why a command was not sent, and why a session is over.

use std::fmt;

use crate::auth::{Breach, CredentialError, NoSupportedScheme, Scheme};
use crate::command::{LineTooLong, Verb};
use crate::parser::Violation;
use crate::reply::Reply;

/// Why a command was not sent. The session is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command is not allowed now.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// Its line is longer than a server must accept.
    #[error(transparent)]
    TooLong(#[from] LineTooLong),
    /// An address of MAIL, RCPT or VRFY has non-ASCII characters that can't be sent (RFC 6531
    /// §3.4).
    #[error("the address of {verb} has non-ASCII characters, and {problem}")]
    SmtpUtf8 {
        /// The command.
        verb: Verb,
        /// Why not.
        problem: SmtpUtf8Problem,
    },
    /// A user name or password can't be sent.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// No scheme of the caller's list can be used.
    #[error(transparent)]
    NoSupportedScheme(#[from] NoSupportedScheme),
}

/// Why a command is not allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The session is over.
    #[error("the connection is closed")]
    Closed,
    /// The reply to this command is due, and no other command may follow before it was read.
    #[error("the reply to {0} has not been read")]
    ReplyDue(Verb),
    /// The server reads message data, so a command would become part of the message.
    #[error("a command inside message data")]
    InData,
    /// Message data, or its end ([`Verb::FinalDot`]), outside of message data.
    #[error("{0} outside of message data")]
    NotInData(Verb),
    /// TLS can be started once.
    #[error("the connection is encrypted already")]
    Encrypted,
    /// The command can't be a raw line, because the session would not know its effect. There is a
    /// method for it.
    #[error("{0} can't be a raw command")]
    Reserved(ReservedCommand),
}

/// A command that can't be a raw line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedCommand {
    /// STARTTLS, which a handshake follows.
    StartTls,
    /// DATA, which message data follows.
    Data,
    /// BDAT, which is not supported.
    Bdat,
    /// QUIT, which ends the session.
    Quit,
}

impl fmt::Display for ReservedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartTls => "STARTTLS",
            Self::Data => "DATA",
            Self::Bdat => "BDAT",
            Self::Quit => "QUIT",
        })
    }
}

/// Why an address with non-ASCII characters can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUtf8Problem {
    /// The server did not offer SMTPUTF8.
    #[error("the server's last EHLO did not offer SMTPUTF8")]
    NotOffered,
    /// MAIL had no such parameter.
    #[error("MAIL had no parameter SMTPUTF8")]
    NotOnMail,
}

/// Why the session is over. Later bytes of the server have no meaning.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The reply syntax was broken.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A well-formed reply that can't follow this command.
    #[error("unexpected reply: {0}")]
    Unexpected(Reply),
    /// A reply, or the beginning of one, when no command was waiting for it.
    #[error("unexpected reply: the server spoke when no command was waiting for it{}", said(.0))]
    Unsolicited(Option<Reply>),
    /// The server broke the authentication mechanism.
    #[error("authentication by {scheme} failed: {breach}")]
    Authentication {
        /// The mechanism.
        scheme: Scheme,
        /// What the server did.
        breach: Breach,
    },
}

fn said(reply: &Option<Reply>) -> String {
    reply
        .as_ref()
        .map_or_else(String::new, |reply| format!(": {reply}"))
}
