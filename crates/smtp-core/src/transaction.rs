//! One message to many recipients: which commands may travel together, which reply belongs to which
//! recipient, and the outcome for each (RFC 5321 §3.3, RFC 2920).
//!
//! A [`Transaction`] does no I/O and knows no time. Its driver asks for the next [`Step`], sends
//! what that says, and hands over each reply in the order in which the replies arrive:
//!
//! ```
//! # use smtp_core::{command::Command, envelope::Envelope, parser::ReplyParser, text::{Mailbox, Parameters, ReversePath}};
//! # use smtp_core::transaction::{Outcome, Step, Transaction};
//! # let reply = |line: &str| ReplyParser::default().feed(line.as_bytes()).unwrap().1.unwrap();
//! let envelope = Envelope {
//!     sender: ReversePath::Null,
//!     parameters: Parameters::default(),
//!     recipients: vec![Mailbox::parse("ann@example.com").unwrap().into()],
//! };
//! let mut transaction = Transaction::new(&envelope, true, 100);
//! // The server offers PIPELINING: three commands go out before the first reply is read.
//! assert!(matches!(transaction.step(), Step::Command(Command::Mail(..))));
//! assert!(matches!(transaction.step(), Step::Command(Command::Rcpt(..))));
//! assert!(matches!(transaction.step(), Step::Command(Command::Data)));
//! assert!(matches!(transaction.step(), Step::Await));
//! transaction.reply(reply("250 ok\r\n"));
//! transaction.reply(reply("250 ok\r\n"));
//! transaction.reply(reply("354 go ahead\r\n"));
//! assert!(matches!(transaction.step(), Step::Body));
//! transaction.reply(reply("250 queued\r\n"));
//! assert!(matches!(transaction.step(), Step::Done));
//! assert!(matches!(transaction.into_outcomes()[..], [Outcome::Accepted(_)]));
//! ```
//!
//! A server that limits the recipients of a transaction replies 452, or 552 (RFC 5321 §4.5.3.1.10),
//! to those beyond its limit. They follow at once in a further transaction, with the same message.

use std::collections::VecDeque;

use crate::command::{Command, Verb};
use crate::envelope::Envelope;
use crate::reply::Reply;
use crate::session::CommandError;

/// A message on its way to the recipients of an envelope.
#[derive(Debug)]
pub struct Transaction<'a> {
    envelope: &'a Envelope,
    pipelining: bool,
    max_recipients: usize,
    stage: Stage,
    /// The replies that are due, in order.
    due: VecDeque<Due>,
    /// The recipients of the present round, and those that wait for the next one.
    round: Vec<usize>,
    next_round: Vec<usize>,
    /// Position in `round` of the next RCPT.
    position: usize,
    /// Whether the server has a transaction open that RSET has to end.
    open: bool,
    /// Whether DATA was answered by 354 in this round.
    data_started: bool,
    /// Whether the final dot is out and unanswered.
    body_sent: bool,
    /// The recipients that the server took in this round.
    accepted: Vec<usize>,
    reusable: bool,
    outcomes: Vec<Option<Outcome>>,
}

/// What the driver does next.
#[derive(Debug)]
pub enum Step {
    /// Send this command. Its reply is due.
    Command(Command),
    /// Send the whole message and the final dot. The reply to the dot is due.
    Body,
    /// Send the final dot alone: the server opened message data for a transaction that has no
    /// recipient (RFC 2920 §3.1). The reply to the dot is due.
    EmptyBody,
    /// Read the next reply.
    Await,
    /// Nothing is left to do.
    Done,
}

