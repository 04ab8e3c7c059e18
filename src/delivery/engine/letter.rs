//! What a message says, once its words are parsed: anybody with rights on the tables may have
//! written them.

use mail_queue::state::FinalState;
use mail_queue::suppression::CanonicalAddress;
use smtp_core::command::Command;
use smtp_core::envelope::{Envelope, Recipient};
use smtp_core::text::{Mailbox, Parameters, ReversePath};

use super::hand_out::Addressee;
use super::job::{Job, JobContent};
use super::results::final_without_attempt;
use crate::access::senders;
use crate::delivery::store::claim::{Claimed, ClaimedRecipient};
use crate::delivery::store::settle::Settled;
use crate::pg::query::StoredText;

/// A message that can be sent.
pub struct Letter {
    pub job: Job,
    /// The recipients of the envelope.
    pub addressees: Vec<Addressee>,
    /// Recipients that can't be sent to.
    pub settled: Vec<Settled>,
}

impl Letter {
    /// Why the message can't be sent, if it can't.
    pub fn parse(claimed: &mut Claimed) -> Result<Self, String> {
        let sender = text(&claimed.sender).and_then(|text| {
            ReversePath::parse(text).map_err(|error| format!("the sender is invalid: {error}"))
        })?;
        senders::require_approved(claimed.owner, &sender).map_err(|report| report.line())?;
        let parameters = parameters(&claimed.parameters)?;
        let mail = Command::Mail(sender.clone(), parameters.clone());
        mail.line().map_err(|error| error.to_string())?;
        let content = content(claimed)?;
        let mut letter = Self {
            job: Job {
                message_id: claimed.message_id,
                envelope: Envelope {
                    sender,
                    parameters,
                    recipients: Vec::new(),
                },
                content,
                size: claimed.content.size,
            },
            addressees: Vec::new(),
            settled: Vec::new(),
        };
        for recipient in &claimed.recipients {
            letter.add(recipient);
        }
        Ok(letter)
    }

    fn add(&mut self, claimed: &ClaimedRecipient) {
        match recipient(claimed) {
            Ok(recipient) => {
                self.addressees.push(Addressee {
                    number: claimed.number,
                    address: CanonicalAddress::from(&recipient.mailbox),
                });
                self.job.envelope.recipients.push(recipient);
            }
            Err(reason) => self.settled.push(final_without_attempt(
                claimed.number,
                FinalState::Failed,
                format!("not sent: {reason}"),
            )),
        }
    }

    /// Takes the recipients out that are on the suppression list: one mark for each.
    pub fn suppress(&mut self, marks: &[bool]) {
        let recipients = std::mem::take(&mut self.job.envelope.recipients);
        let addressees = std::mem::take(&mut self.addressees);
        for ((recipient, addressee), is_suppressed) in
            recipients.into_iter().zip(addressees).zip(marks)
        {
            match is_suppressed {
                true => self.settled.push(final_without_attempt(
                    addressee.number,
                    FinalState::Suppressed,
                    "not sent: the address is on the suppression list".to_owned(),
                )),
                false => {
                    self.job.envelope.recipients.push(recipient);
                    self.addressees.push(addressee);
                }
            }
        }
    }
}

fn content(claimed: &mut Claimed) -> Result<JobContent, String> {
    let content = &mut claimed.content;
    let complete = (1..).zip(&content.pieces).all(|(at, number)| at == *number);
    if content.pieces.is_empty() || !complete {
        return Err("a piece of its content is missing".to_owned());
    }
    Ok(match content.whole.take() {
        Some(octets) if content.pieces.len() == 1 => JobContent::Whole(octets),
        _ => JobContent::Pieces(std::mem::take(&mut content.pieces)),
    })
}

fn recipient(claimed: &ClaimedRecipient) -> Result<Recipient, String> {
    let mailbox = text(&claimed.address).and_then(|text| {
        Mailbox::parse(text).map_err(|error| format!("the address is invalid: {error}"))
    })?;
    let parameters = parameters(&claimed.parameters)?;
    let rcpt = Command::Rcpt(mailbox.clone(), parameters.clone());
    rcpt.line().map_err(|error| error.to_string())?;
    Ok(Recipient {
        mailbox,
        parameters,
    })
}

fn parameters(stored: &StoredText) -> Result<Parameters, String> {
    text(stored).and_then(|text| {
        Parameters::parse(text).map_err(|error| format!("the parameters are invalid: {error}"))
    })
}

fn text(stored: &StoredText) -> Result<&str, String> {
    let text = stored.0.as_deref();
    text.map_err(|error| format!("its text can't be used: {error}"))
}
