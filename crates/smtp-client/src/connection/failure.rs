//! How a call of a connection fails.

use std::time::Duration;

use smtp_core::command::Verb;
use smtp_core::reply::Reply;
use smtp_core::session::{CommandError, SessionError};

use crate::error::NetError;

/// How a conversation ended by QUIT.
#[derive(Debug)]
pub enum Farewell {
    /// The server answered.
    Reply(Reply),
    /// It did not, or the connection was lost. For QUIT that is no failure.
    Lost(Failure),
}

/// Why a call failed, and in reply to what.
#[derive(Debug)]
pub struct Failure {
    /// The command it was about.
    pub verb: Verb,
    /// What happened.
    pub cause: Cause,
    /// The limit that the command had.
    pub timeout: Option<Duration>,
    /// Whether the whole message was sent, so that the server may have accepted it.
    pub message_sent: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Cause {
    /// Nothing was sent; the session is as it was.
    Command(CommandError),
    /// The network or TLS; the session is over.
    Net(NetError),
    /// The server broke the protocol; the session is over.
    Session(SessionError),
}

impl From<CommandError> for Cause {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl From<NetError> for Cause {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl From<SessionError> for Cause {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl Failure {
    /// A failure before there is a connection.
    pub fn connecting(error: NetError, timeout: Option<Duration>) -> Self {
        Self {
            verb: Verb::Connect,
            cause: error.into(),
            timeout,
            message_sent: false,
        }
    }
}
