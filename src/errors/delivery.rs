//! The result of sending a message: a reply for each recipient, and the error if nobody got it.

use smtp_client::send::{Ended, Verdict};
use smtp_core::command::Verb;
use smtp_core::reply::{Class, Code, Reply};
use smtp_core::session::CommandError;
use smtp_core::transaction::Outcome;

use super::{Flaw, Report, hints};

/// The refusals that DETAIL shows, and the characters it shows of an address and of a reply.
const SHOWN_REFUSALS: usize = 10;
const SHOWN_CHARACTERS: usize = 200;

/// The result of sending a message.
pub struct Delivery {
    /// The reply for each recipient.
    pub replies: Vec<Reply>,
    /// Those who did not get it, with their replies, as a sentence; `None` if there are none.
    pub refused: Option<String>,
    /// If nobody got the message: the error, and the command that it is about.
    pub failure: Option<(Report, Verb)>,
}

/// Why the session ended.
struct End {
    report: Report,
    verb: Verb,
    /// The reason in the rows of those who were not answered.
    reason: String,
}

/// A recipient who did not get the message although the session went on.
struct Refusal {
    recipient: usize,
    verb: Verb,
    flaw: Flaw,
}

impl Delivery {
    /// `recipients`: as the caller wrote them, in the order of the envelope. `hello_sent`: as for
    /// [`Report::declined`].
    pub fn new(verdict: Verdict, recipients: &[String], hello_sent: bool) -> Self {
        let end = verdict.ended.map(|ended| End::new(ended, hello_sent));
        let reason = end.as_ref().map_or("", |end| &end.reason);
        let replies: Vec<Reply> = verdict
            .outcomes
            .iter()
            .map(|outcome| reply(outcome, reason))
            .collect();
        let outcomes = &verdict.outcomes;
        if outcomes
            .iter()
            .any(|outcome| matches!(outcome, Outcome::Accepted(_)))
        {
            let missed = outcomes
                .iter()
                .enumerate()
                .filter(|(_, outcome)| !matches!(outcome, Outcome::Accepted(_)));
            let missed: Vec<_> = missed
                .map(|(index, _)| (recipients[index].as_str(), &replies[index]))
                .collect();
            let refused = in_detail(missed.into_iter());
            let failure = None;
            return Self {
                replies,
                refused,
                failure,
            };
        }
        let refusals: Vec<Refusal> = outcomes.iter().enumerate().filter_map(refusal).collect();
        let raised = match end {
            Some(end) if refusals.len() < outcomes.len() => Some((end.report, end.verb)),
            _ => raised(&refusals, &replies, hello_sent),
        };
        let failure = raised.map(|(report, verb)| {
            let refused = refusals.iter().map(|refusal| refusal.recipient);
            let refused = refused.map(|index| (recipients[index].as_str(), &replies[index]));
            (report.also(in_detail(refused)), verb)
        });
        Self {
            replies,
            refused: None,
            failure,
        }
    }
}

/// The reply for a recipient to whom nothing was sent, because of this one.
pub fn not_sent(reply: &Reply) -> Reply {
    Reply::instead(
        Code::NOT_AVAILABLE,
        &format!("not sent: {}", reason(reply.text())),
    )
}

impl End {
    fn new(ended: Ended, hello_sent: bool) -> Self {
        match ended {
            Ended::Said { verb, reply } => Self {
                reason: format!(
                    "the server answered {verb} by {} {}",
                    reply.code(),
                    reply.text()
                ),
                report: Report::declined(&reply, verb, hello_sent),
                verb,
            },
            Ended::Failed(mut failure) => {
                let verb = failure.verb;
                // It holds for some recipients only.
                let message_sent = std::mem::take(&mut failure.message_sent);
                let report = Report::from(failure);
                Self {
                    reason: report.reason().to_owned(),
                    report: match message_sent {
                        true => report.after_the_final_dot(),
                        false => report,
                    },
                    verb,
                }
            }
        }
    }
}

/// Codes that no server sent are 421, as for a lost connection, and 553 for an address that can't
/// be sent.
fn reply(outcome: &Outcome, reason: &str) -> Reply {
    let lost = |text: &str| Reply::instead(Code::NOT_AVAILABLE, &format!("{text}: {reason}"));
    match outcome {
        Outcome::Accepted(reply) | Outcome::Refused { reply, .. } => reply.clone(),
        Outcome::Unsendable(error) => {
            // RFC 6531 §3.5
            let status = match error {
                CommandError::SmtpUtf8 { .. } => "5.6.7 ",
                _ => "",
            };
            let text = format!("{status}not sent: {error}");
            Reply::instead(Code::MAILBOX_NAME_NOT_ALLOWED, &text)
        }
        Outcome::NotSent => lost("not sent"),
        Outcome::Unknown => {
            lost("unknown: the final dot was sent, and sending again may deliver twice")
        }
    }
}

fn refusal((recipient, outcome): (usize, &Outcome)) -> Option<Refusal> {
    let (verb, flaw) = match outcome {
        Outcome::Refused { verb, .. } => (*verb, Flaw::Other),
        Outcome::Unsendable(CommandError::SmtpUtf8 { .. }) => {
            (Verb::Rcpt, Flaw::SmtpUtf8NotOffered)
        }
        Outcome::Unsendable(_) => (Verb::Rcpt, Flaw::Other),
        Outcome::Accepted(_) | Outcome::NotSent | Outcome::Unknown => return None,
    };
    Some(Refusal {
        recipient,
        verb,
        flaw,
    })
}

/// Of several refusals the first that is for now: sending again may help then. Else the first.
fn raised(refusals: &[Refusal], replies: &[Reply], hello_sent: bool) -> Option<(Report, Verb)> {
    let is_transient =
        |refusal: &&Refusal| replies[refusal.recipient].class() == Class::TransientFailure;
    let refusal = refusals.iter().find(is_transient).or(refusals.first())?;
    let report = Report::declined(&replies[refusal.recipient], refusal.verb, hello_sent);
    let report = match refusal.flaw {
        Flaw::Other => report,
        flaw => report.hint(hints::for_value("recipient", flaw).unwrap_or_default()),
    };
    Some((report, refusal.verb))
}

fn in_detail<'a>(refused: impl ExactSizeIterator<Item = (&'a str, &'a Reply)>) -> Option<String> {
    let count = refused.len();
    if count == 0 {
        return None;
    }
    let shown = refused.take(SHOWN_REFUSALS).map(|(recipient, reply)| {
        let (recipient, text) = (cut(recipient), cut(reply.text()));
        format!("{recipient} ({} {text})", reply.code())
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    Some(match count.saturating_sub(SHOWN_REFUSALS) {
        0 => format!("Refused: {shown}."),
        more => format!("Refused: {shown}, and {more} more."),
    })
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

impl Report {
    /// A sentence more in DETAIL.
    fn also(mut self, sentence: Option<String>) -> Self {
        let both = self.detail.take().into_iter().chain(sentence);
        self.detail = Some(both.collect::<Vec<_>>().join(" ")).filter(|detail| !detail.is_empty());
        self
    }

    /// The reason as a phrase.
    fn reason(&self) -> &str {
        let text = match &self.reply {
            Some(reply) => reply.text(),
            None => self.detail.as_deref().unwrap_or(&self.message),
        };
        reason(text)
    }
}

/// The text of a reply that stands for a lost connection, without its first words.
fn reason(text: &str) -> &str {
    text.strip_prefix("Service not available: ").unwrap_or(text)
}
