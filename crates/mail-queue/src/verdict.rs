//! The verdict on each recipient of a transaction, and whether the server itself failed.
//!
//! MAIL, DATA and the final dot judge the message, RCPT judges its recipient. 4xx, 552 at RCPT (RFC
//! 5321 §4.5.3.1.10), a lost connection, silence, and a refusal of this client
//! ([`crate::blocked`]) are for now; all other 5xx are for good.

use smtp_core::command::Verb;
use smtp_core::reply::{Class, Code, Reply};
use smtp_core::session::CommandError;
use smtp_core::transaction::Outcome;

use crate::blocked::is_client_blocked;
use crate::server::ServerFailure;

/// The verdict on one recipient of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The server has taken the message for this recipient, who must not get it again.
    Sent,
    /// Failed for now.
    Deferred,
    /// Failed for good.
    Failed,
    /// The whole message went out, and the answer was lost: the server has it or not.
    InDoubt,
    /// The recipient was not tried, and this is no attempt: the server failed, or a kept connection
    /// turned out to be closed.
    NotTried,
}

/// Why a session ended during a transaction.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// The connection was lost or silent for too long, or the server broke the protocol.
    Lost {
        /// The command whose reply was due.
        unanswered: Verb,
    },
    /// The server closed the session by 421, or refused RSET.
    Said {
        /// The command that was answered.
        verb: Verb,
        /// The reply.
        reply: &'a Reply,
    },
}

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict on each recipient, in the order of the outcomes.
    pub recipients: Vec<Verdict>,
    /// What it says about the server, which has to be left alone for a while.
    pub server: Option<ServerFailure>,
    /// The connection was a kept one that the server had closed: send the message again, at once
    /// and over a new one. Nothing is to be recorded.
    pub again: bool,
}

/// Judges a transaction.
///
/// - `outcomes`: what [`smtp_core::transaction::Transaction`] found, one for each recipient.
/// - `end`: why the session ended; `None` if the next message may use it.
/// - `kept`: the connection had carried a message before.
///
/// A recipient who is refused for want of a login ([`ServerFailure::Auth`]) is the server's failure
/// only if the server took the message for no other recipient; else that recipient is deferred
/// alone. A 421 to MAIL or later is an attempt for the recipients: a message that makes a server
/// hang up must not keep all others waiting behind it. A 421 to the RSET after the message blames
/// nobody: many servers end a connection so after some messages, and take the next one.
pub fn judge(outcomes: &[Outcome], end: Option<End<'_>>, kept: bool) -> Judgement {
    if kept && was_closed(outcomes, end) {
        return Judgement {
            recipients: vec![Verdict::NotTried; outcomes.len()],
            server: None,
            again: true,
        };
    }
    let takes_mail = outcomes.iter().any(took_recipient);
    let mut server = said_at_the_end(end);
    let judge_one = |outcome: &Outcome| {
        let (verdict, failure) = of(outcome, takes_mail);
        server = server.or(failure);
        verdict
    };
    Judgement {
        recipients: outcomes.iter().map(judge_one).collect(),
        server,
        again: false,
    }
}

/// The verdict where a command can't be sent to this server.
///
/// For good, if it is about the mail: an address that needs SMTPUTF8, a line that is too long. For
/// now, if it is about the session.
pub fn of_unsendable(error: &CommandError) -> Verdict {
    match error {
        CommandError::TooLong(_) | CommandError::SmtpUtf8 { .. } => Verdict::Failed,
        CommandError::Order(_)
        | CommandError::Credential(_)
        | CommandError::NoSupportedScheme(_) => Verdict::Deferred,
    }
}

/// Whether a reply that refuses MAIL, RCPT, DATA or the final dot does so for good.
pub fn is_final(verb: Verb, reply: &Reply) -> bool {
    let full = verb == Verb::Rcpt && reply.code().value() == 552;
    reply.class() == Class::PermanentFailure
        && !full
        && ServerFailure::of_refused_mail(reply).is_none()
        && !is_client_blocked(reply)
}

fn of(outcome: &Outcome, takes_mail: bool) -> (Verdict, Option<ServerFailure>) {
    let (verb, reply) = match outcome {
        Outcome::Accepted(_) => return (Verdict::Sent, None),
        Outcome::Unsendable(error) => return (of_unsendable(error), None),
        Outcome::NotSent => return (Verdict::Deferred, None),
        Outcome::Unknown => return (Verdict::InDoubt, None),
        Outcome::Refused { verb, reply } => (*verb, reply),
    };
    match ServerFailure::of_refused_mail(reply) {
        Some(ServerFailure::Auth) if takes_mail => (Verdict::Deferred, None),
        Some(ServerFailure::Auth) => (Verdict::NotTried, Some(ServerFailure::Auth)),
        failure if is_final(verb, reply) => (Verdict::Failed, failure),
        failure => (Verdict::Deferred, failure),
    }
}

/// Whether the server took RCPT for this recipient.
fn took_recipient(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Accepted(_) | Outcome::Unknown => true,
        Outcome::Refused { verb, reply } => {
            let later = matches!(verb, Verb::Data | Verb::FinalDot);
            later && ServerFailure::of_refused_mail(reply).is_none()
        }
        Outcome::Unsendable(_) | Outcome::NotSent => false,
    }
}

fn said_at_the_end(end: Option<End<'_>>) -> Option<ServerFailure> {
    match end {
        Some(End::Said { verb, reply }) if verb != Verb::Rset => {
            ServerFailure::of_refused_mail(reply)
        }
        _ => None,
    }
}

/// Whether the session ended before MAIL was answered, or the answer was that it is over.
fn was_closed(outcomes: &[Outcome], end: Option<End<'_>>) -> bool {
    let before_mail = match end {
        Some(End::Lost { unanswered: verb } | End::Said { verb, .. }) => {
            matches!(verb, Verb::Mail | Verb::Rset)
        }
        None => false,
    };
    let untold = |outcome: &Outcome| match outcome {
        Outcome::NotSent | Outcome::Unsendable(_) => true,
        Outcome::Refused { verb, reply } => {
            *verb == Verb::Mail && reply.code() == Code::NOT_AVAILABLE
        }
        Outcome::Accepted(_) | Outcome::Unknown => false,
    };
    before_mail && outcomes.iter().all(untold)
}

#[cfg(test)]
mod tests;
