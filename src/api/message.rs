//! `utl_smtp.send_message`: one whole message, with an outcome for each recipient.

use std::collections::HashSet;

use pgrx::prelude::*;
use smtp_core::envelope::{Envelope, Recipient};
use smtp_core::reply::Reply;
use smtp_core::text::{Mailbox, ReversePath};

use super::arguments::{elements, required};
use super::conversation::esmtp_parameters;
use super::data::{octets, text, warn_of_8bit};
use super::{Failures, with_session};
use crate::access::senders;
use crate::conversation::Problem;
use crate::conversation::registry::Handle;
use crate::errors::{Delivery, OfArgument, Report, not_sent};
use crate::pg::datum::{Bytes, Text, TextArray};
use crate::pg::encoding::MessageText;
use crate::pg::result_set::ResultSet;
use crate::pg::roles;

/// Recipients of one transaction: what every server has to take (RFC 5321 §4.5.3.1.8).
pub(super) const MAX_RECIPIENTS: usize = 100;

/// What is returned for each recipient.
type Row = (name!(recipient, Text), name!(code, i32), name!(text, Text));

/// `utl_smtp.send_message`, with a message of type text.
#[pg_extern(sql = false)]
fn send_message(
    c: Option<Handle>,
    sender: Option<Bytes<'_>>,
    recipients: Option<TextArray<'_>>,
    message: Option<Bytes<'_>>,
    parameters: Option<Bytes<'_>>,
) -> ResultSet<Row> {
    let addressed = Addressed::parse(sender, recipients, parameters);
    ResultSet(send(c, addressed, text("message", message)))
}

/// `utl_smtp.send_message`, with a message of type bytea.
#[pg_extern(sql = false)]
fn send_raw_message(
    c: Option<Handle>,
    sender: Option<Bytes<'_>>,
    recipients: Option<TextArray<'_>>,
    message: Option<Bytes<'_>>,
    parameters: Option<Bytes<'_>>,
) -> ResultSet<Row> {
    let addressed = Addressed::parse(sender, recipients, parameters);
    ResultSet(send(c, addressed, octets("message", message)))
}

/// An envelope, and its recipients as the caller wrote them.
pub(super) struct Addressed {
    pub(super) envelope: Envelope,
    recipients: Vec<String>,
}

impl Addressed {
    /// Equal recipients count once, in the first spelling.
    pub(super) fn parse(
        sender: Option<Bytes<'_>>,
        recipients: Option<TextArray<'_>>,
        parameters: Option<Bytes<'_>>,
    ) -> Result<Self, Report> {
        const RECIPIENTS: &str = "recipients";
        let sender = ReversePath::parse(&required("sender", sender)?).of_argument("sender")?;
        senders::require_approved(roles::current(), &sender)?;
        let mut addressed = Self {
            envelope: Envelope {
                sender,
                parameters: esmtp_parameters(parameters)?,
                recipients: Vec::new(),
            },
            recipients: Vec::new(),
        };
        let given = elements(RECIPIENTS, recipients)?;
        let several = given.len() > 1;
        let mut seen = HashSet::new();
        for (index, given) in given.into_iter().enumerate() {
            let mailbox = Mailbox::parse(&given).of_element(RECIPIENTS, index + 1)?;
            let recipient = Recipient::from(mailbox);
            let length = recipient.require_line_length();
            length.of_element(RECIPIENTS, index + 1)?;
            if !several || seen.insert(recipient.mailbox.canonical()) {
                addressed.envelope.recipients.push(recipient);
                addressed.recipients.push(given.into_owned());
            }
        }
        Ok(addressed)
    }
}

/// The rows. All arguments are judged before the session is taken.
fn send(
    c: Option<Handle>,
    addressed: Result<Addressed, Report>,
    message: Result<MessageText<'_>, Report>,
) -> Vec<Row> {
    let arguments = addressed.and_then(|addressed| Ok((addressed, message?)));
    let (addressed, message) = arguments.unwrap_or_else(|report| report.raise());
    let Addressed {
        envelope,
        recipients,
    } = addressed;
    let (mut replies, mut eight_bit) = (Vec::new(), false);
    let result = with_session(c, |session, io| {
        let dialogue = &mut session.dialogue;
        let verdict = dialogue.send(&envelope, message.pieces(), MAX_RECIPIENTS, io)?;
        eight_bit = verdict.eight_bit;
        let hello_sent = dialogue.session().hello_sent();
        let delivery = Delivery::new(verdict, &recipients, hello_sent);
        replies = delivery.replies;
        match delivery.failure {
            None => Ok(()),
            Some((report, verb)) => Err(Problem::Undelivered { report, verb }),
        }
    });
    if eight_bit {
        warn_of_8bit();
    }
    if let Err(report) = result {
        let reply = returned(report);
        if replies.is_empty() {
            replies = vec![not_sent(&reply); recipients.len()];
        }
    }
    let row = |(recipient, reply): (String, Reply)| {
        let code = i32::from(reply.code().value());
        (Text(recipient), code, Text(reply.text().to_owned()))
    };
    recipients.into_iter().zip(replies).map(row).collect()
}

/// The reply that is returned instead of the error; or raises the error.
fn returned(report: Report) -> Reply {
    match Failures::AsSet.returned() {
        true => report.into_reply().unwrap_or_else(|report| report.raise()),
        false => report.raise(),
    }
}
