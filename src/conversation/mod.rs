//! Conversations: how they are opened, what is kept of them in this backend, and how they fail.

pub mod authority;
pub mod dialogue;
pub mod login;
pub mod opening;
pub mod out_server;
pub mod recorded;
pub mod registry;
pub mod token;
pub mod token_cache;
pub mod wallet_cache;

use smtp_client::connection::{Cause, Failure};
use smtp_core::command::Verb;
use smtp_core::host::Host;
use smtp_core::reply::Reply;
use smtp_core::session::Session;

use crate::errors::Report;

/// Why a step of a conversation failed.
pub enum Problem {
    /// Nothing was sent.
    Refused(Report),
    /// The transport or the protocol failed, or the session refused the command.
    Failed(Failure),
    /// The server's reply is a failure.
    Declined {
        reply: Reply,
        verb: Verb,
        /// Whether the server may want to be greeted first.
        hello_sent: bool,
    },
    /// A message reached nobody.
    Undelivered {
        report: Report,
        /// The command that the error is about.
        verb: Verb,
    },
}

impl Problem {
    pub fn declined(reply: Reply, session: &Session) -> Self {
        Self::Declined {
            reply,
            verb: session.last_verb(),
            hello_sent: session.hello_sent(),
        }
    }

    /// The error, with the line of CONTEXT for a conversation with this host and port.
    pub fn into_report(self, host: &Host, port: u16) -> Report {
        let (report, verb) = match self {
            Self::Refused(report) => (report, None),
            Self::Failed(failure) => {
                let verb = (!matches!(failure.cause, Cause::Command(_))).then_some(failure.verb);
                (failure.into(), verb)
            }
            Self::Declined {
                reply,
                verb,
                hello_sent,
            } => (Report::declined(&reply, verb, hello_sent), Some(verb)),
            Self::Undelivered { report, verb } => (report, Some(verb)),
        };
        report.context(&host.to_string(), port, verb)
    }
}

impl From<Report> for Problem {
    fn from(report: Report) -> Self {
        Self::Refused(report)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
