//! A server that answers as it is told and counts what it gets, behind the real transaction.

use std::collections::{BTreeMap, VecDeque};

use mail_queue::verdict::{self, End, Verdict};
use smtp_core::command::{Command, Verb};
use smtp_core::envelope::Envelope;
use smtp_core::parser::ReplyParser;
use smtp_core::reply::{Code, Reply};
use smtp_core::text::{Mailbox, Parameters, ReversePath};
use smtp_core::transaction::{Outcome, Step, Transaction};

#[derive(Clone, Debug)]
pub enum Answer {
    Accept,
    /// This reply.
    Refuse(&'static str),
    /// None: the connection is lost. `processed`: the server had done what was asked.
    Lose {
        processed: bool,
    },
}

#[derive(Debug, Default)]
pub struct Server {
    /// How often which recipient of which message got it.
    pub copies: BTreeMap<(u64, usize), u32>,
}

/// What a client has sent and the server not answered yet.
enum Sent {
    Command(Command),
    Dot,
    EmptyDot,
}

impl Server {
    /// Sends a message; again over a new connection, as often as the crate says so. When the
    /// answers are used up, everything is accepted.
    pub fn send(
        &mut self,
        message: u64,
        recipients: &[usize],
        answers: Vec<Answer>,
        kept: bool,
        pipelining: bool,
    ) -> Vec<Verdict> {
        let mut answers = VecDeque::from(answers);
        let mailbox = |number: &usize| Mailbox::parse(&format!("r{number}@m{message}.example"));
        let envelope = Envelope {
            sender: ReversePath::Null,
            parameters: Parameters::default(),
            recipients: recipients
                .iter()
                .map(|number| mailbox(number).unwrap().into())
                .collect(),
        };
        let mut kept = kept;
        loop {
            let (outcomes, end) = self.converse(&envelope, &mut answers, pipelining);
            let end = end.as_ref().map(|(verb, reply)| match reply {
                Some(reply) => End::Said { verb: *verb, reply },
                None => End::Lost { unanswered: *verb },
            });
            let judgement = verdict::judge(&outcomes, end, kept);
            if !judgement.again {
                return judgement.recipients;
            }
            kept = false;
        }
    }

    fn converse(
        &mut self,
        envelope: &Envelope,
        answers: &mut VecDeque<Answer>,
        pipelining: bool,
    ) -> (Vec<Outcome>, Option<(Verb, Option<Reply>)>) {
        let mut transaction = Transaction::new(envelope, pipelining, 2);
        let mut sent = VecDeque::new();
        let mut accepted = Vec::new();
        let mut end = None;
        while end.is_none() {
            match transaction.step() {
                Step::Command(command) => sent.push_back(Sent::Command(command)),
                Step::Body => {
                    transaction.body_sent();
                    sent.push_back(Sent::Dot);
                }
                Step::EmptyBody => sent.push_back(Sent::EmptyDot),
                Step::Await => {
                    let sent = sent.pop_front().unwrap();
                    let verb = verb(&sent);
                    match self.answer(&sent, &mut accepted, answers) {
                        Some(reply) => {
                            let over = reply.code() == Code::NOT_AVAILABLE
                                || verb == Verb::Rset && reply.is_failure();
                            transaction.reply(reply.clone());
                            end = over.then_some((verb, Some(reply)));
                        }
                        None => end = Some((verb, None)),
                    }
                    if end.is_some() {
                        transaction.lost();
                    }
                }
                Step::Done => break,
            }
        }
        (transaction.into_outcomes(), end)
    }

    /// Does what was asked, or not, and replies, or not.
    fn answer(
        &mut self,
        sent: &Sent,
        accepted: &mut Vec<String>,
        answers: &mut VecDeque<Answer>,
    ) -> Option<Reply> {
        // Commands that have no place are refused, whatever the script says.
        let answer = answers.pop_front().unwrap_or(Answer::Accept);
        if let Answer::Refuse(text) = answer {
            return Some(reply(text));
        }
        let done = !matches!(answer, Answer::Lose { processed: false });
        let good = match sent {
            Sent::Command(Command::Mail(..) | Command::Rset) => {
                accepted.clear();
                "250 ok"
            }
            Sent::Command(Command::Rcpt(mailbox, _)) => {
                accepted.push(mailbox.as_str().to_owned());
                "250 ok"
            }
            Sent::Command(Command::Data) if accepted.is_empty() => "554 5.5.1 nobody",
            Sent::Command(Command::Data) => "354 go ahead",
            Sent::Command(_) => "250 ok",
            Sent::EmptyDot => "554 5.5.1 nobody",
            Sent::Dot => {
                for recipient in accepted.drain(..).filter(|_| done) {
                    *self.copies.entry(key(&recipient)).or_default() += 1;
                }
                "250 2.0.0 queued"
            }
        };
        match answer {
            Answer::Lose { .. } => None,
            _ => Some(reply(good)),
        }
    }
}

/// `r2@m1.example`: recipient 2 of message 1.
fn key(recipient: &str) -> (u64, usize) {
    let (number, rest) = recipient[1..].split_once("@m").unwrap();
    let message = rest.strip_suffix(".example").unwrap();
    (message.parse().unwrap(), number.parse().unwrap())
}

fn verb(sent: &Sent) -> Verb {
    match sent {
        Sent::Command(command) => command.verb(),
        Sent::Dot | Sent::EmptyDot => Verb::FinalDot,
    }
}

fn reply(text: &str) -> Reply {
    let line = format!("{text}\r\n");
    ReplyParser::default()
        .feed(line.as_bytes())
        .unwrap()
        .1
        .unwrap()
}
