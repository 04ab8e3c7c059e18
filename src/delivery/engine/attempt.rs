//! What came of sending a message once, as the queue keeps it. Nothing here calls PostgreSQL.

use mail_queue::server::ServerFailure;
use mail_queue::suppression::{Counted, is_mailbox_failure};
use mail_queue::verdict::{self, End, Verdict};
use smtp_client::connection::{Cause, Failure};
use smtp_client::error::NetError;
use smtp_client::send::{self, Ended};
use smtp_core::envelope::Envelope;
use smtp_core::session::{CommandError, Session};
use smtp_core::transaction::Outcome;

use super::job::{Job, RecipientResult};
use crate::conversation::Problem;
use crate::delivery::store::claim::DOUBT;
use crate::errors::queue::{failure_line, reply_line, server_failure};

/// What came of one attempt.
pub struct Attempt {
    /// For each recipient.
    pub results: Vec<RecipientResult>,
    /// Why the server is to be left alone, if it is.
    pub failure: Option<(ServerFailure, String)>,
    /// The connection was a kept one that had been closed: the message goes over a new one at
    /// once.
    pub again: bool,
}

impl Attempt {
    /// `kept`: the connection had carried a message before.
    pub fn of(sent: &send::Verdict, kept: bool) -> Self {
        let end = sent.ended.as_ref().map(|ended| match ended {
            Ended::Failed(failure) => End::Lost {
                unanswered: failure.verb,
            },
            Ended::Said { verb, reply } => End::Said { verb: *verb, reply },
        });
        let ended = sent.ended.as_ref().map(|ended| match ended {
            Ended::Failed(failure) => failure_line(failure),
            Ended::Said { reply, .. } => reply_line(reply),
        });
        let is_stopped =
            matches!(&sent.ended, Some(Ended::Failed(failure)) if is_interrupted(failure));
        let judgement = verdict::judge(&sent.outcomes, end, kept);
        let results = judgement.recipients.iter().zip(&sent.outcomes);
        let results = results.map(|(verdict, outcome)| RecipientResult {
            verdict: match outcome {
                // Who was not tried by now was not tried.
                Outcome::NotSent if is_stopped => Verdict::NotTried,
                _ => *verdict,
            },
            reply: words(outcome, ended.as_deref()),
            counted: Counted::of(outcome, ()),
            is_mailbox_failure: matches!(outcome, Outcome::Refused { reply, .. } if is_mailbox_failure(reply)),
        });
        let results = results.collect();
        let refused = sent.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused { reply, .. } if ServerFailure::of_refused_mail(reply).is_some() => {
                Some(reply_line(reply))
            }
            _ => None,
        });
        Self {
            results,
            failure: judgement.server.zip(refused.or(ended)),
            again: judgement.again && !is_stopped,
        }
    }

    /// MAIL can't be sent to this server.
    pub fn unsendable(job: &Job, failure: &Failure) -> Self {
        match &failure.cause {
            Cause::Command(error) => {
                Self::same(job, verdict::of_unsendable(error), unsendable_line(error))
            }
            Cause::Net(_) | Cause::Session(_) => {
                Self::same(job, Verdict::Deferred, failure_line(failure))
            }
        }
    }

    /// The message can't be sent now, for a reason that is neither its own nor the server's.
    pub fn not_tried(job: &Job) -> Self {
        Self::same(job, Verdict::NotTried, String::new())
    }

    /// The message can't be sent now, for a reason of ours.
    pub fn deferred(job: &Job, reason: &str) -> Self {
        Self::same(job, Verdict::Deferred, reason.to_owned())
    }

    /// The message can't be sent to this server at all.
    pub fn refused(job: &Job, reason: &str) -> Self {
        Self::same(job, Verdict::Failed, reason.to_owned())
    }

    fn same(job: &Job, verdict: Verdict, reply: String) -> Self {
        let recipients = job.envelope.recipients.iter();
        Self {
            results: recipients
                .map(|_| RecipientResult::of(verdict, reply.clone()))
                .collect(),
            failure: None,
            again: false,
        }
    }
}

/// The envelope without the parameters that the server does not understand, or why the message
/// can't be sent to it. `more`: octets that are sent in front of it.
pub fn understood(job: &Job, more: u64, session: &Session) -> Result<Envelope, String> {
    let size = job.size + more;
    let limit = session
        .capabilities()
        .and_then(|offered| offered.size_limit());
    if let Some(limit) = limit.filter(|limit| size > *limit) {
        return Err(format!(
            "5.3.4 not sent: the message has {size} octets, and the server takes {limit}"
        ));
    }
    let offers = |extension: &str| session.offers(extension);
    // RFC 8689 §4.2.1: whoever asks for it does not want the message sent without.
    if job.envelope.parameters.contains("REQUIRETLS") && !offers("REQUIRETLS") {
        return Err("5.7.30 not sent: the server does not offer REQUIRETLS".to_owned());
    }
    let mut envelope = job.envelope.clone();
    envelope.parameters = envelope.parameters.understood(offers);
    if more > 0 {
        envelope.parameters.set_number("SIZE", size);
    }
    for recipient in &mut envelope.recipients {
        recipient.parameters = recipient.parameters.understood(offers);
    }
    Ok(envelope)
}

/// Why there is no connection that is ready for MAIL.
pub fn failure_of(problem: &Problem) -> (ServerFailure, String) {
    match problem {
        Problem::Refused(report) | Problem::Undelivered { report, .. } => {
            (report.server_failure(), report.line())
        }
        Problem::Failed(failure) => (server_failure(failure), failure_line(failure)),
        Problem::Declined { reply, verb, .. } => {
            let failure = ServerFailure::of_refused_step(*verb, reply);
            (failure, format!("{verb}: {}", reply_line(reply)))
        }
    }
}

/// Whether the thread was told to stop.
pub fn is_interrupt(problem: &Problem) -> bool {
    matches!(problem, Problem::Failed(failure) if is_interrupted(failure))
}

fn is_interrupted(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::Net(NetError::Interrupted(_)))
}

/// What is kept of an outcome. `ended`: why the session ended.
fn words(outcome: &Outcome, ended: Option<&str>) -> Option<String> {
    match outcome {
        Outcome::Accepted(reply) | Outcome::Refused { reply, .. } => Some(reply_line(reply)),
        Outcome::Unsendable(error) => Some(unsendable_line(error)),
        Outcome::NotSent => ended.map(str::to_owned),
        Outcome::Unknown => Some(format!("{DOUBT}: {}", ended.unwrap_or_default())),
    }
}

fn unsendable_line(error: &CommandError) -> String {
    match error {
        // RFC 6531 §3.5
        CommandError::SmtpUtf8 { .. } => format!("5.6.7 not sent: {error}"),
        error => format!("not sent: {error}"),
    }
}
