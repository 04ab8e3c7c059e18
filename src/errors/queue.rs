//! What the queue keeps of an answer or a failure: one line of text, and which failure of a server
//! it is.

use mail_queue::server::ServerFailure;
use smtp_client::connection::{Cause, Failure};
use smtp_client::error::NetError;
use smtp_core::command::Verb;
use smtp_core::reply::Reply;
use smtp_core::session::{CommandError, SessionError};

use super::transport::{doing, lost_while};
use super::{Report, sqlstate};

/// Characters of a reply or a reason that are kept.
const KEPT: usize = 1000;

/// A reply as one line: `550 5.1.1 no such user`.
pub fn reply_line(reply: &Reply) -> String {
    line(&format!("{} {}", reply.code(), reply.lines().join(" ")))
}

/// Why a conversation failed, as one line.
pub fn failure_line(failure: &Failure) -> String {
    let verb = failure.verb;
    line(&match &failure.cause {
        Cause::Command(error) => error.to_string(),
        Cause::Session(SessionError::Unsolicited(Some(reply))) => {
            format!("{} {}", reply.code(), reply.lines().join(" "))
        }
        Cause::Session(error) => error.to_string(),
        Cause::Net(NetError::Timeout(step)) => {
            let limit = failure.timeout.unwrap_or_default().as_secs();
            format!("no answer within {limit} s, {}", doing(step, verb))
        }
        Cause::Net(NetError::Io { step, source }) => lost_while(step, source, verb),
        Cause::Net(error) => error.to_string(),
    })
}

impl Report {
    /// The error as one line.
    pub fn line(&self) -> String {
        let mut text = self.message.clone();
        if let Some(detail) = &self.detail {
            text.push_str(". ");
            text.push_str(detail);
        }
        line(&text)
    }

    /// Which failure of a mail server it is that a step before MAIL was refused by this.
    pub fn server_failure(&self) -> ServerFailure {
        match self.code {
            sqlstate::WALLET | sqlstate::WALLET_LOCATOR => ServerFailure::Wallet,
            sqlstate::INSUFFICIENT_PRIVILEGE => ServerFailure::Access,
            sqlstate::TRANSIENT_ERROR => ServerFailure::Token,
            sqlstate::PERMANENT_ERROR => ServerFailure::Auth,
            sqlstate::TLS | sqlstate::TLS_VERSION => ServerFailure::Tls,
            sqlstate::CERTIFICATE | sqlstate::CERTIFICATE_NAME => ServerFailure::Certificate,
            sqlstate::OUT_OF_MEMORY | sqlstate::INSUFFICIENT_RESOURCES => ServerFailure::Connect,
            _ => ServerFailure::Mapping,
        }
    }
}

/// Which failure of a mail server it is that a step before MAIL failed.
pub fn server_failure(failure: &Failure) -> ServerFailure {
    match &failure.cause {
        Cause::Command(CommandError::Order(_)) => ServerFailure::Connect,
        Cause::Command(_) => ServerFailure::Auth,
        Cause::Session(SessionError::Unsolicited(Some(reply))) => {
            ServerFailure::of_refused_step(failure.verb, reply)
        }
        Cause::Session(_) if failure.verb == Verb::Auth => ServerFailure::Auth,
        Cause::Session(_) => ServerFailure::Greeting,
        Cause::Net(NetError::Certificate(_) | NetError::Identity(_)) => ServerFailure::Certificate,
        Cause::Net(NetError::Tls(_) | NetError::TlsVersion(_)) => ServerFailure::Tls,
        Cause::Net(NetError::Wallet(_)) => ServerFailure::Wallet,
        Cause::Net(_) => ServerFailure::Connect,
    }
}

/// Without control characters, and not too long.
fn line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(KEPT).map(printable).collect()
}