/// The outcome for one recipient.
#[derive(Debug)]
pub enum Outcome {
    /// The server took the message for this recipient: its reply to the final dot.
    Accepted(Reply),
    /// The server refused.
    Refused {
        /// The command that it refused: MAIL, RCPT, DATA or the final dot.
        verb: Verb,
        /// Its reply.
        reply: Reply,
    },
    /// RCPT can't be sent to this server.
    Unsendable(CommandError),
    /// The session ended before the message was complete.
    NotSent,
    /// The whole message was sent, and the session ended before the reply.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Mail,
    Rcpt,
    Data,
    /// All commands of the group are out; their replies decide.
    Decide,
    /// The message was answered, or there is none to send.
    End,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Mail,
    Rcpt(usize),
    Data,
    Dot,
    EmptyDot,
    Rset,
}

impl<'a> Transaction<'a> {
    /// A transaction that has not begun.
    ///
    /// `pipelining`: the server's last EHLO offered PIPELINING, so commands need not wait for
    /// replies. `max_recipients`, at least 1: more recipients than that are sent in several rounds.
    pub fn new(envelope: &'a Envelope, pipelining: bool, max_recipients: usize) -> Self {
        let mut transaction = Self {
            envelope,
            pipelining,
            max_recipients: max_recipients.max(1),
            stage: Stage::Done,
            due: VecDeque::new(),
            round: Vec::new(),
            next_round: (0..envelope.recipients.len()).collect(),
            position: 0,
            open: false,
            data_started: false,
            body_sent: false,
            accepted: Vec::new(),
            reusable: true,
            outcomes: envelope.recipients.iter().map(|_| None).collect(),
        };
        transaction.begin_round();
        transaction
    }

    /// What to do next. Call it again after each command that was sent and each reply that was
    /// read.
    pub fn step(&mut self) -> Step {
        loop {
            let group_is_out = !matches!(self.stage, Stage::Mail | Stage::Rcpt | Stage::Data);
            if !self.due.is_empty() && (group_is_out || !self.pipelining) {
                return Step::Await;
            }
            match self.stage {
                Stage::Mail => {
                    self.stage = Stage::Rcpt;
                    let (sender, parameters) = (&self.envelope.sender, &self.envelope.parameters);
                    return self
                        .command(Due::Mail, Command::Mail(sender.clone(), parameters.clone()));
                }
                Stage::Rcpt => match self.round.get(self.position) {
                    Some(&recipient) => {
                        self.position += 1;
                        return self.command(Due::Rcpt(recipient), self.rcpt(recipient));
                    }
                    None => self.stage = Stage::Data,
                },
                Stage::Data => {
                    // While its reply is due, a recipient may still be accepted.
                    let asked = self.due.iter().any(|due| matches!(due, Due::Rcpt(_)));
                    if self.accepted.is_empty() && !asked {
                        self.stage = Stage::End;
                    } else {
                        self.stage = Stage::Decide;
                        return self.command(Due::Data, Command::Data);
                    }
                }
                Stage::Decide if self.data_started => {
                    self.stage = Stage::End;
                    let (due, step) = match self.accepted.is_empty() {
                        true => (Due::EmptyDot, Step::EmptyBody),
                        false => (Due::Dot, Step::Body),
                    };
                    self.due.push_back(due);
                    return step;
                }
                Stage::Decide => self.stage = Stage::End,
                Stage::End if self.open => {
                    self.open = false;
                    return self.command(Due::Rset, Command::Rset);
                }
                Stage::End => self.begin_round(),
                Stage::Done => return Step::Done,
            }
        }
    }

    /// The command of the last step can't be sent to this server. A recipient is left out. For any
    /// other command the error is returned, and the transaction is over.
    pub fn unsendable(&mut self, error: CommandError) -> Option<CommandError> {
        match self.due.pop_back() {
            Some(Due::Rcpt(recipient)) => {
                self.outcomes[recipient] = Some(Outcome::Unsendable(error));
                None
            }
            _ => {
                self.lost();
                Some(error)
            }
        }
    }

    /// The whole message and the final dot that [`Step::Body`] asked for were sent.
    pub fn body_sent(&mut self) {
        self.body_sent = self.due.contains(&Due::Dot);
    }

    /// Takes the next reply. A reply that can't follow its command ends the session instead, see
    /// [`Transaction::lost`].
    pub fn reply(&mut self, reply: Reply) {
        let failed = reply.is_failure();
        match self.due.pop_front() {
            Some(Due::Mail) if failed => self.refuse_message(Verb::Mail, &reply),
            Some(Due::Mail) => self.open = true,
            Some(Due::Rcpt(recipient)) => self.rcpt_reply(recipient, reply),
            Some(Due::Data) if !failed => self.data_started = true,
            // Without a recipient the refusal of DATA says nothing about the message.
            Some(Due::Data) if self.accepted.is_empty() => {}
            Some(Due::Data) => self.refuse_message(Verb::Data, &reply),
            Some(Due::Dot) => {
                self.open = false;
                self.body_sent = false;
                if failed {
                    self.refuse_message(Verb::FinalDot, &reply);
                }
                for recipient in self.accepted.drain(..) {
                    self.outcomes[recipient] = Some(Outcome::Accepted(reply.clone()));
                }
            }
            Some(Due::EmptyDot) => self.open = false,
            Some(Due::Rset) if failed => {
                self.reusable = false;
                self.lost();
            }
            Some(Due::Rset) | None => {}
        }
    }

    /// The session is over. No more replies will come.
    pub fn lost(&mut self) {
        let dot_is_out = std::mem::take(&mut self.body_sent);
        for recipient in self.accepted.drain(..) {
            self.outcomes[recipient] = Some(match dot_is_out {
                true => Outcome::Unknown,
                false => Outcome::NotSent,
            });
        }
        self.due.clear();
        self.next_round.clear();
        self.stage = Stage::Done;
    }

    /// Whether the next message may use the session: false where the server refused RSET, so that
    /// this message's recipients might receive the next one.
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// The outcome for each recipient, in the order of the envelope.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        let outcomes = self.outcomes.into_iter();
        outcomes
            .map(|outcome| outcome.unwrap_or(Outcome::NotSent))
            .collect()
    }

    fn command(&mut self, due: Due, command: Command) -> Step {
        self.due.push_back(due);
        Step::Command(command)
    }

    fn rcpt(&self, recipient: usize) -> Command {
        let recipient = &self.envelope.recipients[recipient];
        Command::Rcpt(recipient.mailbox.clone(), recipient.parameters.clone())
    }

    /// Each round decides about at least one recipient, so there is a last one.
    fn begin_round(&mut self) {
        let size = self.next_round.len().min(self.max_recipients);
        let later = self.next_round.split_off(size);
        self.round = std::mem::replace(&mut self.next_round, later);
        self.position = 0;
        self.data_started = false;
        self.stage = match size {
            0 => Stage::Done,
            _ => Stage::Mail,
        };
    }

    fn rcpt_reply(&mut self, recipient: usize, reply: Reply) {
        let too_many = matches!(reply.code().value(), 452 | 552) && !self.accepted.is_empty();
        if self.outcomes[recipient].is_some() {
            // MAIL was refused, so there is no transaction, whatever this reply says.
        } else if too_many {
            self.next_round.push(recipient);
        } else if reply.is_failure() {
            let verb = Verb::Rcpt;
            self.outcomes[recipient] = Some(Outcome::Refused { verb, reply });
        } else {
            self.accepted.push(recipient);
        }
    }

    /// The refusal applies to the message: to the accepted recipients and to those that were not
    /// yet named.
    fn refuse_message(&mut self, verb: Verb, reply: &Reply) {
        self.accepted.clear();
        self.next_round.clear();
        for outcome in self.outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
            let reply = reply.clone();
            *outcome = Some(Outcome::Refused { verb, reply });
        }
        if verb == Verb::Mail && self.stage == Stage::Rcpt {
            self.stage = Stage::End;
        }
    }
}
